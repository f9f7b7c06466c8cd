#pragma once

#include <cstdint>
#include <string_view>

namespace commonhold::shm {

// The version of the segment's stored form. It goes up with every change that an older or newer library could
// misread, and docs/segment_format.md changes in the same commit. A segment with another number is refused,
// never converted.
inline constexpr std::uint32_t kSegmentFormatVersion = 1;

// The version of this library as "major.minor.patch", as in meson.build.
std::string_view library_version();

// What a person is shown of the two: "0.1.0 (segment format 1)". The text lives as long as the program.
std::string_view version_text();

}  // namespace commonhold::shm
