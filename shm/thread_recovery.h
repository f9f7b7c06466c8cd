// What is left of a dead thread in its slot: the locks that it held or was about to take, a committed change, wake-ups
// that it owed, and what it waited in.
//
// Who: whoever has claimed the session does all of it (settle_thread), alone, and may change the slot. Others may help
// meanwhile (help_thread), for the one who claimed it may be stopped: they do what can be done by any number of
// processes at any time, also too late, when the slot has another user by now.
//
// How locks are recovered: the recoverer takes the word over from the dead owner by one compare-and-swap, so that one
// repairs what it guards, and holds it while it does so as any lock. It is announced: a recoverer that dies is a dead
// holder like any other, and the repair begins again. A recoverer that is stopped keeps the lock that it is at, and no
// other. What a committed change (redo.h) lists is stored before the locks that guard it are taken over, by the one who
// claimed the session alone: a late helper would store it over a later change.
#pragma once

#include <cstdint>

#include "shm/layout.h"
#include "shm/lock_word.h"

namespace commonhold::shm {

class Segment;
class ThreadContext;

// Repairs what `word` guards and frees it, if `dead_owner` owns it; wakes a waiter. Throws only std::bad_alloc: then the
// word is the dead owner's again, so that the next recovery finds it. REQUIRES: the owner is dead, or is `me`.
void recover_word(ThreadContext& me, LockWord& word, std::uint32_t dead_owner);

// For a repair: who died. The word itself names the recoverer by then, except where a thread recovers itself.
std::uint32_t dead_owner_of(const ThreadContext& me, const LockWord& word);

// Everything of the slot but its claim. Throws std::bad_alloc, and can be done again from the start.
// REQUIRES: nobody but the caller, and helpers, recovers the thread.
void settle_thread(Segment& segment, ThreadContext& me, std::uint32_t thread);

// What may be done for a dead thread that another process recovers. `claim` is its slot's as the caller saw it when it
// had the proof of the death. Throws std::bad_alloc.
void help_thread(Segment& segment, ThreadContext& me, std::uint32_t thread, Word claim);

}  // namespace commonhold::shm
