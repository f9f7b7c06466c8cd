// Names an instruction's address for a test's failure message.
#pragma once

#include <cstdint>
#include <string>

namespace commonhold::test {

// "libx.so+0x1234 (function+0x12) file.cc:34", as much of it as can be found: dladdr for module and exported
// symbol, addr2line, where installed, for the rest. Slow; not to be called between fork and exec.
[[nodiscard]] std::string describe_code(std::uint64_t address);

}  // namespace commonhold::test
