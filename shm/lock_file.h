// fcntl byte locks: held by a process, dropped by the kernel when it ends, not inherited by fork.
#pragma once

#include <cstdint>

namespace commonhold::shm {

// One attempt to take the byte for this process; taking it again succeeds.
bool try_lock_byte(int fd, std::uint64_t byte);
void unlock_byte(int fd, std::uint64_t byte);
// True when another process holds the byte; `pid` gets its number. A process never sees its own locks.
bool byte_is_locked(int fd, std::uint64_t byte, int* pid = nullptr);

}  // namespace commonhold::shm
