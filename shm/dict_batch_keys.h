// The keys of a batch, in the order in which a dict has them.
#pragma once

#include <span>
#include <vector>

#include "shm/dict.h"
#include "shm/dict_shards.h"
#include "shm/dict_table.h"

namespace commonhold::shm {

struct BatchKey {
  DictKey key;
  const Item* value = nullptr;
  std::size_t order = 0;  // of the key's first appearance
  std::uint64_t shard = 0;
};

// Sorted by shard and hash, each key once: the last value, the first place.
std::vector<BatchKey> sort_batch(const DictControl& control, const DictShards& shards, std::span<const DictPair> pairs);

// Those that count for DictControl::recent.
class RecentKeys {
 public:
  RecentKeys(std::span<const BatchKey> keys, std::size_t pairs);
  void note(DictControl& control, std::uint64_t first_sequence) const;

 private:
  struct Recent {
    std::size_t order;
    std::uint64_t hash;
  };
  std::vector<Recent> keys_;
};

// Sequences for a batch of so many pairs; gives the first. REQUIRES: the locks of the keys' shards.
std::uint64_t draw_sequences(DictControl& control, const RecentKeys& recent, std::size_t pairs);

// Whether every key and every value is small enough for an entry.
bool fit_entries(std::span<const DictPair> pairs);

// How many of the keys from `begin` on live in one shard with it.
inline std::size_t keys_of_one_shard(std::span<const BatchKey> keys, std::size_t begin) {
  std::size_t end = begin;
  while (end < keys.size() && keys[end].shard == keys[begin].shard) ++end;
  return end - begin;
}

}  // namespace commonhold::shm
