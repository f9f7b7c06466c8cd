#include "bench/dict_rivals.h"

#include <errno.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/unordered_map.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <stdexcept>

#include "bench/dict_stores.h"
#include "bench/row.h"

#if COMMONHOLD_BENCH_LMDB
#include <lmdb.h>
#endif
#if COMMONHOLD_BENCH_CUCKOO
#include <libcuckoo/cuckoohash_map.hh>
#endif

namespace commonhold::bench {

// ---- Boost.Interprocess

namespace ipc = boost::interprocess;

struct BoostStore::Map {
  using Allocator = ipc::allocator<std::pair<const Key, Payload>, ipc::managed_shared_memory::segment_manager>;
  using Table = boost::unordered_map<Key, Payload, KeyHash, std::equal_to<Key>, Allocator>;

  explicit Map(const std::string& name)
      : memory(ipc::create_only, name.c_str(), 128u << 20),
        mutex(memory.construct<ipc::interprocess_mutex>(ipc::anonymous_instance)()),
        table(memory.construct<Table>(ipc::anonymous_instance)(kEntries, KeyHash(), std::equal_to<Key>(),
                                                               Allocator(memory.get_segment_manager()))) {
    ipc::shared_memory_object::remove(name.c_str());  // the mapping stays, nothing is left behind
  }

  ipc::managed_shared_memory memory;
  ipc::interprocess_mutex* mutex;
  Table* table;
};

BoostStore::BoostStore() : map_(std::make_unique<Map>(fmt::format("commonhold-bench-boost-{}", getpid()))) {
  for (std::size_t i = 0; i < kEntries; ++i) map_->table->insert_or_assign(stored_keys()[i], make_payload(i));
}
BoostStore::~BoostStore() = default;

bool BoostStore::Session::get(const Key& key, Payload& value) {
  ipc::scoped_lock<ipc::interprocess_mutex> held(*store_.map_->mutex);
  auto found = store_.map_->table->find(key);
  if (found == store_.map_->table->end()) return false;
  value = found->second;
  return true;
}

bool BoostStore::Session::put(const Key& key, const Payload& value) {
  ipc::scoped_lock<ipc::interprocess_mutex> held(*store_.map_->mutex);
  store_.map_->table->insert_or_assign(key, value);
  return true;
}

// ---- LMDB

#if COMMONHOLD_BENCH_LMDB

namespace {
void check(int result) {
  if (result != MDB_SUCCESS) throw std::runtime_error(fmt::format("LMDB: {}", mdb_strerror(result)));
}

constexpr const char* kLmdbFolder = "/dev/shm/commonhold-bench-lmdb-";  // and the process id

// A benchmark that was killed leaves its folder: sessions open it by name, so it needs one.
void remove_folders_of_the_dead() {
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    const std::string path = entry.path().string();
    if (path.rfind(kLmdbFolder, 0) != 0) continue;
    int pid = std::atoi(path.c_str() + std::strlen(kLmdbFolder));
    if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH) std::filesystem::remove_all(entry.path());
  }
}

}  // namespace

// An environment must not cross fork, so each session opens its own.
struct LmdbStore::Session::Environment {
  explicit Environment(const std::string& folder) {
    check(mdb_env_create(&env));
    check(mdb_env_set_mapsize(env, 256u << 20));
    check(mdb_env_open(env, folder.c_str(), MDB_WRITEMAP | MDB_NOSYNC | MDB_NOMETASYNC | MDB_MAPASYNC, 0600));
    MDB_txn* txn;
    check(mdb_txn_begin(env, nullptr, 0, &txn));
    check(mdb_dbi_open(txn, nullptr, 0, &table));
    check(mdb_txn_commit(txn));
    check(mdb_txn_begin(env, nullptr, MDB_RDONLY, &reader));
    mdb_txn_reset(reader);
  }
  ~Environment() {
    mdb_txn_abort(reader);
    mdb_env_close(env);
  }
  MDB_env* env = nullptr;
  MDB_dbi table = 0;
  MDB_txn* reader = nullptr;
};

LmdbStore::Session::Session(LmdbStore& store) : environment_(std::make_unique<Environment>(store.folder_)) {}
LmdbStore::Session::~Session() = default;

bool LmdbStore::Session::get(const Key& key, Payload& value) {
  MDB_val wanted{sizeof key.bytes, const_cast<char*>(key.bytes)}, found;
  check(mdb_txn_renew(environment_->reader));
  int result = mdb_get(environment_->reader, environment_->table, &wanted, &found);
  if (result == MDB_SUCCESS) std::memcpy(&value, found.mv_data, sizeof value);
  mdb_txn_reset(environment_->reader);
  return result == MDB_SUCCESS;
}

bool LmdbStore::Session::put(const Key& key, const Payload& value) {
  MDB_val at{sizeof key.bytes, const_cast<char*>(key.bytes)}, data{sizeof value, const_cast<Payload*>(&value)};
  MDB_txn* txn;
  check(mdb_txn_begin(environment_->env, nullptr, 0, &txn));
  check(mdb_put(txn, environment_->table, &at, &data, 0));
  check(mdb_txn_commit(txn));
  return true;
}

LmdbStore::LmdbStore() : folder_(fmt::format("{}{}", kLmdbFolder, getpid())) {
  remove_folders_of_the_dead();
  std::filesystem::create_directory(folder_);
  Session::Environment filler(folder_);
  MDB_txn* txn;
  check(mdb_txn_begin(filler.env, nullptr, 0, &txn));
  for (std::size_t i = 0; i < kEntries; ++i) {
    Key key = stored_keys()[i];
    Payload value = make_payload(i);
    MDB_val at{sizeof key.bytes, key.bytes}, data{sizeof value, &value};
    check(mdb_put(txn, filler.table, &at, &data, 0));
  }
  check(mdb_txn_commit(txn));
}
LmdbStore::~LmdbStore() {
  std::filesystem::remove_all(folder_);
}

#else

struct LmdbStore::Session::Environment {};
LmdbStore::LmdbStore() {
  throw Unavailable{"built without LMDB (liblmdb-dev)"};
}
LmdbStore::~LmdbStore() = default;
LmdbStore::Session::Session(LmdbStore&) {}
LmdbStore::Session::~Session() = default;
bool LmdbStore::Session::get(const Key&, Payload&) {
  return false;
}
bool LmdbStore::Session::put(const Key&, const Payload&) {
  return false;
}

#endif

// ---- libcuckoo

#if COMMONHOLD_BENCH_CUCKOO

struct CuckooStore::Map {
  libcuckoo::cuckoohash_map<Key, Payload, KeyHash> table;
};

CuckooStore::CuckooStore() : map_(std::make_unique<Map>()) {
  map_->table.reserve(kEntries);
  for (std::size_t i = 0; i < kEntries; ++i) map_->table.insert_or_assign(stored_keys()[i], make_payload(i));
}
bool CuckooStore::Session::get(const Key& key, Payload& value) {
  return store_.map_->table.find(key, value);
}
bool CuckooStore::Session::put(const Key& key, const Payload& value) {
  store_.map_->table.insert_or_assign(key, value);
  return true;
}

#else

struct CuckooStore::Map {};
CuckooStore::CuckooStore() {
  throw Unavailable{"built without libcuckoo (libcuckoo-dev)"};
}
bool CuckooStore::Session::get(const Key&, Payload&) {
  return false;
}
bool CuckooStore::Session::put(const Key&, const Payload&) {
  return false;
}

#endif

CuckooStore::~CuckooStore() = default;

}  // namespace commonhold::bench
