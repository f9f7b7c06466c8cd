// A process that joins locks its byte of the lock file and then looks at that of the memory file; one that prepares a
// fork locks in the memory file and then looks at the lock file. Never do both take the record.
//
// A file lock is what the kernel's list of it says: an entry is made under a spinlock, whose release is a plain store
// on x86, and whether there is one is looked at without the lock first. So two system calls of one process are no
// fence between the entry and the look: where the kernel happens to make none, the process itself must.
//
// source: shm/session.cc bool Segment::join_free_record()
//   try_lock_byte(lock_fd(), kSessionByte + index)
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//   byte_is_locked(memory_fd(), kSessionByte + index)
//   record.state.load(std::memory_order_acquire)
//   for_a_child
//   unlock_byte(lock_fd(), kSessionByte + index)
// source: shm/fork_session.cc Segment::claim_record_for_child(int fd
//   try_lock_open_file(fd, kSessionByte + index)
//   std::atomic_thread_fence(std::memory_order_seq_cst)
//   byte_is_locked_by_anyone(lock_fd(), kSessionByte + index)
//   is_free(session(index))
//   unlock_open_file(fd, kSessionByte + index)
//
// must fail: NO_FENCE_JOIN NO_FENCE_FORK STATE_READ_FIRST
#define PROCESSORS 2
#define ADDRESSES 5
#define STORES 3
#define IN_LOCK_FILE 0
#define IN_MEMORY_FILE 1
#define SPIN0 2
#define SPIN1 3
#define RECORD 4  // 1: live
#include "tso.inc"

bool is_taken = false;

inline lock_byte(me, file, spin) {
  take_lock(me, spin);
  store(me, file, 1);
  store(me, spin, 0)
}
inline unlock_byte(me, file, spin) {
  take_lock(me, spin);
  store(me, file, 0);
  store(me, spin, 0)
}

proctype joiner(byte me) {
  byte taken, state;
  lock_byte(me, IN_LOCK_FILE, SPIN0);
  FENCE(me, NO_FENCE_JOIN);
  if
  :: WITHOUT(STATE_READ_FIRST) -> load(me, RECORD, state); load(me, IN_MEMORY_FILE, taken)
  :: else -> load(me, IN_MEMORY_FILE, taken); load(me, RECORD, state)
  fi;
  if
  :: taken || state -> unlock_byte(me, IN_LOCK_FILE, SPIN0)
  :: else ->
     assert(!is_taken);
     is_taken = true;
     store(me, RECORD, 1)
  fi
}

// Its child lives for a while, under the lock that it inherits, and then has the byte of the lock file instead.
proctype forker(byte me) {
  byte taken, state;
  lock_byte(me, IN_MEMORY_FILE, SPIN1);
  FENCE(me, NO_FENCE_FORK);
  load(me, IN_LOCK_FILE, taken);
  load(me, RECORD, state);
  if
  :: taken || state -> unlock_byte(me, IN_MEMORY_FILE, SPIN1)
  :: else ->
     assert(!is_taken);
     is_taken = true;
     store(me, RECORD, 1);
     unlock_byte(me, IN_MEMORY_FILE, SPIN1)
  fi
}

init {
  atomic { run joiner(0); run forker(1) }
}
