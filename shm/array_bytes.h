// Bytes of an array's elements: moved in the widest atomic accesses that the address allows, because neighbours may be
// stored to meanwhile, and a reader without a lock copies them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace commonhold::shm {

// Whether an element of that size is one atomic access.
constexpr bool is_small_element(std::size_t bytes) {
  return bytes <= 8 && (bytes & (bytes - 1)) == 0;
}

// One small element.
void put_element(std::byte* shared, const void* from, std::size_t bytes);
void get_element(void* to, const std::byte* shared, std::size_t bytes);

void put_bytes(std::byte* shared, const void* source, std::uint64_t size);
void get_bytes(void* target, const std::byte* shared, std::uint64_t size);
// The element at `from` (shared, 8-byte aligned) repeated, from `skipped` bytes behind the beginning.
void get_repeated(void* target, const std::byte* from, std::size_t element, std::uint64_t skipped, std::uint64_t size);

}  // namespace commonhold::shm
