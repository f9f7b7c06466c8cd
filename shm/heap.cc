#include "shm/heap.h"

#include <algorithm>
#include <bit>
#include <unordered_set>

#include "shm/heap_classes.h"
#include "shm/planted_fault.h"

namespace commonhold::shm {

namespace {

constexpr Word kRange = 1;  // in free_head and next links: the block heads a fresh run and holds {next, end}

constexpr Offset parked_offset(Word parked) {
  return (parked & 0xff'ffff'ffff) * 16;
}
constexpr std::uint64_t parked_bytes(Word parked) {
  Word size = parked >> 40;
  return size < kHeapClasses ? class_bytes(static_cast<std::uint32_t>(size)) : (size - kChunkMark) * kGranule;
}

// What parked_word() can give; a pin is written by another process.
constexpr bool is_block(Word parked) {
  return parked >> 40 < kHeapClasses || parked >> 40 > kChunkMark + kLargestClass / kGranule;
}

std::uint64_t slab_bytes(std::uint64_t block, std::uint64_t owned) {
  std::uint64_t wanted = owned < 8 * kGranule     ? kGranule
                         : owned < 64 * kGranule  ? 4 * kGranule
                         : owned < 512 * kGranule ? 16 * kGranule
                                                  : kExtent;
  while (wanted < kExtent && wanted < sizeof(SlabHeader) + 3 * block) wanted *= 2;
  return wanted;
}

}  // namespace

std::uint64_t Heap::block_size(std::uint64_t bytes) {
  return bytes <= kLargestClass ? class_bytes(class_of(bytes)) : chunk_size(bytes);
}

Offset Heap::take(std::uint64_t bytes, LateReaders late) {
  if (bytes > kLargestClass) {
    Offset chunk = 0;
    if (take_chunk(me_, owner_, bytes, chunk, late) != Status::kOk) {
      if (parked_count() == 0) return 0;
      recycle();  // what is parked may be what is missing
      if (take_chunk(me_, owner_, bytes, chunk, late) != Status::kOk) return 0;
    }
    store_word(&state_.owned_bytes, state_.owned_bytes + chunk_size(bytes));
    return chunk;
  }
  std::uint32_t size_class = class_of(bytes);
  Word head = state_.free_head[size_class];
  if (head == 0) [[unlikely]] {
    Offset block = take_from_new_slab(size_class);
    if (block != 0 || parked_count() == 0) return block;
    recycle();
    head = state_.free_head[size_class];
    if (head == 0) return take_from_new_slab(size_class);
  }
  Offset block = head & ~kRange;
  std::uint64_t size = class_bytes(size_class);
  if (block % 16 != 0 || !segment_.holds(block, size)) return 0;
  Word* words = segment_.at<Word>(block);
  Word next = load_word(words);
  if ((head & kRange) != 0) {
    Offset end = load_word(words + 1), second = block + size;
    if (second + size <= end) {
      if (!segment_.holds(second, size)) return 0;
      store_word(segment_.at<Word>(second), next);
      store_word(segment_.at<Word>(second) + 1, end);
      next = second | kRange;
    }
  }
  store_word(&state_.free_head[size_class], next);
  return block;
}

bool Heap::reserve(std::uint64_t bytes, std::uint64_t count) {
  const std::uint32_t size_class = class_of(bytes);
  const std::uint64_t size = class_bytes(size_class);
  for (;;) {
    std::uint64_t found = 0;
    for (Word head = state_.free_head[size_class]; head != 0 && found < count;) {
      const Offset block = head & ~kRange;
      if (block % 16 != 0 || !segment_.holds(block, size)) return false;
      const Word* words = segment_.at<Word>(block);
      found += (head & kRange) != 0 ? std::max<std::uint64_t>((load_word(words + 1) - block) / size, 1) : 1;
      head = load_word(words);
    }
    if (found >= count) return true;
    const Offset block = take_from_new_slab(size_class);
    if (block == 0) return false;
    push_free(size_class, block);
  }
}

Offset Heap::take_from_new_slab(std::uint32_t size_class) {
  std::uint64_t block = class_bytes(size_class);
  std::uint64_t bytes = slab_bytes(block, state_.owned_bytes);
  Offset slab = 0;
  Status status = take_chunk(me_, owner_, bytes, slab);
  if (status != Status::kOk) {
    bytes = chunk_size(sizeof(SlabHeader) + block);  // near the limit a small slab may still fit
    if (take_chunk(me_, owner_, bytes, slab) != Status::kOk) return 0;
  }
  auto* header = segment_.at<SlabHeader>(slab);
  header->block_bytes.store(block, std::memory_order_release);
  Offset first = slab + sizeof(SlabHeader), second = first + block, end = slab + bytes;
  if (second + block <= end) {
    store_word(segment_.at<Word>(second), state_.free_head[size_class]);
    store_word(segment_.at<Word>(second) + 1, end);
    store_word(&state_.free_head[size_class], second | kRange);
  }
  store_word(&state_.owned_bytes, state_.owned_bytes + bytes);
  return first;
}

void Heap::push_free(std::uint32_t size_class, Offset block) {
  list_block(segment_.backed(), state_, size_class, block);
}

void Heap::give(Offset block, std::uint64_t bytes) {
  if (bytes <= kLargestClass) {
    push_free(class_of(bytes), block);
  } else {
    give_chunk(me_, block, bytes);
    store_word(&state_.owned_bytes, state_.owned_bytes - std::min(state_.owned_bytes, chunk_size(bytes)));
  }
}

void Heap::retire(Offset block, std::uint64_t bytes) {
  Word count = parked_count();
  if (count >= kParkedBlocks) {
    recycle();
    count = parked_count();
    if (count >= kParkedBlocks) return set_parked(count, strays() + 1);  // all pinned
  }
  store_word(&state_.parked[count], parked_word(block, bytes));
  set_parked(count + 1, strays());
  if (bytes > kLargestClass && parks_too_much()) recycle();
}

// Whether the chunks that are parked keep more memory from others than a heap of this size may.
bool Heap::parks_too_much() const {
  std::uint64_t parked = 0;
  for (Word i = 0; i < std::min<Word>(parked_count(), kParkedBlocks); ++i) {
    if (state_.parked[i] >> 40 > kChunkMark) parked += parked_bytes(state_.parked[i]);
  }
  return parked > std::max(kMostParkedBytes, state_.owned_bytes / 8);
}

bool Heap::wants_rebuild() const {
  return strays() >= 16 && std::has_single_bit(strays());
}

[[gnu::noinline]] void Heap::free_parked(Word parked) {
  Offset block = parked_offset(parked);
  if (!is_block(parked) || !segment_.holds(block, parked_bytes(parked))) return;  // damaged
  if (parked >> 40 < kHeapClasses) {
    push_free(static_cast<std::uint32_t>(parked >> 40), block);
  } else {
    give(block, parked_bytes(parked));
  }
}

void Heap::recycle() {
  const Word count = std::min<Word>(parked_count(), kParkedBlocks);
  // SYNC POINT: recycle: raised before the first store into a block that readers may still be copying. Blocks are
  // written with release stores, so a reader that saw any of them also sees the raised counter.
  if (!planted(PlantedFault::kNoRecycleBump)) recycle_.fetch_add(1, std::memory_order_seq_cst);
  if (segment_.header().pins_used.load(std::memory_order_seq_cst) != 0) [[unlikely]]
    return recycle_beside_pins(count);
  const Segment::Backed memory = segment_.backed();
  for (Word i = count; i-- > 0;) {
    const Word parked = state_.parked[i];
    set_parked(i, strays());  // before the block is free: it is never both
    if (parked >> 40 < kHeapClasses && memory.holds_block(parked_offset(parked))) [[likely]] {
      list_block(memory, state_, static_cast<std::uint32_t>(parked >> 40), parked_offset(parked));
    } else {
      free_parked(parked);
    }
  }
}

void Heap::recycle_beside_pins(Word count) {
  Word parked[kParkedBlocks];
  bool pinned[kParkedBlocks] = {};
  std::copy_n(state_.parked, count, parked);
  each_pin([&](Word pin) {
    for (Word i = 0; i < count; ++i) pinned[i] = pinned[i] || parked[i] == pin;
  });
  Word kept = 0;
  for (Word i = 0; i < count; ++i) {
    if (pinned[i] && !planted(PlantedFault::kLeakedBlock)) store_word(&state_.parked[kept++], parked[i]);
  }
  set_parked(kept, strays());
  for (Word i = 0; i < count; ++i) {
    if (!pinned[i]) free_parked(parked[i]);
  }
}

Word Heap::block_word(Offset block, std::uint64_t bytes) {
  return parked_word(block, bytes);
}

template <typename Visit>
void Heap::each_pin(Visit&& visit) const {
  const std::uint32_t threads = segment_.threads_used();
  for (std::uint32_t t = 0; t < threads; ++t) {
    for (auto& pin : segment_.thread(t).pinned) {
      if (Word block = pin.load(std::memory_order_seq_cst)) visit(block);
    }
  }
}

// Blocks that somebody reads in place stay as they are. Those of them that are not reachable are parked, and added to
// `reachable`, which is sorted.
void Heap::park_pinned(std::vector<BlockRange>& reachable) {
  set_parked(0, 0);
  if (segment_.header().pins_used.load(std::memory_order_seq_cst) == 0) return;
  std::vector<Word> pinned;
  each_pin([&](Word block) { pinned.push_back(block); });
  std::sort(pinned.begin(), pinned.end());
  pinned.erase(std::unique(pinned.begin(), pinned.end()), pinned.end());  // two threads may pin one block
  std::size_t reached = reachable.size();
  Word count = 0, strays = 0;
  for (Word block : pinned) {
    if (!is_block(block) || chunk_owner(segment_, parked_offset(block)) != owner_) continue;
    BlockRange range{parked_offset(block), parked_bytes(block)};
    auto end = reachable.begin() + static_cast<std::ptrdiff_t>(reached);
    if (std::binary_search(reachable.begin(), end, range, [](auto& a, auto& b) { return a.at < b.at; })) continue;
    reachable.push_back(range);
    if (count < kParkedBlocks) {
      store_word(&state_.parked[count++], block);
    } else {
      ++strays;
    }
  }
  set_parked(count, strays);
}

void Heap::rebuild(std::vector<BlockRange> reachable) {
  recycle_.fetch_add(1, std::memory_order_seq_cst);
  auto lower = [](auto& a, auto& b) { return a.at < b.at; };
  std::sort(reachable.begin(), reachable.end(), lower);
  for (auto& head : state_.free_head) store_word(&head, 0);
  park_pinned(reachable);
  std::sort(reachable.begin(), reachable.end(), lower);
  std::uint64_t owned = 0;
  struct Chunk {
    Offset at;
    std::uint64_t bytes;
  };
  std::vector<Chunk> chunks, unreached;
  for_each_chunk(segment_, owner_, [&](Offset at, std::uint64_t bytes) { chunks.push_back({at, bytes}); });
  auto next = reachable.begin();
  Offset large_end = 0;  // a block of several extents reaches over chunks
  for (const Chunk& chunk : chunks) {
    while (next != reachable.end() && next->at < chunk.at) ++next;
    auto first = next;
    while (next != reachable.end() && next->at < chunk.at + chunk.bytes) ++next;
    if (first != next && first->bytes > kLargestClass) large_end = first->at + chunk_size(first->bytes);
    if (chunk.at < large_end) {
      owned += chunk.bytes;
      continue;
    }
    if (first == next) {
      unreached.push_back(chunk);
      continue;
    }
    owned += chunk.bytes;
    std::uint64_t block = segment_.at<SlabHeader>(chunk.at)->block_bytes.load(std::memory_order_acquire);
    if (block == 0 || block > kLargestClass || class_bytes(class_of(block)) != block) continue;  // no slab of ours
    std::uint32_t size_class = class_of(block);
    // Free blocks in a row become one run: no page of them is touched but the first.
    Offset run = 0;
    auto used = first;
    Offset end = chunk.at + sizeof(SlabHeader);
    auto close_run = [&] {
      if (run == 0) return;
      store_word(segment_.at<Word>(run), state_.free_head[size_class]);
      if (end - run >= 2 * block) store_word(segment_.at<Word>(run) + 1, end);
      store_word(&state_.free_head[size_class], end - run >= 2 * block ? run | kRange : run);
      run = 0;
    };
    for (Offset at = end; at + block <= chunk.at + chunk.bytes; at += block, end = at) {
      while (used != next && used->at < at) ++used;
      if (used != next && used->at == at) {
        close_run();
      } else if (run == 0) {
        run = at;
      }
    }
    close_run();
  }
  store_word(&state_.owned_bytes, owned);
  for (const Chunk& chunk : unreached) give_chunk(me_, chunk.at, chunk.bytes);
}

void Heap::forget_free() {
  recycle_.fetch_add(1, std::memory_order_seq_cst);
  for (auto& head : state_.free_head) store_word(&head, 0);
  set_parked(0, strays() + 1);
}

Heap::Audit Heap::audit(const std::vector<BlockRange>& reachable) {
  Audit audit;
  std::unordered_set<Offset> used, free;
  for (auto& block : reachable) {
    if (!used.insert(block.at).second) ++audit.doubled_blocks;
  }
  for (std::uint32_t c = 0; c < kHeapClasses; ++c) {
    std::uint64_t size = class_bytes(c);
    bool circle = false;
    for (Word head = state_.free_head[c]; head != 0 && !circle;) {
      Offset block = head & ~kRange;
      if (block % 16 != 0 || !segment_.holds(block, size) || audit.free_blocks > (Word{1} << 32)) {
        ++audit.doubled_blocks;  // a wild link
        break;
      }
      Word next = load_word(segment_.at<Word>(block));
      Offset end = (head & kRange) != 0 ? load_word(segment_.at<Word>(block) + 1) : block + size;
      if (free.contains(block) || end < block || !segment_.holds(block, end - block)) {
        ++audit.doubled_blocks;  // a ring, or a wild end
        break;
      }
      for (; block + size <= end && !circle && segment_.holds(block, size); block += size) {
        ++audit.free_blocks;
        circle = !free.insert(block).second;
        if (circle || used.contains(block)) ++audit.doubled_blocks;
      }
      head = next;
    }
  }
  for (Word i = 0; i < std::min<Word>(parked_count(), kParkedBlocks); ++i) {
    ++audit.parked_blocks;
    Offset block = parked_offset(state_.parked[i]);
    if (!free.insert(block).second || used.contains(block)) ++audit.doubled_blocks;
  }
  std::vector<BlockRange> large;
  for (auto& block : reachable) {
    if (block.bytes > kLargestClass) large.push_back({block.at, chunk_size(block.bytes)});
  }
  for (Word i = 0; i < std::min<Word>(parked_count(), kParkedBlocks); ++i) {
    if (state_.parked[i] >> 40 > kChunkMark) {
      large.push_back({parked_offset(state_.parked[i]), ((state_.parked[i] >> 40) - kChunkMark) * kGranule});
    }
  }
  std::sort(large.begin(), large.end(), [](auto& a, auto& b) { return a.at < b.at; });
  for_each_chunk(segment_, owner_, [&](Offset at, std::uint64_t bytes) {
    ++audit.chunks;
    auto after = std::upper_bound(large.begin(), large.end(), at, [](Offset o, auto& b) { return o < b.at; });
    if (after != large.begin() && at < std::prev(after)->at + std::prev(after)->bytes) return;
    std::uint64_t block = segment_.at<SlabHeader>(at)->block_bytes.load(std::memory_order_acquire);
    if (block == 0 || block > kLargestClass || block % 16 != 0) {
      ++audit.lost_chunks;
      return;
    }
    for (Offset b = at + sizeof(SlabHeader); b + block <= at + bytes; b += block) {
      ++audit.slab_blocks;
      if (!used.contains(b) && !free.contains(b)) ++audit.lost_blocks;
    }
  });
  // Strays are accounted for by their number alone.
  audit.lost_blocks -= std::min<std::uint64_t>(audit.lost_blocks, strays());
  audit.lost_chunks -= std::min<std::uint64_t>(audit.lost_chunks, strays());
  return audit;
}

}  // namespace commonhold::shm
