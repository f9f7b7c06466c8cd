// fcntl byte locks: held by a process, dropped by the kernel when it ends, not inherited by fork. And whether anybody
// uses a file at all.
#pragma once

#include <cstdint>

namespace commonhold::shm {

// One attempt to take the byte for this process; taking it again succeeds.
bool try_lock_byte(int fd, std::uint64_t byte);
void unlock_byte(int fd, std::uint64_t byte);
// True when another process holds the byte; `pid` gets its number. A process never sees its own locks.
bool byte_is_locked(int fd, std::uint64_t byte, int* pid = nullptr);
// The same for `count` bytes from there on: true when another process holds one of them.
bool any_byte_is_locked(int fd, std::uint64_t first, std::uint64_t count);

// True when the file is open or mapped somewhere beside this descriptor, in whatever process and pid namespace; the
// kernel gives a lease to nobody then. False also where a file system has no leases. Who opens the file in that moment
// waits until this returns.
bool is_in_use_elsewhere(int fd);

// True when anybody holds the byte in another way than through this descriptor's open file, this process included.
bool byte_is_locked_by_anyone(int fd, std::uint64_t byte);

// Locks that belong to the open file: they last until every descriptor for it is closed, and forked children have them
// too.
bool try_lock_open_file(int fd, std::uint64_t byte);
void unlock_open_file(int fd, std::uint64_t byte);

}  // namespace commonhold::shm
