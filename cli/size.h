// Sizes as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace commonhold::cli {

// "65536", "64K", "1.5G", "2GiB": bytes, or with K, M, G, T for powers of 1024. Returns why not, empty when `bytes`
// is set.
std::string parse_size(std::string_view text, std::uint64_t& bytes);

// "1.5 GiB"
std::string size_text(std::uint64_t bytes);

}  // namespace commonhold::cli
