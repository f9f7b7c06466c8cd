// What a thread announces in its slot, beyond the common case, which thread_context.h has inline.
#include "shm/segment.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

// Drops what is stale; true when there is room then. Entries move downwards, so whoever looks for one in another
// thread's slot looks from the end: it is seen in its old place or in its new one.
bool ThreadContext::make_room() {
  // Locks that another thread has freed for us leave their announcement behind: drop those first.
  std::uint32_t kept = 0;
  for (std::uint32_t i = 0; i < depth_; ++i) {
    Word entry = record_->announced[i].load(std::memory_order_relaxed);
    bool stale = entry == 0;
    if ((entry & 7) == static_cast<Word>(Announced::kWord)) {
      const Offset at = entry & ~Word{7};
      auto* word = reinterpret_cast<LockWord*>(base_ + at);
      const bool is_word = segment().holds(at, sizeof(LockWord)) || word == &segment().header().extents_lock;
      stale =
          !is_word || ((word->state.load(std::memory_order_relaxed) & ~kLockWaiters) != owner_ && !waits_for(*word));
    }
    // Written to its new place before its old place is reused: a death in between sees it twice, never not at all.
    if (!stale) record_->announced[kept++].store(entry, std::memory_order_release);
  }
  for (std::uint32_t i = kept; i < depth_; ++i) record_->announced[i].store(0, std::memory_order_release);
  depth_ = kept;
  return depth_ < kAnnouncements;
}

void ThreadContext::push_slow(Word announcement) {
  if (make_room()) {
    record_->announced[depth_++].store(announcement, std::memory_order_relaxed);
  } else {
    record_->overflow.fetch_add(1, std::memory_order_relaxed);
  }
}

bool ThreadContext::retract_shared(Offset control) {
  Word mark = control | static_cast<Word>(Announced::kShared);
  for (std::uint32_t i = depth_; i-- > 0;) {
    if (record_->announced[i].load(std::memory_order_relaxed) != mark) continue;
    record_->announced[i].exchange(0, std::memory_order_seq_cst);
    while (depth_ > 0 && record_->announced[depth_ - 1].load(std::memory_order_relaxed) == 0) --depth_;
    return true;
  }
  return false;
}

void ThreadContext::pop_slow(Word announcement) {
  for (std::uint32_t i = depth_; i-- > 0;) {
    if (record_->announced[i].load(std::memory_order_relaxed) != announcement) continue;
    record_->announced[i].store(0, std::memory_order_relaxed);
    while (depth_ > 0 && record_->announced[depth_ - 1].load(std::memory_order_relaxed) == 0) --depth_;
    return;
  }
  if (record_->overflow.load(std::memory_order_relaxed) != 0) {
    record_->overflow.fetch_sub(1, std::memory_order_relaxed);
  }
}

}  // namespace commonhold::shm
