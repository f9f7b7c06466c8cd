// Items that keep other objects alive: which objects they are, and the marks that tell the sweep where to look.
//
// INVARIANT: whoever stores an item that links to an object holds a reference of its session to that object, from
// before the item is written until after it can be seen. And before it can be seen, the container's record says that it
// refers to others, and the object's that it was stored. The sweep (sweep.h) relies on both. A death in between leaves
// marks that nothing needs, which costs a look.
#pragma once

#include <cstdint>

#include "shm/deadline.h"
#include "shm/ids.h"
#include "shm/item.h"
#include "shm/layout.h"
#include "shm/lock_word.h"
#include "shm/object_address.h"
#include "shm/words.h"

namespace commonhold::shm {

// A thread that takes items with links out of a queue marks itself under the queue's lock, before they are gone, and
// until it noted the links as references of its session (references.h, note_taken). The sweep waits for it: in between
// nothing else keeps what it took. A death takes the mark back.
inline void begin_taking(ThreadRecord& thread) {
  thread.taking.store(1, std::memory_order_seq_cst);  // SYNC POINT: taking
}
inline void end_taking(ThreadRecord& thread) {
  thread.taking.store(0, std::memory_order_seq_cst);
}

// Gets each ObjectId. It may be called under a lock, and must not take any.
struct LinkVisitor {
  void* context = nullptr;
  void (*visit)(void* context, ObjectId id) = nullptr;
  void operator()(ObjectId id) const { visit(context, id); }
};

// A lock that is given up when a live owner keeps it too long.
class HeldInTime {
 public:
  HeldInTime(ThreadContext& me, LockWord& word, Deadline deadline)
      : me_(me), word_(word), held_(lock(me, word, deadline) == Status::kOk) {}
  ~HeldInTime() {
    if (held_) (void)unlock(me_, word_);
  }
  HeldInTime(const HeldInTime&) = delete;
  HeldInTime& operator=(const HeldInTime&) = delete;
  explicit operator bool() const { return held_; }

 private:
  ThreadContext& me_;
  LockWord& word_;
  bool held_;
};

void note_links_slowly(const Segment& segment, std::uint32_t container, const Item& item);

// Sets the marks for an item that is about to be stored in `container` (the index of its record).
inline void note_links(const Segment& segment, std::uint32_t container, const Item& item) {
  if (is_link(item.kind)) [[unlikely]]
    note_links_slowly(segment, container, item);
}

// The links of a stored item: `size` bytes of shared memory, which the caller has found to be backed.
inline void visit_links(ItemKind kind, const std::byte* stored, std::uint64_t size, const LinkVisitor& visit) {
  if (!is_link(kind) || size < sizeof(Word)) return;
  if (kind == ItemKind::kReference) return visit(ObjectId::from_word(load_word(stored)));
  const Word count = load_word(stored), most = size / sizeof(Word) - 1;
  for (Word i = 1; i <= count && i <= most; ++i) visit(ObjectId::from_word(load_word(stored + i * sizeof(Word))));
}

}  // namespace commonhold::shm
