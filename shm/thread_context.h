// A thread of this process as an owner in a segment: its slot there, and what it announced in it.
//
// Thread safety: used by its own thread only. A death leaves the announcements for recovery (lock_word.h).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "shm/ids.h"
#include "shm/layout.h"

namespace commonhold::shm {

class Segment;
class ThreadContext;

namespace detail {
// A load from the thread's own memory, without a call: every operation begins with it.
extern constinit thread_local ThreadContext* current_context __attribute__((tls_model("initial-exec")));
}  // namespace detail

class ThreadContext {
 public:
  // The calling thread's context for the segment it used last, or nullptr.
  static ThreadContext* current() { return detail::current_context; }

  // REQUIRES: the session has not ended meanwhile (Segment::leave).
  Segment& segment() const { return *segment_.load(std::memory_order_relaxed); }
  std::uint32_t owner() const { return owner_; }  // as lock words carry it
  std::uint32_t index() const { return index_; }  // of the thread slot
  ThreadRecord& record() const { return *record_; }
  // The session that it is a thread of: this process's, or the reserved one in whose name it recovers.
  SessionIndex session() const { return session_; }

  // While it repairs what a dead one's lock guards, which it owns itself by then: the dead owner, else 0. The second
  // changes it, and gives what it was.
  std::uint32_t repairs_for() const { return repairs_for_; }
  std::uint32_t repairs_for(std::uint32_t dead_owner) { return std::exchange(repairs_for_, dead_owner); }

  // What had been swept when this thread last looked, being short of memory (await_sweep); changes it.
  Word swept_when_short(Word swept) { return std::exchange(swept_when_short_, swept); }

  // For the scope of a wait for a word, which is announced and not yet owned. Waits may be nested: a waiter recovers
  // the dead.
  class Waiting {
   public:
    Waiting(ThreadContext& me, const LockWord& word) : me_(me), word_(word), outer_(me.waiting_) { me.waiting_ = this; }
    ~Waiting() { me_.waiting_ = outer_; }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    friend class ThreadContext;
    ThreadContext& me_;
    const LockWord& word_;
    const Waiting* outer_;
  };

  // Whether this is the context of a live session in that segment.
  bool works_on(const Segment* segment) const { return segment_.load(std::memory_order_relaxed) == segment; }
  // Whether announce() is a store and no more.
  bool has_room() const { return depth_ < kAnnouncements; }

  // Before taking a lock. The matching retract() follows the wake-up of unlock.
  void announce(const LockWord& word) { push(offset_of(&word) | static_cast<Word>(Announced::kWord)); }
  void retract(const LockWord& word) { pop(offset_of(&word) | static_cast<Word>(Announced::kWord)); }

  // REQUIRES: nothing was announced since, and there was room. Into the caller, which then needs no stack.
  [[gnu::always_inline]] void retract_last() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    record_->announced[--depth_].store(0, std::memory_order_relaxed);
  }

  // Before taking several locks of the object whose control block is at `control`.
  void announce_object(Offset control) { push(control | static_cast<Word>(Announced::kObject)); }
  void retract_object(Offset control) { pop(control | static_cast<Word>(Announced::kObject)); }

  // Before a store that makes sleepers on a futex (8-byte aligned) worth waking; retracted after the wake-up. After a
  // death recovery wakes them.
  void announce_wake(const void* futex) { push(offset_of(futex) | static_cast<Word>(Announced::kFutex)); }
  void retract_wake(const void* futex) { pop(offset_of(futex) | static_cast<Word>(Announced::kFutex)); }
  // Before looking whether a readers-writer lock may be shared; in force for all who look later. False: the thread's
  // slot is full. SYNC POINT: reader announced.
  bool announce_shared(Offset control) {
    if (depth_ == kAnnouncements && !make_room()) return false;
    Word mark = control | static_cast<Word>(Announced::kShared);
    record_->announced[depth_++].exchange(mark, std::memory_order_seq_cst);
    return true;
  }
  // False: the thread did not share it. SYNC POINT: reader gone.
  bool retract_shared(Offset control);
  // False: what the thread announced last is something else. SYNC POINT: reader gone.
  bool retract_last_shared(Offset control) {
    Word mark = control | static_cast<Word>(Announced::kShared);
    if (depth_ == 0 || record_->announced[depth_ - 1].load(std::memory_order_relaxed) != mark) return false;
    record_->announced[--depth_].exchange(0, std::memory_order_seq_cst);
    return true;
  }
  bool shares(Offset control) const {
    for (std::uint32_t i = depth_; i-- > 0;) {
      Word mark = record_->announced[i].load(std::memory_order_relaxed);
      if (mark == (control | static_cast<Word>(Announced::kShared))) return true;
    }
    return false;
  }

  // Whether `segment_` and `record_` lie where code that cannot include this looks for them.
  static constexpr bool begins_with(std::size_t segment_at, std::size_t record_at) {
    return offsetof(ThreadContext, segment_) == segment_at && offsetof(ThreadContext, record_) == record_at;
  }

  ~ThreadContext();  // gives the slot back; locks still held are released as those of a dead owner

 private:
  friend class Segment;
  friend class SegmentRegistry;
  friend class ReservedSession;
  friend class ContextsOfThread;
  ThreadContext() = default;
  void begin(Segment& segment, SessionIndex session, std::uint32_t slot, std::uint32_t generation);
  Offset offset_of(const void* address) const {
    return static_cast<Offset>(static_cast<const std::byte*>(address) - base_);
  }
  void push(Word announcement) {
    if (depth_ < kAnnouncements) [[likely]] {
      record_->announced[depth_++].store(announcement, std::memory_order_relaxed);
    } else {
      push_slow(announcement);
    }
    // The announcement must be in memory before the lock is taken; deaths see program order.
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  void pop(Word announcement) {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (depth_ != 0 && record_->announced[depth_ - 1].load(std::memory_order_relaxed) == announcement) [[likely]] {
      record_->announced[--depth_].store(0, std::memory_order_relaxed);
    } else {
      pop_slow(announcement);
    }
  }
  bool waits_for(const LockWord& word) const {
    const Waiting* wait = waiting_;
    while (wait != nullptr && &wait->word_ != &word) wait = wait->outer_;
    return wait != nullptr;
  }
  void push_slow(Word announcement);
  bool make_room();
  void pop_slow(Word announcement);

  ThreadContext* next_ = nullptr;           // of the same thread, in another segment
  std::atomic<Segment*> segment_{nullptr};  // null once the session ended: the next use makes a new context
  std::byte* base_ = nullptr;
  ThreadRecord* record_ = nullptr;
  std::uint32_t owner_ = 0;
  std::uint32_t index_ = 0;
  SessionIndex session_{};
  std::uint32_t depth_ = 0;  // announcements in use
  std::uint32_t repairs_for_ = 0;
  Word swept_when_short_ = 0;
  const Waiting* waiting_ = nullptr;
};

}  // namespace commonhold::shm
