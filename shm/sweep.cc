#include "shm/sweep.h"

#include <atomic>
#include <chrono>
#include <new>
#include <thread>
#include <vector>

#include "shm/in_flight.h"
#include "shm/object_table.h"
#include "shm/object_types.h"
#include "shm/references.h"
#include "shm/sweep_word.h"

namespace commonhold::shm {

namespace {

// How long a container's lock is waited for. A process that was stopped in the middle of a change holds up the
// destroying of objects, not the server.
constexpr std::chrono::milliseconds kContainerTimeout{20};

constexpr std::chrono::microseconds kSweepPause{200};

// How often a sweep begins anew because somebody took a reference to what it had condemned.
constexpr int kMostEpochs = 16;

void change_state(ObjectRecord& record, ObjectState to) {
  const Word now = record.state.load(std::memory_order_relaxed);
  record.state.store(object_state_word(to, object_kind(now), object_generation(now)), std::memory_order_seq_cst);
}

void end_epoch(const Segment& segment) {
  AtomicWord& word = segment.header().sweep;
  word.store(sweep_word(sweep_epoch(word.load(std::memory_order_relaxed)), SweepPhase::kIdle),
             std::memory_order_seq_cst);
}

class Sweep {
 public:
  Sweep(ThreadContext& me, const SweepHolds& held)
      : me_(me), segment_(me.segment()), held_(held), count_(segment_.committed_objects()) {}

  int run(bool& unfinished) {
    if (!mark()) return unfinished = true, 0;
    open();
    condemn();
    const bool sure = remark_until_committed();
    unfinished = !sure;
    if (!sure) {
      for (std::uint32_t index : condemned_) revive(index);
      condemned_.clear();
    }
    const int destroyed = destroy_condemned();
    end_epoch(segment_);
    unfinished = unfinished || (destroyed == 0 && waits_for_hold_);
    return destroyed;
  }

  void count_links() {
    std::vector<Word> counts(count_);
    struct Counting {
      Sweep* sweep;
      std::vector<Word>* counts;
    } counting{this, &counts};
    const LinkVisitor visit{&counting, [](void* context, ObjectId id) {
                              auto* to = static_cast<Counting*>(context);
                              if (to->sweep->is_live(id)) ++(*to->counts)[id.index];
                            }};
    for (std::uint32_t index = 1; index < count_; ++index) {
      if (object_is_live(state(index)) && refers(index)) (void)each_link(index, visit);
    }
    for (std::uint32_t index = 1; index < count_; ++index) {
      AtomicWord& counted = record(index).held_inside;
      if (counted.load(std::memory_order_relaxed) != counts[index]) counted.store(counts[index]);
    }
  }

 private:
  ObjectRecord& record(std::uint32_t index) const { return object_record(segment_, index); }
  Word state(std::uint32_t index) const { return record(index).state.load(std::memory_order_relaxed); }
  bool is_named(std::uint32_t index) const { return (load_word(record(index).name) & 0xff) != 0; }
  bool refers(std::uint32_t index) const { return record(index).refers.load(std::memory_order_seq_cst) != 0; }
  bool is_live(ObjectId id) const {
    return id.index != 0 && id.index < count_ && object_is_live(state(id.index)) &&
           object_generation(state(id.index)) == id.generation;
  }
  bool each_link(std::uint32_t index, const LinkVisitor& visit) {
    const Word now = state(index);
    const ObjectType* type = object_type(object_kind(now));
    const Offset control = object_control(segment_, {index, object_generation(now)});
    if (type == nullptr || type->each_link == nullptr || control == 0) return true;
    return type->each_link(me_, {&segment_, index, control}, Deadline::after(kContainerTimeout), visit);
  }

  // Sessions and holds, then names: in a mark for each object.
  std::vector<bool> roots() {
    std::vector<bool> marks(count_, false);
    mark_referred(segment_, marks);
    for (ObjectId id : held_.recent) {
      waits_for_hold_ = waits_for_hold_ || (id.index < count_ && !marks[id.index] && !is_named(id.index));
    }
    for (const auto ids : {held_.recent, held_.others}) {
      for (ObjectId id : ids) {
        if (id.index < count_) marks[id.index] = true;
      }
    }
    // What is read from here on (names, links) is read after all sessions.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for (std::uint32_t index = 1; index < count_; ++index) {
      if (object_is_live(state(index)) && is_named(index)) marks[index] = true;
    }
    return marks;
  }

  // True when an object that was stored somewhere is not among the marked: only then links matter.
  bool links_matter(const std::vector<bool>& marks) const {
    for (std::uint32_t index = 1; index < count_; ++index) {
      if (!marks[index] && object_is_live(state(index)) &&
          record(index).stored.load(std::memory_order_seq_cst) != 0) {  // SYNC POINT: stored link
        return true;
      }
    }
    return false;
  }

  // Marks what links lead to, from what is marked. False: a container could not be read.
  bool mark() {
    marks_ = roots();
    if (!links_matter(marks_)) return true;
    for (std::uint32_t index = 1; index < count_; ++index) {
      if (marks_[index]) pending_.push_back(index);
    }
    const LinkVisitor visit{this, [](void* context, ObjectId id) {
                              auto* sweep = static_cast<Sweep*>(context);
                              if (!sweep->is_live(id) || sweep->marks_[id.index]) return;
                              sweep->marks_[id.index] = true;
                              sweep->pending_.push_back(id.index);
                            }};
    return follow_pending(visit);
  }

  bool follow_pending(const LinkVisitor& visit) {
    while (!pending_.empty()) {
      const std::uint32_t index = pending_.back();
      pending_.pop_back();
      if (refers(index) && !each_link(index, visit)) return false;
    }
    return true;
  }

  void open() {
    // SYNC POINT: epoch: paired with the rescue in add_reference.
    AtomicWord& word = segment_.header().sweep;
    epoch_ = sweep_epoch(word.load(std::memory_order_relaxed)) + 1;
    word.store(sweep_word(epoch_, SweepPhase::kOpen), std::memory_order_seq_cst);
  }

  // Those that a sweep left which ran out of memory are condemned still: they are judged again.
  void condemn() {
    is_condemned_.assign(count_, false);
    for (std::uint32_t index = 1; index < count_; ++index) {
      const ObjectState now = object_state(state(index));
      if (marks_[index] && now == ObjectState::kCondemned) change_state(record(index), ObjectState::kLive);
      if (marks_[index] || (now != ObjectState::kLive && now != ObjectState::kCondemned)) continue;
      condemned_.push_back(index);  // before the state: without memory nothing is condemned that nobody revives
      is_condemned_[index] = true;
      change_state(record(index), ObjectState::kCondemned);  // SYNC POINT: condemned
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }

  void revive(std::uint32_t index) {
    if (index >= count_ || !is_condemned_[index]) return;
    is_condemned_[index] = false;
    change_state(record(index), ObjectState::kLive);
    pending_.push_back(index);
  }

  // False: it cannot be decided now.
  bool remark_until_committed() {
    for (int epochs = 0; epochs < kMostEpochs; ++epochs) {
      pending_.clear();
      if (!remark()) return false;
      std::erase_if(condemned_, [&](std::uint32_t index) { return !is_condemned_[index]; });
      if (condemned_.empty()) return true;
      // SYNC POINT: epoch.
      AtomicWord& word = segment_.header().sweep;
      Word seen = sweep_word(epoch_, SweepPhase::kOpen);
      if (word.compare_exchange_strong(seen, sweep_word(epoch_, SweepPhase::kCommitted))) return true;
      revive(sweep_rescued(seen));
      open();
    }
    return false;
  }

  bool remark() {
    const std::vector<bool> marks = roots();
    bool links = false;
    for (std::uint32_t index : condemned_) {
      if (marks[index]) revive(index);
      links = links || (is_condemned_[index] && record(index).stored.load(std::memory_order_seq_cst) != 0);
    }
    if (!links) return true;  // what is condemned still was never stored anywhere
    const LinkVisitor visit{this, [](void* context, ObjectId id) {
                              auto* sweep = static_cast<Sweep*>(context);
                              if (sweep->is_live(id)) sweep->revive(id.index);
                            }};
    for (std::uint32_t index = 1; index < count_; ++index) {
      if (is_condemned_[index] || !object_is_live(state(index)) || !refers(index)) continue;
      if (!each_link(index, visit)) return false;
    }
    return follow_pending(visit);
  }

  // REQUIRES: the epoch is committed, or nothing is condemned.
  int destroy_condemned() {
    if (condemned_.empty()) return 0;
    for (std::uint32_t index : condemned_) change_state(record(index), ObjectState::kDestroying);
    give_objects(me_, is_condemned_);
    for (std::uint32_t index : condemned_) change_state(record(index), ObjectState::kFree);
    return static_cast<int>(condemned_.size());
  }

  ThreadContext& me_;
  Segment& segment_;
  const SweepHolds held_;
  bool waits_for_hold_ = false;  // something is kept by a hold alone that is about to end
  const std::uint32_t count_;
  std::uint32_t epoch_ = 0;
  std::vector<bool> marks_, is_condemned_;
  std::vector<std::uint32_t> condemned_, pending_;
};

}  // namespace

int sweep_unreferred_objects(ThreadContext& me, const SweepHolds& held, bool* unfinished) {
  bool gave_up = false;
  int destroyed = 0;
  SegmentHeader& header = me.segment().header();
  const Word noted = header.garbage_noted.load(std::memory_order_acquire);
  try {
    // Nothing is left to finish but by a sweep that ran out of memory.
    if (sweep_phase(me.segment().header().sweep.load(std::memory_order_relaxed)) == SweepPhase::kCommitted) {
      finish_sweep(me);
    }
    free_expired_flights(me.segment());
    destroyed = Sweep(me, held).run(gave_up);
  } catch (const std::bad_alloc&) {
    gave_up = true;  // its epoch is ended by the next one
  }
  // What the destroyed ones kept may be destroyed next.
  const Word own = destroyed != 0 ? 1 : 0;
  if (own != 0) header.garbage_noted.fetch_add(own, std::memory_order_relaxed);
  if (!gave_up) {
    // SYNC POINT: garbage: whoever noted more before this store did not ring.
    header.garbage_swept.store(noted, std::memory_order_seq_cst);
    if (header.garbage_noted.load(std::memory_order_seq_cst) != noted + own) me.segment().ring_bell();
  }
  if (unfinished != nullptr) *unfinished = gave_up;
  return destroyed;
}

void finish_sweep(ThreadContext& me) {
  Segment& segment = me.segment();
  const bool committed = sweep_phase(segment.header().sweep.load(std::memory_order_seq_cst)) == SweepPhase::kCommitted;
  std::vector<bool> ending(kMaxObjects, true);  // records that were never committed own nothing rightly either
  const std::uint32_t count = segment.committed_objects();
  for (std::uint32_t index = 1; index < count; ++index) {
    ObjectRecord& record = object_record(segment, index);
    const bool condemned = object_state(record.state.load(std::memory_order_acquire)) == ObjectState::kCondemned;
    if (condemned) change_state(record, committed ? ObjectState::kDestroying : ObjectState::kLive);
    ending[index] = !object_is_live(record.state.load(std::memory_order_acquire));
  }
  give_objects(me, ending);
  for (std::uint32_t index = 1; index < count; ++index) {
    ObjectRecord& record = object_record(segment, index);
    if (object_state(record.state.load(std::memory_order_acquire)) == ObjectState::kDestroying) {
      change_state(record, ObjectState::kFree);
    }
  }
  end_epoch(segment);
}

bool await_sweep(ThreadContext& me, Deadline deadline) {
  const Segment& segment = me.segment();
  SegmentHeader& header = segment.header();
  if (deadline.passed()) return false;
  const Word noted = header.garbage_noted.load(std::memory_order_relaxed);
  auto is_swept = [&] {
    return static_cast<std::int64_t>(header.garbage_swept.load(std::memory_order_acquire) - noted) >= 0;
  };
  // Once in vain is enough: the server is stopped or dead, or something keeps it from a decision.
  std::atomic<Word>& in_vain = segment.awaited_in_vain();
  if (is_swept() || in_vain.load(std::memory_order_relaxed) == noted) {
    // A sweep may have ended after the caller found no memory, and before it came here.
    const Word swept = header.garbage_swept.load(std::memory_order_acquire);
    return me.swept_when_short(swept) != swept;
  }
  if (header.server_session.load(std::memory_order_relaxed) == 0) return false;
  while (!is_swept()) {
    if (deadline.passed()) return in_vain.store(noted, std::memory_order_relaxed), false;
    if (header.memory_wanted.exchange(1, std::memory_order_relaxed) == 0) segment.ring_bell();
    std::this_thread::sleep_for(kSweepPause);
  }
  (void)me.swept_when_short(header.garbage_swept.load(std::memory_order_acquire));
  return true;
}

void count_links(ThreadContext& me) {
  Sweep(me, {}).count_links();
}

}  // namespace commonhold::shm
