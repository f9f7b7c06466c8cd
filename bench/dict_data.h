// What the dict benchmarks put and get: 16-byte text keys and 64-byte values, for us and for the rivals alike.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "shm/item.h"

namespace commonhold::bench {

inline constexpr std::size_t kEntries = 100'000;

struct Key {
  char bytes[16];

  std::string_view text() const { return {bytes, sizeof bytes}; }
  bool operator==(const Key& other) const { return std::memcmp(bytes, other.bytes, sizeof bytes) == 0; }
};

struct Payload {
  std::uint64_t words[8];
};
static_assert(sizeof(Payload) == 64);

// What std::hash gives for the text.
struct KeyHash {
  std::size_t operator()(const Key& key) const { return std::hash<std::string_view>()(key.text()); }
};

inline shm::Item item(const Key& key) {
  return {shm::ItemKind::kText, key.bytes, sizeof key.bytes};
}
inline shm::Item item(const Payload& value) {
  return {shm::ItemKind::kStruct, &value, sizeof value};
}

inline Key make_key(std::uint64_t number) {
  Key key;
  for (std::size_t i = sizeof key.bytes; i-- > 0; number /= 10) key.bytes[i] = static_cast<char>('0' + number % 10);
  return key;
}
inline Payload make_payload(std::uint64_t number) {
  Payload value;
  for (std::uint64_t i = 0; i < 8; ++i) value.words[i] = number * 8 + i;
  return value;
}

// The keys numbered below `count` in random order, compact in memory; several times, in another order each time.
inline std::vector<Key> keys_in_random_order(std::size_t count, std::uint64_t seed, int times = 1) {
  std::vector<Key> keys;
  keys.reserve(count * static_cast<std::size_t>(times));
  std::mt19937_64 random(seed);
  for (int time = 0; time < times; ++time) {
    auto first = static_cast<std::ptrdiff_t>(keys.size());
    for (std::size_t i = 0; i < count; ++i) keys.push_back(make_key(i * 7919 + 1'000'000));
    std::shuffle(keys.begin() + first, keys.end(), random);
  }
  return keys;
}

// Walks an array of keys round and round, each worker from a place of its own.
class Walk {
 public:
  Walk(const std::vector<Key>& keys, int worker)
      : keys_(keys.data()), count_(keys.size()), at_(static_cast<std::size_t>(worker) * count_ / 3) {}
  const Key& next() {
    const Key& key = keys_[at_];
    at_ = at_ + 1 == count_ ? 0 : at_ + 1;
    return key;
  }

 private:
  const Key* keys_;
  std::size_t count_, at_;
};

}  // namespace commonhold::bench
