// How bytes move in and out of shared memory: always as whole 64-bit atomic words, so that a reader without a lock
// never races with a writer in the sense of the language (and of the thread sanitizer).
//
// Writers publish with release stores, readers copy with acquire loads. On x86-64 both are plain moves, and the bytes
// of a block that is not changed once it is named may be moved in larger steps (write_block, copy_block).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
#include <emmintrin.h>
#endif

namespace commonhold::shm {

using Word = std::uint64_t;
using AtomicWord = std::atomic<Word>;
static_assert(sizeof(AtomicWord) == 8 && AtomicWord::is_always_lock_free);

constexpr std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

inline Word load_word(const void* at) {
  return reinterpret_cast<const AtomicWord*>(at)->load(std::memory_order_acquire);
}
inline void store_word(void* at, Word value) {
  reinterpret_cast<AtomicWord*>(at)->store(value, std::memory_order_release);
}

// One word of private bytes, at any address.
[[gnu::always_inline]] inline void write_word(std::byte* to, const std::byte* from) {
  Word word;
  std::memcpy(&word, from, 8);
  store_word(to, word);
}

// Copies `size` private bytes to 8-byte aligned shared memory; the last word is padded with zero bytes.
// write_words_here: into the caller, for hot paths.
[[gnu::always_inline]] inline void write_words_here(void* shared, const void* source, std::size_t size) {
  auto* to = static_cast<std::byte*>(shared);
  auto* from = static_cast<const std::byte*>(source);
  const std::size_t whole = size & ~std::size_t{7};
  std::size_t at = 0;
  for (; at + 32 <= whole; at += 32) {
    write_word(to + at, from + at);  // one after the other: one register does for all
    write_word(to + at + 8, from + at + 8);
    write_word(to + at + 16, from + at + 16);
    write_word(to + at + 24, from + at + 24);
  }
  for (; at < whole; at += 8) write_word(to + at, from + at);
  if (at < size) {
    Word word = 0;
    std::memcpy(&word, from + at, size - at);
    store_word(to + at, word);
  }
}

// Copies 32 bytes at a time, as far as there are so many; how many were copied. Nothing where there are no such steps.
[[gnu::always_inline]] inline std::size_t copy_wide(std::byte* to, const std::byte* from, std::size_t size) {
  std::size_t at = 0;
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
  for (; at + 32 <= size; at += 32) {
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at));
    const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at + 16));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at), first);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + at + 16), second);
  }
#endif
  return at;
}

// write_words for a block that nothing names yet; a reader who still copies what it was before finds out (heap.h).
[[gnu::always_inline]] inline void write_block(void* shared, const void* source, std::size_t size) {
  auto* to = static_cast<std::byte*>(shared);
  auto* from = static_cast<const std::byte*>(source);
  const std::size_t wide = copy_wide(to, from, size);
  if (wide < size) write_words_here(to + wide, from + wide, size - wide);
}

inline void write_words(void* shared, const void* source, std::size_t size) {
  write_words_here(shared, source, size);
}

[[gnu::always_inline]] inline void read_word(std::byte* to, const std::byte* from) {
  const Word word = load_word(from);
  std::memcpy(to, &word, 8);
}

// Copies `size` bytes out of 8-byte aligned shared memory. copy_words: into the caller, for hot paths.
[[gnu::always_inline]] inline void copy_words(void* target, const void* shared, std::size_t size) {
  auto* to = static_cast<std::byte*>(target);
  auto* from = static_cast<const std::byte*>(shared);
  const std::size_t whole = size & ~std::size_t{7};
  std::size_t at = 0;
  for (; at + 32 <= whole; at += 32) {
    read_word(to + at, from + at);
    read_word(to + at + 8, from + at + 8);
    read_word(to + at + 16, from + at + 16);
    read_word(to + at + 24, from + at + 24);
  }
  for (; at < whole; at += 8) read_word(to + at, from + at);
  if (at < size) {
    const Word word = load_word(from + at);
    std::memcpy(to + at, &word, size - at);
  }
}

// copy_words from a block that is not changed until it is used again, which the caller finds out afterwards (heap.h).
[[gnu::always_inline]] inline void copy_block(void* target, const void* shared, std::size_t size) {
  auto* to = static_cast<std::byte*>(target);
  auto* from = static_cast<const std::byte*>(shared);
  const std::size_t wide = copy_wide(to, from, size);
  std::atomic_thread_fence(std::memory_order_acquire);  // before the caller looks; no instruction on x86-64
  if (wide < size) copy_words(to + wide, from + wide, size - wide);
}

inline void read_words(void* target, const void* shared, std::size_t size) {
  copy_words(target, shared, size);
}

// True when `size` private bytes equal those in 8-byte aligned, zero-padded shared memory.
inline bool equal_words(const void* shared, const void* other, std::size_t size) {
  auto* a = static_cast<const std::byte*>(shared);
  auto* b = static_cast<const std::byte*>(other);
  for (; size >= 8; size -= 8, a += 8, b += 8) {
    Word word;
    std::memcpy(&word, b, 8);
    if (load_word(a) != word) return false;
  }
  if (size == 0) return true;
  Word word = 0;
  std::memcpy(&word, b, size);
  return load_word(a) == word;
}

}  // namespace commonhold::shm
