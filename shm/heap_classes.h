// The sizes of a heap's blocks, and its shortest ways to one and from one.
#pragma once

#include <array>

#include "shm/heap.h"
#include "shm/segment.h"

namespace commonhold::shm {

// Classes: 16 to 128 in steps of 16, then four per doubling up to 2048.
constexpr std::uint64_t class_bytes(std::uint32_t size_class) {
  if (size_class < 8) return std::uint64_t{size_class + 1} * 16;
  std::uint32_t log2 = 7 + (size_class - 8) / 4, quarter = (size_class - 8) % 4;
  return (std::uint64_t{1} << log2) + (std::uint64_t{quarter} + 1) * (std::uint64_t{1} << (log2 - 2));
}

// The class of n * 16 + 1 to n * 16 + 16 bytes.
inline constexpr auto kClassOfUnits = [] {
  std::array<std::uint8_t, kLargestClass / 16> classes{};
  std::uint8_t size_class = 0;
  for (std::uint64_t units = 0; units < classes.size(); ++units) {
    if (class_bytes(size_class) < (units + 1) * 16) ++size_class;
    classes[units] = size_class;
  }
  return classes;
}();
// REQUIRES: bytes <= kLargestClass.
constexpr std::uint32_t class_of(std::uint64_t bytes) {
  return bytes == 0 ? 0 : kClassOfUnits[(bytes - 1) / 16];
}
static_assert(Segment::Backed::kBlock >= kLargestClass);
static_assert(class_of(16) == 0 && class_of(17) == 1 && class_of(128) == 7 && class_of(129) == 8);
static_assert(class_bytes(8) == 160 && class_bytes(11) == 256 && class_bytes(23) == 2048);
static_assert(class_of(160) == 8 && class_of(161) == 9 && class_of(256) == 11 && class_of(2048) == 23);

// A block as HeapState::parked has it: offset / 16 in bits 0-39; below kChunkMark a class, above it a chunk of
// granules: (bits 40-63) - kChunkMark.
constexpr Word kChunkMark = 64;

constexpr Word parked_word(Offset block, std::uint64_t bytes) {
  Word size = bytes <= kLargestClass ? class_of(bytes) : kChunkMark + chunk_size(bytes) / kGranule;
  return block / 16 | size << 40;
}

// What Heap::take() does when a block of the class is at hand; 0: it has more to do. REQUIRES: as Heap.
inline Offset take_listed_block(const Segment::Backed& memory, HeapState& heap, std::uint32_t size_class) {
  const Word head = heap.free_head[size_class];
  if (head % 16 != 0 || !memory.holds_block(head)) return 0;
  store_word(&heap.free_head[size_class], load_word(memory.at<Word>(head)));
  return head;
}

// Makes a block the next to be taken.
inline void list_block(const Segment::Backed& memory, HeapState& heap, std::uint32_t size_class, Offset block) {
  store_word(memory.at<Word>(block), heap.free_head[size_class]);
  store_word(&heap.free_head[size_class], block);
}

inline bool park_is_full(const HeapState& heap) {
  return (heap.parked_count & 0xffff'ffff) >= kParkedBlocks;
}
// What Heap::retire() does with a block of a class when there is room; without room, which only damage can take away,
// the block is out of reach until the next rebuild. REQUIRES: as Heap.
[[gnu::always_inline]] inline void park_block(HeapState& heap, Offset block, std::uint32_t size_class) {
  const Word count = heap.parked_count;
  if ((count & 0xffff'ffff) >= kParkedBlocks) [[unlikely]]
    return;
  store_word(&heap.parked[count & 0xffff'ffff], block / 16 | Word{size_class} << 40);
  store_word(&heap.parked_count, count + 1);
}

}  // namespace commonhold::shm
