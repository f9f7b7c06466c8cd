// What people use today for a map between processes, and libcuckoo for one between threads. As dict_stores.h; those
// that were not there at build time are Unavailable.
#pragma once

#include <memory>
#include <string>

#include "bench/dict_data.h"

namespace commonhold::bench {

// boost::unordered_map in a managed_shared_memory, keys and values inline, one interprocess_mutex around it.
class BoostStore {
 public:
  class Session {
   public:
    explicit Session(BoostStore& store) : store_(store) {}
    bool get(const Key& key, Payload& value);
    bool put(const Key& key, const Payload& value);

   private:
    BoostStore& store_;
  };

  BoostStore();
  ~BoostStore();

 private:
  struct Map;
  std::unique_ptr<Map> map_;
};

// LMDB in a folder of /dev/shm, MDB_WRITEMAP and without any sync, so that no disk is measured. A reader's transaction
// is reset and renewed, a write is a transaction of its own: what a program does that wants each put to be seen.
class LmdbStore {
 public:
  class Session {
   public:
    explicit Session(LmdbStore& store);
    ~Session();
    bool get(const Key& key, Payload& value);
    bool put(const Key& key, const Payload& value);

   private:
    friend class LmdbStore;
    struct Environment;
    std::unique_ptr<Environment> environment_;
  };

  LmdbStore();
  ~LmdbStore();

 private:
  std::string folder_;
};

// libcuckoo::cuckoohash_map, locked per bucket, in private memory: for one process.
class CuckooStore {
 public:
  class Session {
   public:
    explicit Session(CuckooStore& store) : store_(store) {}
    bool get(const Key& key, Payload& value);
    bool put(const Key& key, const Payload& value);

   private:
    CuckooStore& store_;
  };

  CuckooStore();
  ~CuckooStore();

 private:
  struct Map;
  std::unique_ptr<Map> map_;
};

}  // namespace commonhold::bench
