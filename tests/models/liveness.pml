// A forked child lives by a byte of the memory file, which its parent locked, until it has locked its byte of the
// lock file; another process looks whether a byte is locked, and recovers the session where neither is. (In another
// pid namespace, or before the child has said who it is, there is nothing but the bytes to go by.) A session whose
// child lives is not taken for dead.
//
// source: shm/liveness.cc bool is_held(const Segment& segment
//   byte_is_locked(segment.memory_fd(), kSessionByte + index)
//   byte_is_locked(segment.lock_fd(), kSessionByte + index)
// source: shm/fork_session.cc Segment::lock_own_byte_of_child()
//   try_lock_byte(lock_fd()
//   close_kept(fd, memory_identity())
// source: shm/liveness.cc bool session_is_dead(const Segment& segment
//   is_held(segment, index)
//   process_is_gone(segment, record)
//   session_generation(record.state.load(std::memory_order_acquire)) == session_generation(state)
//   !is_held(segment, index)
//
// must fail: LOCK_FILE_FIRST CLOSED_FIRST
#define PROCESSORS 2
#define ADDRESSES 4
#define STORES 4
#define IN_LOCK_FILE 0
#define IN_MEMORY_FILE 1
#define SPIN0 2
#define SPIN1 3
#include "tso.inc"

bool dead = false;

// The kernel's entries are made and taken back under spinlocks, which are released by plain stores.
inline change_byte(me, file, spin, locked) {
  take_lock(me, spin);
  store(me, file, locked);
  store(me, spin, 0)
}

proctype child(byte me) {
  if
  :: WITHOUT(CLOSED_FIRST) ->
     change_byte(me, IN_MEMORY_FILE, SPIN1, 0);
     change_byte(me, IN_LOCK_FILE, SPIN0, 1)
  :: else ->
     change_byte(me, IN_LOCK_FILE, SPIN0, 1);
     change_byte(me, IN_MEMORY_FILE, SPIN1, 0)
  fi;
  if
  :: skip
  :: dead = true; change_byte(me, IN_LOCK_FILE, SPIN0, 0)  // it ends
  fi
}

proctype looker(byte me) {
  byte first, second;
  if
  :: WITHOUT(LOCK_FILE_FIRST) -> load(me, IN_LOCK_FILE, first); load(me, IN_MEMORY_FILE, second)
  :: else -> load(me, IN_MEMORY_FILE, first); load(me, IN_LOCK_FILE, second)
  fi;
  assert(first || second || dead)  // one look is enough; the product takes two
}

init {
  atomic {
    memory[IN_MEMORY_FILE] = 1;
    run child(0);
    run looker(1)
  }
}
