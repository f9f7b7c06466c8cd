// A dict whose large batches can be stopped while they write their entries (dict_staging.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "shm/dict_staging.h"
#include "support/require_ok.h"
#include "support/stepped_child.h"
#include "support/test_segment.h"

namespace commonhold::test {

using Contents = std::map<std::string, std::string>;

// Texts of several sizes and one that is a chunk, under keys "<prefix>/<number>".
struct Batch {
  Batch(const std::string& prefix, int from, int to) {
    for (int i = from; i < to; ++i) {
      keys.push_back(prefix + std::to_string(i));
      values.emplace_back(i % 7 == 3 ? 3'000 : 5 + 9 * (i % 5), static_cast<char>('a' + i % 26));
    }
    for (std::size_t i = 0; i < keys.size(); ++i) pairs.push_back({text(keys[i]), text(values[i])});
  }
  void add_to(Contents& contents) const {
    for (std::size_t i = 0; i < keys.size(); ++i) contents[keys[i]] = values[i];
  }
  std::vector<std::string> keys, values;
  std::vector<shm::DictPair> pairs;
};

struct BatchedDict {
  explicit BatchedDict(std::uint64_t shards, std::uint64_t memory_limit = 32u << 20)
      : segment(memory_limit), where(segment.make_dict(shards)), dict(where) {}

  shm::DictControl& control() const { return *segment->at<shm::DictControl>(where.control); }
  shm::DictShards shards() const { return {*segment, control()}; }
  int locks_held() const {
    int held = 0;
    for (std::uint64_t i = 0; i < shards().size(); ++i) held += shards()[i].writing.state.load() != 0;
    return held;
  }
  std::vector<const shm::AtomicWord*> staged_words() const {
    std::vector<const shm::AtomicWord*> words;
    for (std::uint64_t i = 0; i < shards().size(); ++i) words.push_back(&shards()[i].staged);
    return words;
  }
  void put(const std::string& key, const std::string& value) {
    require_ok(dict.put(segment.me(), text(key), text(value)));
  }
  Contents contents() const {
    std::vector<shm::DictEntryCopy> entries;
    require_ok(dict.snapshot(segment.me(), entries));
    Contents found;
    for (const shm::DictEntryCopy& entry : entries) found[std::string(entry.key())] = entry.value();
    return found;
  }
  std::string fault() const {
    const auto audit = dict.audit(segment.me());
    return audit.left_staged != 0 ? "entries of a batch were left" : audit.error;
  }

  TestSegment segment;
  shm::ObjectAddress where;
  shm::Dict dict;
};

// In its own process, which takes a batch of two keys for a large one and writes one entry at a time.
inline SteppedChild batch_writer(BatchedDict& batched, const Batch& batch,
                                 std::vector<const shm::AtomicWord*> watched = {}) {
  return SteppedChild(
      std::move(watched), [&] { batched.segment.me(); },
      [&] {
        const shm::StagingForTest as_if_large(2, 1);
        require_ok(batched.dict.put_many(batched.segment.me(), batch.pairs));
      });
}

}  // namespace commonhold::test
