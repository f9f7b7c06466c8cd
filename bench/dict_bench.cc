// A dict of 100,000 entries that stays as large as it is: get, overwrite, and both mixed.
#include <fmt/format.h>

#include <stdexcept>

#include "bench/dict_rivals.h"
#include "bench/dict_stores.h"
#include "bench/lazy.h"
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

void found(bool present) {
  if (!present) throw std::runtime_error("a key is missing");
}

struct Get {
  template <typename Session>
  static void run(Worker& worker, Session& session) {
    Walk walk(wanted_keys(), worker.index());
    worker.repeat([&](std::uint64_t) {
      for (std::uint64_t i = 0; i < Worker::kBatch; ++i) {
        Payload value;
        found(session.get(walk.next(), value));
        keep(value);
      }
    });
  }
};

struct Overwrite {
  template <typename Session>
  static void run(Worker& worker, Session& session) {
    Walk walk(wanted_keys(), worker.index());
    Payload value = make_payload(0);
    worker.repeat([&](std::uint64_t n) {
      for (std::uint64_t i = 0; i < Worker::kBatch; ++i) {
        value.words[0] = n;
        found(session.put(walk.next(), value));
      }
    });
  }
};

// One operation in ten, drawn at random, is a put.
struct Mix {
  template <typename Session>
  static void run(Worker& worker, Session& session) {
    std::mt19937_64 random(3);
    std::vector<std::uint8_t> puts(65536);
    for (auto& put : puts) put = random() % 10 == 0;
    Walk walk(wanted_keys(), worker.index());
    Payload written = make_payload(0);
    std::size_t at = 0;
    worker.repeat([&](std::uint64_t n) {
      for (std::uint64_t i = 0; i < Worker::kBatch; ++i) {
        const Key& key = walk.next();
        if (puts[at++ % puts.size()] != 0) {
          written.words[0] = n;
          found(session.put(key, written));
        } else {
          Payload value;
          found(session.get(key, value));
          keep(value);
        }
      }
    });
  }
};

template <typename Load, typename Store>
Contender contender(std::string name, Lazy<Store> store, int workers) {
  return {std::move(name), [store, workers](const Plan& plan) -> std::vector<double> {
            (void)wanted_keys();
            Store& filled = *store;
            return {million_per_second(workers, plan, [&](Worker& worker) {
              typename Store::Session session(filled);
              Load::run(worker, session);
            })};
          }};
}

}  // namespace

void add_dict_rows(Rows& rows) {
  Lazy<ProxyStore> ours;
  Lazy<StructureStore> structure;
  Lazy<InlineMapStore> inline_map;
  Lazy<StringMapStore> string_map;
  Lazy<BoostStore> boost;
  Lazy<LmdbStore> lmdb;
  Lazy<CuckooStore> cuckoo;

  rows.push_back({.family = "dict",
                  .name = "get, 1 process",
                  .unit = "M/s",
                  .target = 10,
                  .ours = contender<Get>("", ours, 1),
                  .beside = {contender<Get>("std::unordered_map, unlocked, private", inline_map, 1),
                             contender<Get>("std::unordered_map<std::string, ...>", string_map, 1),
                             contender<Get>("our structure without the proxy", structure, 1),
                             contender<Get>("libcuckoo, 1 thread", cuckoo, 1),
                             contender<Get>("Boost.Interprocess unordered_map", boost, 1),
                             contender<Get>("LMDB, a transaction each", lmdb, 1)}});
  rows.push_back({.family = "dict",
                  .name = "get, 2 processes",
                  .unit = "M/s",
                  .target = 18,
                  .ours = contender<Get>("", ours, 2),
                  .beside = {contender<Get>("std::unordered_map, a private copy each", inline_map, 2),
                             contender<Get>("our structure without the proxy", structure, 2),
                             contender<Get>("Boost.Interprocess unordered_map", boost, 2),
                             contender<Get>("LMDB, a transaction each", lmdb, 2)}});
  rows.push_back({.family = "dict",
                  .name = "overwrite, 1 process",
                  .unit = "M/s",
                  .target = 5,
                  .ours = contender<Overwrite>("", ours, 1),
                  .beside = {contender<Overwrite>("std::unordered_map, unlocked, private", inline_map, 1),
                             contender<Overwrite>("our structure without the proxy", structure, 1),
                             contender<Overwrite>("libcuckoo, 1 thread", cuckoo, 1),
                             contender<Overwrite>("Boost.Interprocess unordered_map", boost, 1),
                             contender<Overwrite>("LMDB, not synced, a transaction each", lmdb, 1)}});
  rows.push_back({.family = "dict",
                  .name = "overwrite, 2 processes",
                  .unit = "M/s",
                  .target = 8,
                  .ours = contender<Overwrite>("", ours, 2),
                  .beside = {contender<Overwrite>("Boost.Interprocess unordered_map", boost, 2),
                             contender<Overwrite>("our structure without the proxy", structure, 2),
                             contender<Overwrite>("LMDB, not synced, a transaction each", lmdb, 2)}});
  rows.push_back({.family = "dict",
                  .name = "9 get : 1 put, 2 processes",
                  .unit = "M/s",
                  .target = 12,
                  .ours = contender<Mix>("", ours, 2),
                  .beside = {contender<Mix>("std::unordered_map, a private copy each", inline_map, 2),
                             contender<Mix>("our structure without the proxy", structure, 2),
                             contender<Mix>("Boost.Interprocess unordered_map", boost, 2)}});
}

}  // namespace commonhold::bench
