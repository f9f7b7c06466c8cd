// Several words changed as one: the new words are listed in a block, the block is committed by one store into the
// thread's slot, applied, and the slot is cleared. A death before the commit changes nothing; after it recovery applies
// the list again (stores of the same words) before it repairs what the dead thread's locks guard.
//
//   RedoBlock: { count, 0 } { at, word } { at, word } ...
//
// INVARIANT: whoever commits holds the locks of everything listed until the slot is cleared.
#pragma once

#include <cstdint>

#include "shm/layout.h"
#include "shm/segment.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

struct RedoEntry {
  Offset at;
  Word word;
};

constexpr std::uint64_t redo_block_bytes(std::uint64_t entries) {
  return 16 + entries * sizeof(RedoEntry);
}

inline void write_redo_count(Segment& segment, Offset block, std::uint64_t count) {
  store_word(segment.at<Word>(block), count);
  store_word(segment.at<Word>(block) + 1, 0);
}
inline void write_redo_entry(Segment& segment, Offset block, std::uint64_t index, RedoEntry entry) {
  Word* at = segment.at<Word>(block) + 2 + index * 2;
  store_word(at, entry.at);
  store_word(at + 1, entry.word);
}

// Applies a committed block; false when it makes no sense. For the committer and for recovery.
inline bool apply_redo(Segment& segment, Offset block) {
  if (!segment.holds(block, 16) || block % 16 != 0) return false;
  Word count = load_word(segment.at<Word>(block));
  if (count > (Word{1} << 32) || !segment.holds(block, redo_block_bytes(count))) return false;
  for (Word i = 0; i < count; ++i) {
    const Word* entry = segment.at<Word>(block) + 2 + i * 2;
    Offset at = load_word(entry);
    if (at % 8 != 0 || !segment.holds(at, 8)) return false;
    store_word(segment.at<Word>(at), load_word(entry + 1));
  }
  return true;
}

// The commit point, and its end once the changes are in place.
inline void commit_redo(ThreadContext& me, Offset block) {
  me.record().redo.store(block, std::memory_order_release);
}
inline void end_redo(ThreadContext& me) {
  me.record().redo.store(0, std::memory_order_release);
}

}  // namespace commonhold::shm
