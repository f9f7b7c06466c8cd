// A dict for pairs of operations, and its operations by name: what users can do with it, each on keys of the test's choice.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "interleave/pair_fixture.h"
#include "shm/dict.h"
#include "support/dict_kill_stage.h"

namespace commonhold::test {

// Keys with their values: "" is an integer, kNoValue none, as a set's elements have it; all else is a text.
inline const std::string kNoValue("\0", 1);
using Entries = std::vector<std::pair<std::string, std::string>>;

class DictPairs {
 public:
  using Use = std::function<std::string(shm::Dict& dict, shm::ThreadContext& me)>;

  // With keys 0 to `keys` - 1, which have integers. `shards`: 0 for a dict that may spread. A set or a namespace is a
  // dict with a kind of its own.
  explicit DictPairs(std::uint64_t shards, std::size_t keys = 0, shm::ObjectKind kind = shm::ObjectKind::kDict)
      : where(stage.segment.make({kind, "", "dict<text,text>", {shards}})), dict(where) {
    fix_seed(where);
    fill(dict, stage.me(), 0, keys);
  }
  DictPairs(const DictPairs&) = delete;
  DictPairs& operator=(const DictPairs&) = delete;

  shm::DictControl& control() const { return *stage.segment->at<shm::DictControl>(where.control); }

  // What users see, and what is wrong inside: each block of memory is accounted for.
  Observation observation();

  Operation reader(std::string name, Use use);
  Operation writer(std::string name, Use use);

  // ---- reading

  Operation get(std::string key);
  Operation get_fixed(std::string key);
  Operation contains(std::string key);
  Operation size();
  Operation get_many(std::vector<std::string> keys);
  Operation snapshot();
  // What is pinned is read twice.
  Operation pin(std::string key);

  // ---- one key

  Operation put(std::string key, std::string value);
  Operation put_number(std::string key);
  // `value`: as in Entries.
  Operation put_if(std::string key, std::string value, shm::PutMode mode);
  Operation exchange(std::string key, std::string value);
  Operation compare_exchange(std::string key, std::int64_t expected, std::string value);
  // As update(): reads the value in one call, and stores another in the next if it is there still.
  Operation update(std::string key, std::string value);
  Operation add(std::string key, bool from_zero);
  Operation erase(std::string key);
  Operation erase_if_equal(std::string key, std::int64_t expected);

  // ---- several

  Operation put_many(Entries entries, bool staged = false);
  Operation assign(Entries entries, bool staged = false);
  Operation pop_last();
  // As who decodes an entry before taking it: sees it in one call, and pops it in the next if it is the last one still.
  Operation pop_last_if_equal();
  // As a process that pops again and again, and remembers the order.
  Operation pop_twice();
  Operation clear();
  Operation compact();
  Operation give_idle_memory();

  // All that reads, of a key that is there and of one that is not.
  std::vector<Operation> readers(const std::string& present, const std::string& absent);
  // All that changes one key or all, likewise.
  std::vector<Operation> writers(const std::string& present, const std::string& absent);

  // Whether what is compared has the entries in insertion order; else by key. The order of two insertions that overlap
  // is not that in which they become visible.
  bool in_order = true;

  KillStage stage;
  shm::ObjectAddress where;
  shm::Dict dict;
};

}  // namespace commonhold::test
