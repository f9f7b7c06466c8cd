// The maps that the dict benchmarks run on: ours, and those of the standard library as floors. Each Store is filled
// once, in the parent; each worker process opens a Session on it.
#pragma once

#include <string>
#include <unordered_map>

#include "bench/dict_data.h"
#include "bench/ground.h"
#include "shm/dict.h"

namespace commonhold::bench {

// The keys in the order in which they were put.
inline const std::vector<Key>& stored_keys() {
  static const std::vector<Key> keys = keys_in_random_order(kEntries, 1);
  return keys;
}
// And in four others: a put may move an entry, so that reading in the order of the last puts would be reading memory in
// its own order.
inline const std::vector<Key>& wanted_keys() {
  static const std::vector<Key> keys = keys_in_random_order(kEntries, 2, 4);
  return keys;
}

class CommonholdStore {
 public:
  class Session {
   public:
    explicit Session(const CommonholdStore& store) : stay_(store.ground_), dict_(store.dict_) {}
    bool get(const Key& key, Value& value) {
      return dict_.get_fixed(item(key), &value, sizeof value) == shm::Status::kOk;
    }
    bool put(const Key& key, const Value& value) {
      return dict_.put(stay_.me(), item(key), item(value)) == shm::Status::kOk;
    }

   private:
    Stay stay_;
    shm::Dict dict_;
  };

  CommonholdStore() : dict_(ground_.make_dict()) {
    shm::Dict dict(dict_);
    for (std::size_t i = 0; i < kEntries; ++i) {
      expect_ok(dict.put(ground_.me(), item(stored_keys()[i]), item(make_value(i))), "put");
    }
  }

 private:
  Ground ground_;
  shm::ObjectAddress dict_;
};

// Unlocked, in private memory: what the processor can do with such a table.
class InlineMapStore {
 public:
  class Session {
   public:
    explicit Session(InlineMapStore& store) : map_(store.map_) {}
    bool get(const Key& key, Value& value) {
      auto found = map_.find(key);
      if (found == map_.end()) return false;
      value = found->second;
      return true;
    }
    bool put(const Key& key, const Value& value) {
      map_[key] = value;
      return true;
    }

   private:
    std::unordered_map<Key, Value, KeyHash>& map_;
  };

  InlineMapStore() {
    for (std::size_t i = 0; i < kEntries; ++i) map_[stored_keys()[i]] = make_value(i);
  }

 private:
  std::unordered_map<Key, Value, KeyHash> map_;
};

// The same with std::string for keys; 16 bytes are one too many to stand inside the string.
class StringMapStore {
 public:
  class Session {
   public:
    explicit Session(StringMapStore& store) : map_(store.map_) {}
    bool get(const Key& key, Value& value) {
      wanted_.assign(key.bytes, sizeof key.bytes);
      auto found = map_.find(wanted_);
      if (found == map_.end()) return false;
      value = found->second;
      return true;
    }
    bool put(const Key& key, const Value& value) {
      wanted_.assign(key.bytes, sizeof key.bytes);
      map_[wanted_] = value;
      return true;
    }

   private:
    std::unordered_map<std::string, Value>& map_;
    std::string wanted_;
  };

  StringMapStore() {
    for (std::size_t i = 0; i < kEntries; ++i) map_[std::string(stored_keys()[i].text())] = make_value(i);
  }

 private:
  std::unordered_map<std::string, Value> map_;
};

}  // namespace commonhold::bench
