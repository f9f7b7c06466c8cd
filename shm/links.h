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
#include "shm/object_address.h"
#include "shm/words.h"

namespace commonhold::shm {

// Gets each ObjectId. It may be called under a lock, and must not take any. It may throw std::bad_alloc.
struct LinkVisitor {
  void* context = nullptr;
  void (*visit)(void* context, ObjectId id) = nullptr;
  void operator()(ObjectId id) const { visit(context, id); }
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
