// What happens after a death: every lock of the dead is freed once the structure it guards was repaired.
//
// Who: any process; the server does it first. One at a time per dead session: claimed by compare-and-swap on the
// session record. A recoverer may die at any instruction: whoever recovers it takes its unfinished recoveries over, and
// each step can be done again from the start.
//
// A recoverer that is stopped keeps the lock that it is at: whoever is held up by the rest helps (thread_recovery.h).
//
// How: the extents' lock is freed first, since repairs need it; then for each thread slot of the dead session, (1) a
// committed multi-word change is completed (redo.h), (2) every announced lock word that the dead one owns gets its
// structure repaired, then freed, (3) every announced word is woken, (4) what it waited in is told (waiting.h), (5) the
// slot is freed; then the session's references are dropped and its record is freed.
#pragma once

#include "shm/ids.h"
#include "shm/segment.h"

namespace commonhold::shm {

// Recovers a session if it is dead (session_is_dead), or was already recovered: kOk. kRetry: it lives, or somebody else
// is at it, or a live process, which may be stopped, holds a semaphore of which it has permits.
Status recover_session(Segment& segment, ThreadContext& me, SessionIndex dead);

// Recovers what the one left whose session record the caller took over with all that belonged to it: `me` is a slot of
// that session, perhaps a slot of the predecessor. False: a live process holds a semaphore of which it had permits.
bool recover_predecessor(Segment& segment, ThreadContext& me);

// Recovers one thread slot whose thread ended; its session lives.
void recover_thread(Segment& segment, ThreadContext& me, std::uint32_t thread);

// Called by a waiter: looks at the holder of `word` and recovers it if it is dead. True when it did.
bool recover_dead_holder(ThreadContext& me, LockWord& word);

// Called by a waiter as well: frees a lock that names a live thread as its owner which does not hold it, as only garbage
// in the word can say, once what the lock guards was repaired. True when it did. REQUIRES: the caller announced the word
// once for its wait, or all locks of the object, none of which it takes twice.
bool free_unheld_lock(ThreadContext& me, LockWord& word);

// As recover_dead_holder, for whoever has a thread slot. True when its session was dead.
bool recover_dead_thread(ThreadContext& me, std::uint32_t thread);

// Recovers every dead session; returns how many.
int recover_all_dead(Segment& segment, ThreadContext& me);

}  // namespace commonhold::shm
