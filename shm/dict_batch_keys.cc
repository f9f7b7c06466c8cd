#include "shm/dict_batch_keys.h"

#include <algorithm>
#include <boost/sort/spreadsort/integer_sort.hpp>
#include <cstring>
#include <tuple>

namespace commonhold::shm {

namespace {

bool equal_items(const Item& a, const Item& b) {
  return a.kind == b.kind && a.size == b.size && (a.size == 0 || std::memcmp(a.data, b.data, a.size) == 0);
}

constexpr auto kPrecedes = [](const BatchKey& a, const BatchKey& b) {
  return std::tie(a.shard, a.key.hash, a.order) < std::tie(b.shard, b.key.hash, b.order);
};

// What is sorted by first; few keys, and equal ones, have it in common.
std::uint64_t rank(const BatchKey& key) {
  static_assert(kMaxShards == 1u << 7);
  return key.shard << 57 | key.key.hash >> 7;
}

void sort(std::vector<BatchKey>& keys) {
  constexpr std::size_t kMany = 1000;
  if (keys.size() < kMany) return std::sort(keys.begin(), keys.end(), kPrecedes);
  boost::sort::spreadsort::integer_sort(
      keys.begin(), keys.end(), [](const BatchKey& key, unsigned bits) { return rank(key) >> bits; }, kPrecedes);
  for (auto first = keys.begin(); first != keys.end();) {
    const auto end = std::find_if(first, keys.end(), [&](const BatchKey& key) { return rank(key) != rank(*first); });
    std::sort(first, end, kPrecedes);
    first = end;
  }
}

}  // namespace

std::vector<BatchKey> sort_batch(const DictControl& control, const DictShards& shards,
                                 std::span<const DictPair> pairs) {
  std::vector<BatchKey> all;
  all.reserve(pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    std::uint64_t hash = hash_key(pairs[i].key, control.seed);
    all.push_back({{&pairs[i].key, hash}, &pairs[i].value, i, shards.index_of(hash)});
  }
  sort(all);
  std::vector<BatchKey> once;
  once.reserve(all.size());
  for (const BatchKey& next : all) {
    bool known = false;
    for (std::size_t i = once.size(); i-- > 0 && once[i].key.hash == next.key.hash && !known;) {
      if (!equal_items(*once[i].key.item, *next.key.item)) continue;
      once[i].value = next.value;
      known = true;
    }
    if (!known) once.push_back(next);
  }
  return once;
}

RecentKeys::RecentKeys(std::span<const BatchKey> keys, std::size_t pairs) {
  keys_.reserve(std::min<std::size_t>(keys.size(), kRecentInserts));
  for (const BatchKey& key : keys) {
    if (key.order + kRecentInserts >= pairs) keys_.push_back({key.order, key.key.hash});
  }
}

void RecentKeys::note(DictControl& control, std::uint64_t first_sequence) const {
  for (const auto& [order, hash] : keys_) {
    control.recent[(first_sequence + order) % kRecentInserts].store(hash, std::memory_order_relaxed);
  }
}

std::uint64_t draw_sequences(DictControl& control, const RecentKeys& recent, std::size_t pairs) {
  const std::uint64_t first = control.next_sequence.fetch_add(pairs, std::memory_order_relaxed);
  recent.note(control, first);
  return first;
}

bool fit_entries(std::span<const DictPair> pairs) {
  return std::all_of(pairs.begin(), pairs.end(), [](const DictPair& pair) {
    return pair.key.size <= kMaxItemBytes && pair.value.size <= kMaxItemBytes;
  });
}

}  // namespace commonhold::shm
