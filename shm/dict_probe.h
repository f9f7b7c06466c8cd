// The common lookup, as straight as the processor likes it: a key of up to 16 bytes that is there, in its home
// bucket, in a table that nobody rearranges at the moment. What cannot be predicted (in which slot of a bucket the
// key is) is computed rather than branched on, and nothing is called, so that the lookups of a loop overlap. All else
// is find_in_table's.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "shm/dict_layout.h"
#include "shm/segment.h"

namespace commonhold::shm {

inline constexpr std::size_t kShortKey = 16;

// hash_key() of such a key. Flattened: with the bound on the size a few instructions of the whole function are left.
[[gnu::flatten]] inline std::uint64_t hash_short_key(const Item& key, std::uint64_t seed) {
  if (key.size > kShortKey) __builtin_unreachable();
  return XXH3_64bits_withSeed(key.data, key.size, seed + static_cast<std::uint64_t>(key.kind));
}

// A key that is looked for, as two words with zeros behind its bytes.
class ShortKey {
 public:
  // REQUIRES: key.size <= kShortKey.
  [[gnu::always_inline]] explicit ShortKey(const Item& key)
      : kind_(key.kind), size_(static_cast<std::uint32_t>(key.size)) {
    auto* bytes = static_cast<const unsigned char*>(key.data);
    if (size_ > 8) [[likely]] {
      first_ = load<Word>(bytes);
      second_ = load<Word>(bytes + size_ - 8) >> (16 - size_) * 8;
    } else if (size_ >= 4) {
      first_ = load<std::uint32_t>(bytes) | Word{load<std::uint32_t>(bytes + size_ - 4)} << (size_ - 4) * 8;
    } else {
      for (std::uint32_t i = 0; i < size_; ++i) first_ |= Word{bytes[i]} << i * 8;
    }
  }

  [[gnu::always_inline]] bool is(const std::byte* entry, const EntryHeader& header) const {
    const std::byte* key = entry + sizeof(EntryHeader);
    return header.key_size() == size_ && header.key_kind() == kind_ && (load_word(key) == first_ || size_ == 0) &&
           (size_ <= 8 || load_word(key + 8) == second_);
  }
  // The key's bytes as an entry has them.
  [[gnu::always_inline]] void write(std::byte* key) const {
    if (size_ != 0) store_word(key, first_);
    if (size_ > 8) store_word(key + 8, second_);
  }

 private:
  template <typename T>
  static T load(const unsigned char* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  ItemKind kind_;
  std::uint32_t size_;
  Word first_ = 0, second_ = 0;
};

// Which of a bucket's slots seem to carry the tag, as bits: a hint, for probe_bucket() loads a slot again, properly.
[[gnu::always_inline]] inline std::uint32_t slots_with_tag(const AtomicWord* slots, std::uint32_t tag) {
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
  auto* pairs = reinterpret_cast<const __m128*>(slots);
  auto upper_halves = [&](int pair) {
    return _mm_castps_si128(_mm_shuffle_ps(pairs[pair], pairs[pair + 1], _MM_SHUFFLE(3, 1, 3, 1)));
  };
  const __m128i wanted = _mm_set1_epi32(static_cast<int>(tag));
  __m128i low = _mm_cmpeq_epi32(_mm_srli_epi32(upper_halves(0), 8), wanted);
  __m128i high = _mm_cmpeq_epi32(_mm_srli_epi32(upper_halves(2), 8), wanted);
  __m128i words = _mm_packs_epi32(low, high);
  return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(words, _mm_setzero_si128())));
#else
  std::uint32_t matches = 0;
  for (std::uint32_t s = 0; s < kSlotsPerBucket; ++s) {
    matches |= static_cast<std::uint32_t>(slot_tag(slots[s].load(std::memory_order_relaxed)) == tag) << s;
  }
  return matches;
#endif
}

// An entry with a key's tag, as it was seen in the key's home bucket.
struct DictHome {
  Word root;
  AtomicWord* slot;
  Word slot_value;
  Offset entry;
};

// Finds the first entry with the key's tag in its home bucket, and has it fetched without waiting for it. False: look
// again, with find_in_table. `recycle` was read first: a word is followed only where it is the same (undisturbed.h);
// the entry is the caller's to follow. kLargestClass bytes of the entry, or all of it, are in backed memory.
[[gnu::always_inline]] inline bool probe_bucket(const Segment::Backed& memory, const DictShard& shard,
                                                std::uint64_t hash, Word recycle, DictHome& home) {
  home.root = shard.root.load(std::memory_order_acquire);
  const std::uint32_t tag = hash_tag(hash);
  Offset bucket;
  if (root_is_directory(home.root)) [[likely]] {
    std::uint32_t depth = root_depth(home.root);
    if (depth > kMaxDepth) return false;
    Offset entry = root_offset(home.root) + directory_index(tag, depth) * 8;
    if (!memory.holds_unit(entry)) return false;
    bucket = entry_table(memory.at<AtomicWord>(entry)->load(std::memory_order_acquire)) + Offset{tag & 63} * 64;
    if (shard.recycle.load(std::memory_order_relaxed) != recycle) [[unlikely]]
      return false;
  } else {
    // Root 0 leads to offset 0, which is not backed.
    bucket = root_offset(home.root) + Offset{tag & (buckets_of_code(home.root & 63) - 1)} * 64;
  }
  if (!memory.holds_unit(bucket)) return false;
  auto* slots = memory.at<AtomicWord>(bucket);
  const std::uint32_t matches = slots_with_tag(slots, tag);
  if (matches == 0) return false;
  home.slot = &slots[std::countr_zero(matches)];
  // SYNC POINT: slot: the entry was written before the slot's release store.
  home.slot_value = home.slot->load(std::memory_order_acquire);
  home.entry = slot_entry(home.slot_value);
  const std::byte* entry = memory.at<std::byte>(home.entry);
  __builtin_prefetch(entry);  // never faults, so it may precede the check
  __builtin_prefetch(entry + 64);
  return memory.holds_block(home.entry);
}

// The same, and whether that entry is the key's. The caller checks the end of its value.
[[gnu::always_inline]] inline bool probe_home(const Segment::Backed& memory, const DictShard& shard, std::uint64_t hash,
                                              const ShortKey& key, Word recycle, DictHome& home, EntryHeader& header) {
  if (!probe_bucket(memory, shard, hash, recycle, home)) return false;
  if (shard.recycle.load(std::memory_order_relaxed) != recycle) [[unlikely]]
    return false;
  const std::byte* entry = memory.at<std::byte>(home.entry);
  header = load_entry(entry);
  return key.is(entry, header);
}

}  // namespace commonhold::shm
