#pragma once

#include <commonhold/detail/language.h>

#include <string_view>

namespace commonhold {

// The version of the library that the program runs with ("0.1.0"), which need not be the one it was compiled against.
std::string_view version();

}  // namespace commonhold
