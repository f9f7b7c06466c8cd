// Says why, when a mapped file is lost under a process: somebody has truncated it. The kernel then ends whoever touches
// what is gone, with SIGBUS and no word.
//
// The first mapping installs a handler for SIGBUS, where the program has none. It writes to standard error which file
// it was, and lets the process end by the signal. For other memory it changes nothing.
#pragma once

#include <cstddef>
#include <string>

namespace commonhold::shm {

// From here to unwatch_mapping() a SIGBUS in [base, base + bytes) is explained with `path`. Any thread.
void watch_mapping(const std::byte* base, std::size_t bytes, const std::string& path) noexcept;
void unwatch_mapping(const std::byte* base) noexcept;

}  // namespace commonhold::shm
