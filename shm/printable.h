// Text of others as it can be shown to a person: names of objects and files may hold anything.
#pragma once

#include <string>
#include <string_view>

namespace commonhold::shm {

// The text with its control characters, which could change a terminal's state or feign another line, as \x1b, and
// with a backslash doubled. Bytes above 0x7f stay: they are UTF-8's; but the control characters that UTF-8 has there
// (U+0080 to U+009F) are written as \x9b too.
std::string printable(std::string_view text);

}  // namespace commonhold::shm
