// The maps that the dict benchmarks run on: ours, and those of the standard library as floors. Each Store is filled
// once, in the parent; each worker process opens a Session on it.
#pragma once

#include <commonhold/dict.h>
#include <commonhold/manager.h>

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

// commonhold::Dict, as programs use it.
class ProxyStore {
 public:
  class Session {
   public:
    explicit Session(const ProxyStore& store) : dict_(store.dict_) {}
    bool get(const Key& key, Payload& value) {
      auto found = dict_.find(key.text());
      if (found) value = *found;
      return found.has_value();
    }
    bool put(const Key& key, const Payload& value) {
      dict_.put(key.text(), value);
      return true;
    }

   private:
    Dict<std::string, Payload> dict_;
  };

  ProxyStore() : dict_(manager_.dict<std::string, Payload>()) {
    for (std::size_t i = 0; i < kEntries; ++i) dict_.put(stored_keys()[i].text(), make_payload(i));
  }

 private:
  Manager manager_;
  Dict<std::string, Payload> dict_;
};

// What is below it: the structure, without a server and without a proxy.
class StructureStore {
 public:
  class Session {
   public:
    explicit Session(const StructureStore& store) : stay_(store.ground_), dict_(store.dict_) {}
    bool get(const Key& key, Payload& value) {
      return dict_.get_fixed(item(key), &value, sizeof value) == shm::Status::kOk;
    }
    bool put(const Key& key, const Payload& value) {
      return dict_.put(stay_.me(), item(key), item(value)) == shm::Status::kOk;
    }

   private:
    Stay stay_;
    shm::Dict dict_;
  };

  StructureStore() : dict_(ground_.make_dict()) {
    shm::Dict dict(dict_);
    for (std::size_t i = 0; i < kEntries; ++i) {
      expect_ok(dict.put(ground_.me(), item(stored_keys()[i]), item(make_payload(i))), "put");
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
    bool get(const Key& key, Payload& value) {
      auto found = map_.find(key);
      if (found == map_.end()) return false;
      value = found->second;
      return true;
    }
    bool put(const Key& key, const Payload& value) {
      map_[key] = value;
      return true;
    }

   private:
    std::unordered_map<Key, Payload, KeyHash>& map_;
  };

  InlineMapStore() {
    for (std::size_t i = 0; i < kEntries; ++i) map_[stored_keys()[i]] = make_payload(i);
  }

 private:
  std::unordered_map<Key, Payload, KeyHash> map_;
};

// The same with std::string for keys; 16 bytes are one too many to stand inside the string.
class StringMapStore {
 public:
  class Session {
   public:
    explicit Session(StringMapStore& store) : map_(store.map_) {}
    bool get(const Key& key, Payload& value) {
      wanted_.assign(key.bytes, sizeof key.bytes);
      auto found = map_.find(wanted_);
      if (found == map_.end()) return false;
      value = found->second;
      return true;
    }
    bool put(const Key& key, const Payload& value) {
      wanted_.assign(key.bytes, sizeof key.bytes);
      map_[wanted_] = value;
      return true;
    }

   private:
    std::unordered_map<std::string, Payload>& map_;
    std::string wanted_;
  };

  StringMapStore() {
    for (std::size_t i = 0; i < kEntries; ++i) map_[std::string(stored_keys()[i].text())] = make_payload(i);
  }

 private:
  std::unordered_map<std::string, Payload> map_;
};

}  // namespace commonhold::bench
