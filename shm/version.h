#pragma once

#include <string_view>

namespace commonhold::shm {

// The version of this library as "major.minor.patch", as in meson.build.
std::string_view library_version();

// What a person is shown of it and of the segment's format (kFormatVersion in shm/layout.h): "0.1.0 (segment
// format 1)". The text lives as long as the program.
std::string_view version_text();

}  // namespace commonhold::shm
