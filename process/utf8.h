// What Python takes for a str: UTF-8, in which lone surrogates may be written like other characters ("surrogatepass").
#pragma once

#include <cstddef>
#include <string_view>

namespace commonhold::detail {

// Where the first byte is that belongs to no character; text.size() when there is none.
std::size_t first_invalid_utf8(std::string_view text);

}  // namespace commonhold::detail
