#include "shm/array_bytes.h"

#include <atomic>
#include <cstring>

#include "shm/words.h"

namespace commonhold::shm {
namespace {

// The widest access at `at` that is aligned and stays within `size` bytes.
std::size_t width_at(const std::byte* at, std::size_t size) {
  auto address = reinterpret_cast<std::uintptr_t>(at);
  for (std::size_t width = 8; width > 1; width /= 2) {
    if (width <= size && address % width == 0) return width;
  }
  return 1;
}

template <typename Unit>
void put_unit(std::byte* shared, const void* from) {
  Unit unit;
  std::memcpy(&unit, from, sizeof(Unit));
  reinterpret_cast<std::atomic<Unit>*>(shared)->store(unit, std::memory_order_release);
}
template <typename Unit>
void get_unit(void* to, const std::byte* shared) {
  Unit unit = reinterpret_cast<const std::atomic<Unit>*>(shared)->load(std::memory_order_acquire);
  std::memcpy(to, &unit, sizeof(Unit));
}

constexpr std::size_t kPiece = 512;

}  // namespace

void put_element(std::byte* shared, const void* from, std::size_t bytes) {
  switch (bytes) {
    case 8:
      return put_unit<std::uint64_t>(shared, from);
    case 4:
      return put_unit<std::uint32_t>(shared, from);
    case 2:
      return put_unit<std::uint16_t>(shared, from);
    default:
      return put_unit<std::uint8_t>(shared, from);
  }
}

void get_element(void* to, const std::byte* shared, std::size_t bytes) {
  switch (bytes) {
    case 8:
      return get_unit<std::uint64_t>(to, shared);
    case 4:
      return get_unit<std::uint32_t>(to, shared);
    case 2:
      return get_unit<std::uint16_t>(to, shared);
    default:
      return get_unit<std::uint8_t>(to, shared);
  }
}

void put_bytes(std::byte* shared, const void* source, std::uint64_t size) {
  auto* from = static_cast<const std::byte*>(source);
  while (size != 0) {
    const std::size_t width = width_at(shared, size);
    do {
      put_element(shared, from, width);
      shared += width, from += width, size -= width;
    } while (width == 8 && size >= 8);
  }
}

void get_bytes(void* target, const std::byte* shared, std::uint64_t size) {
  auto* to = static_cast<std::byte*>(target);
  while (size != 0) {
    const std::size_t width = width_at(shared, size);
    if (width == 8) {
      for (; size >= 8; shared += 8, to += 8, size -= 8) get_unit<std::uint64_t>(to, shared);
    } else {
      get_element(to, shared, width);
      shared += width, to += width, size -= width;
    }
  }
}

void get_repeated(void* target, const std::byte* from, std::size_t element, std::uint64_t skipped, std::uint64_t size) {
  auto* to = static_cast<std::byte*>(target);
  std::size_t at = skipped % element;
  if (element > kPiece) {
    while (size != 0) {
      std::size_t now = element - at < size ? element - at : size;
      get_bytes(to, from + at, now);
      to += now, size -= now, at = 0;
    }
    return;
  }
  std::byte piece[2 * kPiece];
  read_words(piece, from, element);
  std::size_t full = element;
  for (; full + element <= sizeof(piece); full += element) std::memcpy(piece + full, piece, element);
  while (size != 0) {
    std::size_t now = full - at < size ? full - at : size;
    std::memcpy(to, piece + at, now);
    to += now, size -= now, at = 0;
  }
}

}  // namespace commonhold::shm
