// Who is alive: proof of death as the kernel gives it, never a guess from silence.
//
// A session is dead when its byte of the lock file is free AND its process is gone (no such pid, or the pid belongs to
// a process born after the session joined). The session of a forked child that has not run yet has a byte of the memory
// file instead, and no pid (fork_session.cc). A stopped process is alive. A closed socket proves nothing.
#pragma once

#include <cstdint>
#include <optional>

#include "shm/ids.h"
#include "shm/segment.h"

namespace commonhold::shm {

// True only with proof. Two or three system calls.
bool session_is_dead(const Segment& segment, SessionIndex session);

// The same of the one that a session record's state names as its recoverer. REQUIRES: there is a record of its index.
bool recoverer_is_dead(const Segment& segment, Word state);

// The half of it that is not the byte: no process is left that could be the session's.
bool session_process_is_gone(const Segment& segment, SessionIndex session);

// Identifies the namespace in which this process's pid means something, 0 when it cannot be known.
Word own_pid_space();

// True when the thread slot that a lock word's owner names is gone: its session is dead, or the slot has another user.
bool owner_is_dead(const Segment& segment, std::uint32_t owner);

// True when the owner's process is seen to be stopped (SIGSTOP, a debugger). A look, not a lock: it may go on at once.
bool owner_is_stopped(const Segment& segment, std::uint32_t owner);

// Whether the owner's thread slot announces the lock, as it does from before it takes a lock until after it freed it
// (lock_word.h); also true when the slot had no room for all of them.
bool announces(const Segment& segment, std::uint32_t owner, const LockWord& word);

// How often the kernel has taken the thread of that slot off a processor, when it is on none now; nothing when it runs,
// or the kernel does not tell. A thread for which two calls give the same number did not run between them.
std::optional<std::uint64_t> rests_of_thread(const Segment& segment, std::uint32_t thread);

// The pid behind a lock word's owner for messages, 0 when unknown.
std::uint32_t owner_pid(const Segment& segment, std::uint32_t owner);

// Whom a waiter for a lock waits for: its owner, or the process that recovers the owner, which is dead.
std::uint32_t awaited_pid(const Segment& segment, std::uint32_t owner);

}  // namespace commonhold::shm
