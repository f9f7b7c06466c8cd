#include "shm/watch.h"

#include "shm/any_queue.h"
#include "shm/array.h"
#include "shm/barrier_everywhere.h"
#include "shm/dict_spread.h"
#include "shm/dict_table.h"
#include "shm/futex.h"
#include "shm/list.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/sleep_notice.h"
#include "shm/timed_lock.h"
#include "shm/value.h"

namespace commonhold::shm {
namespace {

// SYNC POINT: dict noted; the flags first: a watcher of the whole dict that has the new count sees them cleared.
void made_note(DictControl& control, DictShard& shard, Word watched) {
  shard.watched.store(watched, std::memory_order_seq_cst);
  control.notes_made.fetch_add(1, std::memory_order_seq_cst);
}

class DictKeyWatch final : public Watcher {
 public:
  DictKeyWatch(const Segment& segment, DictControl& control, const Item& key)
      : segment_(segment), control_(control), hash_(hash_key(key, control.seed)), shards_(segment, control) {
    futex_ = &control.notes_made;
  }
  Status look(ThreadContext& me, bool& changed, Deadline deadline) override {
    for (;;) {
      if (shards_.size() == 0) return Status::kCorrupt;
      DictShard& shard = shards_[shards_.index_of(hash_)];
      TimedLockGuard held(me, shard.writing, deadline);
      if (!held) return Status::kTimedOut;
      if (!shards_.stand()) {
        shards_ = DictShards(segment_, control_);  // its shard began with the notes that the old one had
        continue;
      }
      look_under_lock(shard, changed);
      return Status::kOk;
    }
  }
  void look_for_dead(ThreadContext& me) override {
    if (shards_.size() != 0) (void)recover_dead_holder(me, shards_[shards_.index_of(hash_)].writing);
  }

 private:
  void look_under_lock(DictShard& shard, bool& changed) {
    Word notes = shard.notes.load(std::memory_order_relaxed);
    changed = notes - seen_ > kNotesKept;
    for (Word n = seen_; n != notes && !changed; ++n) {
      changed = shard.noted[n % kNotesKept].load(std::memory_order_relaxed) == hash_;
    }
    seen_ = notes;
    shard.looked_at.store(notes, std::memory_order_relaxed);
    shard.watched.store(shard.watched.load(std::memory_order_relaxed) | dict_watch_bit(hash_),
                        std::memory_order_release);
    expected_ = control_.notes_made.load(std::memory_order_seq_cst);
  }

  const Segment& segment_;
  DictControl& control_;
  std::uint64_t hash_;
  DictShards shards_;
  Word seen_ = 0;
};

class DictWatch final : public Watcher {
 public:
  DictWatch(const Segment& segment, DictControl& control)
      : segment_(segment), control_(control), shards_(segment, control) {
    futex_ = &control.notes_made;
  }
  Status look(ThreadContext& me, bool& changed, Deadline deadline) override {
    std::uint32_t now;
    do {
      if (shards_.size() == 0) return Status::kCorrupt;
      now = control_.notes_made.load(std::memory_order_seq_cst);  // SYNC POINT: dict noted
      if (!shards_.stand()) shards_ = DictShards(segment_, control_);
      for (std::uint64_t i = 0; i < shards_.size(); ++i) {
        DictShard& shard = shards_[i];
        // Set already, so whoever changes the shard from now on finds it.
        if ((shard.watched.load(std::memory_order_seq_cst) & kWatchedWhole) != 0) continue;
        TimedLockGuard held(me, shard.writing, deadline);
        if (!held) return Status::kTimedOut;
        shard.watched.store(shard.watched.load(std::memory_order_relaxed) | kWatchedWhole, std::memory_order_release);
      }
    } while (!shards_.stand());
    changed = now != expected_;
    expected_ = now;
    return Status::kOk;
  }
  void look_for_dead(ThreadContext& me) override {
    for (std::uint64_t i = 0; i < shards_.size(); ++i) (void)recover_dead_holder(me, shards_[i].writing);
  }

 private:
  const Segment& segment_;
  DictControl& control_;
  DictShards shards_;
};

class ListWatch final : public Watcher {
 public:
  explicit ListWatch(ListControl& control) : control_(control) { futex_ = &control.notes; }
  Status look(ThreadContext& me, bool& changed, Deadline deadline) override {
    TimedLockGuard held(me, control_.writing, deadline);
    if (!held) return Status::kTimedOut;
    std::uint32_t now = control_.notes.load(std::memory_order_relaxed);
    control_.watched.store(1, std::memory_order_release);
    changed = now != expected_;
    expected_ = now;
    return Status::kOk;
  }
  void look_for_dead(ThreadContext& me) override { (void)recover_dead_holder(me, control_.writing); }

 private:
  ListControl& control_;
};

class ValueWatch final : public Watcher {
 public:
  explicit ValueWatch(ValueControl& control) : control_(control) { futex_ = &control.changes; }
  Status look(ThreadContext&, bool& changed, Deadline) override {
    control_.watched.store(1, std::memory_order_seq_cst);  // SYNC POINT: watched; before the look at the value
    std::uint32_t now = control_.changes.load(std::memory_order_seq_cst);
    // The version of a large value. A writer that died before it looked at the flag has changed this alone.
    AtomicWord& word = control_.size <= 8 ? control_.word : control_.version;
    Word value = word.load(std::memory_order_seq_cst);
    changed = now != expected_ || value != value_;
    expected_ = now;
    value_ = value;
    return Status::kOk;
  }

 private:
  ValueControl& control_;
  Word value_ = 0;
};

class ArrayWatch final : public Watcher {
 public:
  explicit ArrayWatch(const ObjectAddress& where)
      : segment_(*where.segment),
        control_(*segment_.at<ArrayControl>(where.control)),
        both_(*segment_.at<AtomicWord>(segment_.offset_of(&control_.watched))) {
    futex_ = &control_.changes;
  }
  Status look(ThreadContext&, bool& changed, Deadline) override {
    // The flag is set, and the count is what it was, at one moment.
    Word both = both_.load(std::memory_order_seq_cst);
    bool was_set = true;
    while ((both & 1) == 0) {
      was_set = false;
      if (both_.compare_exchange_weak(both, both | 1, std::memory_order_seq_cst)) break;
    }
    auto now = static_cast<std::uint32_t>(both >> 32);
    changed = now != expected_;
    // SYNC POINT: array watched. Not needed when the flag is still the one that stood when we made it last: whoever
    // clears it raises the count.
    if (!made_barrier_ || !was_set || changed) {
      if (!barrier_everywhere()) return Status::kNotAllowed;
      made_barrier_ = true;
    }
    expected_ = now;
    return Status::kOk;
  }
  // Whoever stored without a lock left nothing to be found by but the end of his process.
  void look_for_dead(ThreadContext& me) override {
    if (!next_check_.passed()) return;
    next_check_ = Deadline::after(std::chrono::nanoseconds(sleeper_check_ns() / 2));
    (void)recover_all_dead(segment_, me);
  }

 private:
  Segment& segment_;
  ArrayControl& control_;
  AtomicWord& both_;
  bool made_barrier_ = false;
  Deadline next_check_ = Deadline::after(std::chrono::nanoseconds(sleeper_check_ns() / 2));
};

// What changes of a queue leave in it for ever.
struct QueueCounts {
  Word puts, gets, returns, ended;
  bool operator==(const QueueCounts&) const = default;
};

template <typename Control>
class QueueWatch final : public Watcher {
 public:
  QueueWatch(Control& control, QueueSide side) : control_(control), side_(side) { futex_ = &control.changes; }
  Status look(ThreadContext&, bool& changed, Deadline) override {
    expected_ = control_.changes.load(std::memory_order_seq_cst);
    if (side_ != QueueSide::kRoom) set_flag(control_.items);
    if (side_ != QueueSide::kItems) set_flag(control_.room);
    QueueCounts now = counts(control_);
    if (side_ == QueueSide::kItems) now.gets = 0;
    if (side_ == QueueSide::kRoom) now.puts = now.returns = 0;
    changed = now != seen_;
    seen_ = now;
    return Status::kOk;
  }
  void look_for_dead(ThreadContext& me) override {
    if constexpr (requires { control_.changing; }) {
      (void)recover_dead_holder(me, control_.changing);
    } else {
      (void)recover_dead_holder(me, control_.putting);
      (void)recover_dead_holder(me, control_.getting);
    }
  }

 private:
  // SYNC POINT: wanted; before the look at what is watched. One that is set already will be found as well.
  static void set_flag(Gate& gate) {
    if ((gate.wanted.load(std::memory_order_seq_cst) & kWatches) != 0) return;
    gate.wanted.fetch_or(kWatches, std::memory_order_seq_cst);
  }
  static QueueCounts counts(const QueueControl& control) {
    return {control.tail.load(std::memory_order_seq_cst), control.head.load(std::memory_order_seq_cst), 0,
            control.ended.load(std::memory_order_seq_cst)};
  }
  static QueueCounts counts(const OrderedControl& control) {
    return {control.puts.load(std::memory_order_seq_cst), control.gets.load(std::memory_order_seq_cst),
            control.returns.load(std::memory_order_seq_cst), control.ended.load(std::memory_order_seq_cst)};
  }

  Control& control_;
  QueueSide side_;
  QueueCounts seen_{};
};

constexpr std::chrono::seconds kFirstLookTimeout{10};

Status first_look(ThreadContext& me, std::unique_ptr<Watcher>& watch) {
  bool ignored;
  Status status = watch->look(me, ignored, Deadline::after(kFirstLookTimeout));
  if (status != Status::kOk) watch = nullptr;
  return status;
}

template <typename Watch, typename Control, typename... Arguments>
std::unique_ptr<Watcher> begin(ThreadContext& me, const ObjectAddress& where, Status& status,
                               const Arguments&... arguments) {
  std::unique_ptr<Watcher> watch = std::make_unique<Watch>(*where.segment->at<Control>(where.control), arguments...);
  status = first_look(me, watch);
  return watch;
}

}  // namespace

void tell_watching(AtomicWord& both, const std::atomic<std::uint32_t>& changes) {
  Word seen = both.load(std::memory_order_seq_cst);
  do {
    if ((seen & 1) == 0) return;
  } while (!both.compare_exchange_weak(seen, (seen & ~Word{1}) + (Word{1} << 32), std::memory_order_seq_cst));
  futex_wake_all(changes);
}

void WatchersToWake::wake() const {
  futex_wake_all(*futex);
}

void note_dict_change(DictControl& control, DictShard& shard, std::uint64_t hash, WatchersToWake& later) {
  Word watched = shard.watched.load(std::memory_order_relaxed);
  bool wakes = (watched & kWatchedWhole) != 0;
  if ((watched & dict_watch_bit(hash)) != 0) {
    Word notes = shard.notes.load(std::memory_order_relaxed);
    shard.noted[notes % kNotesKept].store(hash, std::memory_order_relaxed);
    shard.notes.store(++notes, std::memory_order_relaxed);
    // The first since a look wakes; with one more than are kept, all who watch know enough.
    Word since = notes - shard.looked_at.load(std::memory_order_relaxed);
    wakes = wakes || since == 1;
    if (since > kNotesKept) watched = 0;
  }
  made_note(control, shard, watched & ~kWatchedWhole);
  if (wakes) later.futex = &control.notes_made;
}

void note_all_dict_changes(DictControl& control, DictShard& shard) {
  shard.notes.store(shard.notes.load(std::memory_order_relaxed) + kNotesKept + 1, std::memory_order_relaxed);
  made_note(control, shard, 0);
  futex_wake_all(control.notes_made);
}

void note_list_change(ListControl& control) {
  if (control.watched.load(std::memory_order_relaxed) == 0) return;
  control.notes.fetch_add(1, std::memory_order_seq_cst);
  control.watched.store(0, std::memory_order_release);
  futex_wake_all(control.notes);
}

std::unique_ptr<Watcher> watch_dict(ThreadContext& me, const ObjectAddress& where, Status& status) {
  std::unique_ptr<Watcher> watch =
      std::make_unique<DictWatch>(*where.segment, *where.segment->at<DictControl>(where.control));
  status = first_look(me, watch);
  return watch;
}

std::unique_ptr<Watcher> watch_dict_key(ThreadContext& me, const ObjectAddress& where, const Item& key,
                                        Status& status) {
  auto& control = *where.segment->at<DictControl>(where.control);
  spread_for_watchers(me, where, control);
  std::unique_ptr<Watcher> watch = std::make_unique<DictKeyWatch>(*where.segment, control, key);
  status = first_look(me, watch);
  return watch;
}

std::unique_ptr<Watcher> watch_list(ThreadContext& me, const ObjectAddress& where, Status& status) {
  return begin<ListWatch, ListControl>(me, where, status);
}

std::unique_ptr<Watcher> watch_value(ThreadContext& me, const ObjectAddress& where, Status& status) {
  return begin<ValueWatch, ValueControl>(me, where, status);
}

std::unique_ptr<Watcher> watch_array(ThreadContext& me, const ObjectAddress& where, Status& status) {
  std::unique_ptr<Watcher> watch = std::make_unique<ArrayWatch>(where);
  status = first_look(me, watch);
  return watch;
}

std::unique_ptr<Watcher> watch_queue(ThreadContext& me, const ObjectAddress& where, QueueSide side, Status& status) {
  return AnyQueue(where).is_ring() ? begin<QueueWatch<QueueControl>, QueueControl>(me, where, status, side)
                                   : begin<QueueWatch<OrderedControl>, OrderedControl>(me, where, status, side);
}

void Watcher::hand_on(const std::atomic<std::uint32_t>& futex) {
  (void)futex_wake(futex, 1);
}

Status wait_for_change(ThreadContext& me, Watcher& watcher, Deadline deadline) {
  SleepNotice notice(me, watcher.futex());
  bool slept = false;
  for (Deadline check = Deadline::after(std::chrono::nanoseconds(sleeper_check_ns()));;) {
    bool changed = false;
    const std::chrono::nanoseconds left(deadline.left_ns(std::chrono::nanoseconds(kLookTimeout).count()));
    Status status = watcher.look(me, changed, Deadline::after(left));
    if (status == Status::kTimedOut && !deadline.passed()) {
      watcher.look_for_dead(me);  // who holds it may be
      continue;
    }
    if (slept && (status != Status::kOk || changed)) watcher.hand_on();
    if (status != Status::kOk || changed) return status;
    if (deadline.passed()) return Status::kTimedOut;
    (void)futex_wait(watcher.futex(), watcher.expected(), deadline.left_ns(check.left_ns(sleeper_check_ns())));
    slept = true;
    if (check.passed()) {
      watcher.look_for_dead(me);
      check = Deadline::after(std::chrono::nanoseconds(sleeper_check_ns()));
    }
  }
}

}  // namespace commonhold::shm
