// A value is stored twice, and once more by another process; one waits until it is no longer 0, one watches it until
// the last change. Whoever stores does so by an exchange, and then looks whether somebody waits; whoever waits says
// so by an exchange, and then looks at the value. (A larger value is changed by the store of its version, which is an
// exchange as well, and the exchange that frees its lock follows.)
//
// `watched` and `changes` are the halves of one word: what changes both is one compare-and-swap.
//
// source: shm/value.cc Value::store(ThreadContext& me
//   control_->word.exchange(word_of(in, size_), std::memory_order_seq_cst)
//   changed()
// source: shm/value.cc Value::compare_exchange(ThreadContext& me
//   control_->word.compare_exchange_strong(before, word_of(desired, size_), std::memory_order_seq_cst)
//   changed()
// source: shm/value.cc commit_large(const ObjectAddress& where
//   control.version.store(next, std::memory_order_seq_cst)
// source: shm/value.cc Value::changed() const
//   control_->watched.load(std::memory_order_seq_cst) == 0
//   tell_watching(
// source: shm/value.cc Value::wait_change(ThreadContext& me
//   control_->changes.load(std::memory_order_seq_cst)
//   control_->watched.store(1, std::memory_order_seq_cst)
//   control_->word.load(std::memory_order_seq_cst)
//   futex_wait(control_->changes, before
// source: shm/watch.cc class ValueWatch final
//   control_.watched.store(1, std::memory_order_seq_cst)
//   control_.changes.load(std::memory_order_seq_cst)
//   word.load(std::memory_order_seq_cst)
//   changed = now != expected_ || value != value_
// source: proxy/include/commonhold/value.h void Value<T>::store(T desired) const
//   word().exchange(desired)
//   changed()
// source: proxy/include/commonhold/value.h void changed() const
//   cell_->watched.load(std::memory_order_seq_cst) != 0
//   detail::value_changed(*handle_)
// source: shm/barrier.cc Status Barrier::wait(ThreadContext& me
//   control_->state.compare_exchange_strong(expected, with_me.word()
//   tell_watchers()
// source: shm/barrier.cc void Barrier::tell_watchers() const
//   control_->watched.load(std::memory_order_seq_cst) == 0
//   tell_watching(
// source: shm/ready_watch.cc class BarrierWatch final
//   control_.watched.store(1, std::memory_order_seq_cst)
//   control_.changes.load(std::memory_order_seq_cst)
//   barrier_.waiting()
//
// must fail: NO_FENCE_WRITER NO_FENCE_WAITER NO_FENCE_WATCHER COUNT_READ_LATE
#define PROCESSORS 4
#define ADDRESSES 3
#define STORES 2
#define WORD 0
#define WATCHED 1
#define CHANGES 2
#include "tso.inc"

inline set_word(me, value) {
  FENCED_STORE(me, WORD, value, NO_FENCE_WRITER);
  load(me, WATCHED, seen);
  if
  :: seen != 0 ->
     d_step {
       EMPTY(me) ->
       told = (memory[WATCHED] != 0);
       if
       :: told -> memory[WATCHED] = 0; memory[CHANGES] = memory[CHANGES] + 1
       :: else
       fi
     }
     if
     :: told -> futex_wake_all(me, CHANGES)
     :: else
     fi
  :: else
  fi;
  seen = 0; told = false
}

proctype writer(byte me) {
  byte seen;
  bool told;
  set_word(me, 1);
  set_word(me, 2);
}

proctype another_writer(byte me) {
  byte seen;
  bool told;
  set_word(me, 3)
}

byte last;  // what the watcher was told last

proctype waiter(byte me) {
  byte before, value;
  do
  :: if
     :: WITHOUT(COUNT_READ_LATE) -> skip
     :: else -> load(me, CHANGES, before)
     fi;
     FENCED_STORE(me, WATCHED, 1, NO_FENCE_WAITER);
     load(me, WORD, value);
     if
     :: WITHOUT(COUNT_READ_LATE) -> load(me, CHANGES, before)
     :: else -> skip
     fi;
     if
     :: value != 0 -> break
     :: else -> futex_wait(me, CHANGES, before)
     fi;
     before = 0
  od
}

proctype watcher(byte me) {
  byte now, expected, value;
  bool changed;
  do
  :: FENCED_STORE(me, WATCHED, 1, NO_FENCE_WATCHER);
     load(me, CHANGES, now);
     load(me, WORD, value);
     changed = (now != expected || value != last);
     expected = now;
     last = value;
     now = 0; value = 0;
     if
     :: changed -> changed = false
     :: else ->
        fall_asleep(me, CHANGES, expected);
end_asleep:
        AWAKE(me)
     fi
  od
}

init {
  atomic { run waiter(0); run writer(1); run another_writer(2); run watcher(3) }
  timeout;
  assert(last == memory[WORD])
}
