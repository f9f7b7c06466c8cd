#include "shm/sweep.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "shm/object_table.h"
#include "shm/object_types.h"
#include "shm/references.h"

namespace commonhold::shm {

namespace {

// How long a container's lock is waited for. A process that was stopped in the middle of a change holds up the
// destroying of objects, not the server.
constexpr std::chrono::milliseconds kPatience{20};

class Sweep {
 public:
  Sweep(ThreadContext& me, std::span<const ObjectId> held)
      : me_(me),
        segment_(me.segment()),
        held_(held),
        count_(static_cast<std::uint32_t>(segment_.header().objects_committed.load(std::memory_order_acquire))) {}

  int run(bool& unfinished) {
    if (!first_look()) return unfinished = true, 0;
    if (!doubt()) return 0;
    const bool sure = second_look();
    unfinished = !sure;
    for (std::uint32_t index : doubted_) {
      if (!sure) keep(index);
    }
    return destroy_doubted();
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
  void change_state(std::uint32_t index, ObjectState to) {
    const Word now = state(index);
    record(index).state.store(object_state_word(to, object_kind(now), object_generation(now)),
                              std::memory_order_seq_cst);
  }

  bool each_link(std::uint32_t index, const LinkVisitor& visit) {
    const Word now = state(index);
    const ObjectType* type = object_type(object_kind(now));
    const Offset control = object_control(segment_, {index, object_generation(now)});
    if (type == nullptr || type->each_link == nullptr || control == 0) return true;
    return type->each_link(me_, {&segment_, index, control}, Deadline::after(kPatience), visit);
  }

  // Sessions and holds, then names: in a mark for each object.
  std::vector<bool> roots() {
    std::vector<bool> marks(count_, false);
    for (ObjectId id : held_) {
      if (id.index < count_) marks[id.index] = true;
    }
    mark_referred(segment_, marks);
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
  bool first_look() {
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

  bool doubt() {
    is_doubted_.assign(count_, false);
    for (std::uint32_t index = 1; index < count_; ++index) {
      if (marks_[index] || object_state(state(index)) != ObjectState::kLive) continue;
      change_state(index, ObjectState::kDoubted);  // SYNC POINT: doubt
      doubted_.push_back(index);
      is_doubted_[index] = true;
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return !doubted_.empty();
  }

  void keep(std::uint32_t index) {
    if (!is_doubted_[index]) return;
    is_doubted_[index] = false;
    change_state(index, ObjectState::kLive);
    pending_.push_back(index);
  }

  bool second_look() {
    const std::vector<bool> marks = roots();
    bool links = false;
    for (std::uint32_t index : doubted_) {
      if (marks[index]) keep(index);
      links = links || (is_doubted_[index] && record(index).stored.load(std::memory_order_seq_cst) != 0);
    }
    if (!links) return true;  // what is in doubt still was never stored anywhere
    const LinkVisitor visit{this, [](void* context, ObjectId id) {
                              auto* sweep = static_cast<Sweep*>(context);
                              if (sweep->is_live(id)) sweep->keep(id.index);
                            }};
    for (std::uint32_t index = 1; index < count_; ++index) {
      if (is_doubted_[index] || !object_is_live(state(index)) || !refers(index)) continue;
      if (!each_link(index, visit)) return false;
    }
    if (!follow_pending(visit) || !takers_have_noted()) return false;
    std::vector<bool> taken(count_, false);
    mark_referred(segment_, taken);
    for (std::uint32_t index : doubted_) {
      if (taken[index]) keep(index);
    }
    return follow_pending(visit);
  }

  // False: a process was stopped between taking an item and noting its links.
  bool takers_have_noted() const {
    const Deadline deadline = Deadline::after(kPatience);
    const Word threads = std::min<Word>(segment_.header().threads_used.load(std::memory_order_acquire), kMaxThreads);
    for (std::uint32_t thread = 0; thread < threads; ++thread) {
      // SYNC POINT: taking
      while (segment_.thread(thread).taking.load(std::memory_order_seq_cst) != 0) {
        if (deadline.passed()) return false;
        std::this_thread::yield();
      }
    }
    return true;
  }

  int destroy_doubted() {
    std::erase_if(doubted_, [&](std::uint32_t index) { return !is_doubted_[index]; });
    if (doubted_.empty()) return 0;
    for (std::uint32_t index : doubted_) change_state(index, ObjectState::kEnding);
    give_objects(me_, is_doubted_);
    for (std::uint32_t index : doubted_) change_state(index, ObjectState::kFree);
    return static_cast<int>(doubted_.size());
  }

  ThreadContext& me_;
  Segment& segment_;
  std::span<const ObjectId> held_;
  const std::uint32_t count_;
  std::vector<bool> marks_, is_doubted_;
  std::vector<std::uint32_t> doubted_, pending_;
};

}  // namespace

int sweep_unreferred_objects(ThreadContext& me, std::span<const ObjectId> held, bool* unfinished) {
  bool gave_up = false;
  const int destroyed = Sweep(me, held).run(gave_up);
  if (unfinished != nullptr) *unfinished = gave_up;
  return destroyed;
}

void count_links(ThreadContext& me) {
  Sweep(me, {}).count_links();
}

}  // namespace commonhold::shm
