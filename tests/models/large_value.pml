// A large value has two buffers, which are written in turn; its version says which of them is in force. It is stored three
// times, so the buffer that a reader copies may be written meanwhile: then the version is another already. What a reader
// takes is whole. The order of the stores, and that of the loads, alone.
//
// source: shm/value.cc Status read_once(const ObjectAddress& where
//   control.version.load(std::memory_order_seq_cst)
//   buffer_of(where, control, size, version)
//   read(buffer)
//   control.version.load(std::memory_order_relaxed) == version
// source: shm/value.cc Status commit_large(const ObjectAddress& where
//   control.version.load(std::memory_order_relaxed) + 1
//   buffer_of(where, control, size, next)
//   write_words(buffer, in, size)
//   control.version.store(next, std::memory_order_seq_cst)
//
// must fail: VERSION_FIRST LOOKED_ONCE
#define PROCESSORS 2
#define ADDRESSES 5
#define STORES 4
#define VERSION 0
#define BUFFERS 1  // two, of two words each
#include "tso.inc"

proctype writer(byte me) {
  byte version = 1;
  do
  :: version < 4 ->
     if
     :: WITHOUT(VERSION_FIRST) -> exchange(me, VERSION, version, unseen)
     :: else -> skip
     fi;
     store(me, BUFFERS + 2 * (version & 1), version);
     store(me, BUFFERS + 2 * (version & 1) + 1, version);
     if
     :: WITHOUT(VERSION_FIRST) -> EMPTY(me)
     :: else -> exchange(me, VERSION, version, unseen)
     fi;
     version++
  :: else -> break
  od
}

proctype reader(byte me) {
  byte version, one, two, now;
  load(me, VERSION, version);
  load(me, BUFFERS + 2 * (version & 1), one);
  load(me, BUFFERS + 2 * (version & 1) + 1, two);
  if
  :: WITHOUT(LOOKED_ONCE) -> now = version
  :: else -> load(me, VERSION, now)
  fi;
  if
  :: now == version -> assert(one == version && two == version)
  :: else
  fi
}

init { atomic { run writer(0); run reader(1) } }
