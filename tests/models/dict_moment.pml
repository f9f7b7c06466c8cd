// One stores numbers in one shard, another who sees them stores them in a second shard, whereupon the first goes on; each
// under its shard's lock, and each may stop at any step. A reader wants both as they were at one moment. Without locks: each shard's lock was free before and after, and its
// `changes` the same. With them: a shard whose lock it does not get in time is read twice, and both times the same; nobody
// but its holder can have changed it, who makes one store a turn. The order of the stores, and that of the loads, alone.
//
// source: shm/dict_moment.h explicit DictShardMoment(const DictShard& shard)
//   changes_(shard.changes.load(std::memory_order_acquire))
//   free_(shard.writing.state.load(std::memory_order_acquire) == 0)
// source: shm/dict_moment.h bool unchanged() const
//   shard_->changes.load(std::memory_order_acquire) == changes_
// source: shm/dict_moment.h bool quiet() const
//   shard_->writing.state.load(std::memory_order_acquire) == 0 && unchanged()
// source: shm/dict_moment.h Status read_at_one_moment(
//   moments[i] = DictShardMoment(shards[i])
//   reader.read(view, i, moments[i], nullptr, false)
//   moments[i].quiet()
//   moments[i] = DictShardMoment(shards[i])
//   reader.read(view, i, moments[i], guard.holds(i) ? nullptr : &first, false)
//   if (!guard.holds(i) && status == Status::kOk) status = reader.read(view, i, moments[i], &second, true)
//   first != second
//   moments[i].unchanged()
// source: shm/dict_shard_writer.h void note_change()
//   note_shard_change(shard)
// source: shm/dict_layout.h void note_shard_change(DictShard& shard)
//   shard.changes.store(
//   std::memory_order_release
// source: shm/dict_overwrite.h change_straight(
//   change(memory, shard, home, ShortKey(key))
//   shard.changes.store(shard.changes.load(std::memory_order_relaxed) + Word{changed}, std::memory_order_release)
//
// must fail: LOCKS_NOT_LOOKED_AT CHANGES_NOT_LOOKED_AT READ_ONCE COUNTED_LATE
#define PROCESSORS 3
#define ADDRESSES 6
#define STORES 4
#define WRITING 0  // of two shards
#define CHANGES 2
#define WORDS 4
#include "tso.inc"

inline change(shard) {
  take_lock(me, WRITING + shard);
  store(me, WORDS + shard, number);
  if
  :: WITHOUT(COUNTED_LATE) -> free_lock(me, WRITING + shard)
  :: else -> skip
  fi;
  store(me, CHANGES + shard, number);
  if
  :: WITHOUT(COUNTED_LATE) -> skip
  :: else -> free_lock(me, WRITING + shard)
  fi
}

proctype first(byte me) {
  byte number = 1;
  change(0);
end:
  memory[WORDS + 1] == 1;  // the other's, when it sees it
  number = 2;
  change(0)
}

proctype second(byte me) {
  byte number = 1;
end_one:
  memory[WORDS] == 1;
  change(1);
end_two:
  memory[WORDS] == 2;
  number = 2;
  change(1)
}

// What is read may be so at one moment: the first shard's number is the second's, or is the next.
#define AT_ONE_MOMENT(first, second) ((first) == (second) || (first) == (second) + 1)

inline look_at_changes(one, two) {
  load(me, CHANGES, one);
  load(me, CHANGES + 1, two)
}

proctype reader(byte me) {
  byte changes[2], words[2], again[2], now[2], lock[2];
  bool gets[2];
  byte i;
  if
  :: // without the locks
     look_at_changes(changes[0], changes[1]);
     load(me, WRITING, lock[0]);
     load(me, WRITING + 1, lock[1]);
     if
     :: (lock[0] || lock[1]) && !WITHOUT(LOCKS_NOT_LOOKED_AT) -> goto over
     :: else
     fi;
     load(me, WORDS + 1, words[1]);
     load(me, WORDS, words[0]);
     load(me, WRITING, lock[0]);
     load(me, WRITING + 1, lock[1]);
     if
     :: (lock[0] || lock[1]) && !WITHOUT(LOCKS_NOT_LOOKED_AT) -> goto over
     :: else
     fi
  :: // with those that it gets, in order
     do
     :: i < 2 ->
        if
        :: take_lock(me, WRITING + i); gets[i] = true
        :: memory[WRITING + i] != 0
        fi;
        i++
     :: else -> break
     od;
     look_at_changes(changes[0], changes[1]);
     load(me, WORDS, words[0]);
     load(me, WORDS + 1, words[1]);
     if
     :: WITHOUT(READ_ONCE) -> again[0] = words[0]; again[1] = words[1]
     :: else -> load(me, WORDS, again[0]); load(me, WORDS + 1, again[1])
     fi;
     if
     :: again[0] != words[0] || again[1] != words[1] -> goto over
     :: else
     fi
  fi;
  look_at_changes(now[0], now[1]);
  assert(AT_ONE_MOMENT(words[0], words[1]) ||
         !WITHOUT(CHANGES_NOT_LOOKED_AT) && (now[0] != changes[0] || now[1] != changes[1]));
over:
  if
  :: gets[0] -> free_lock(me, WRITING)
  :: else
  fi;
  if
  :: gets[1] -> free_lock(me, WRITING + 1)
  :: else
  fi
}

init { atomic { run first(0); run second(1); run reader(2) } }
