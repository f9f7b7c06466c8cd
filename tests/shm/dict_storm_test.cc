// Workers change one dict and are killed at random; what they acknowledged must be there, and nothing else be lost.
#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <random>
#include <thread>

#include "shm/recovery.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

constexpr int kWorkers = 4;
constexpr std::int64_t kKeysPerWorker = 64;
constexpr std::int64_t kCounters = 8;

// What a worker says of its own keys: `begun` before a change, `done` after it. The value of key k after change n is
// derived from (k, n), so a look at the dict tells which change took effect last.
struct WorkerLog {
  struct Key {
    std::atomic<std::int64_t> begun, done;
  } keys[kKeysPerWorker];
  std::atomic<std::int64_t> counted_begun[kCounters], counted_done[kCounters];
  std::atomic<std::uint64_t> operations;
};

struct Logs {
  WorkerLog workers[kWorkers];
};

// Change n of a key: every third erases it; sizes range over slabs, chunks and extents.
bool erases(std::int64_t n) {
  return n % 3 == 0;
}
std::string value_of(std::int64_t key, std::int64_t n) {
  std::size_t size = n % 97 == 0 ? 70'000 : n % 31 == 0 ? 3'000 : static_cast<std::size_t>(n * 7 % 300);
  return std::to_string(key) + ":" + std::to_string(n) + ":" + std::string(size, static_cast<char>('a' + n % 26));
}
std::string key_name(int worker, std::int64_t key) {
  return std::to_string(worker) + "/" + std::to_string(key);
}

void check(Status status) {
  if (status != Status::kOk && status != Status::kNotFound) throw std::runtime_error(shm::to_string(status));
}

void work(const TestSegment& segment, const shm::ObjectAddress& where, WorkerLog& log, int worker, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  shm::Dict dict(where);
  auto& me = segment.me();
  for (;;) {
    auto key = static_cast<std::int64_t>(random() % kKeysPerWorker);
    if (random() % 4 == 0) {
      auto counter = static_cast<std::int64_t>(random() % kCounters);
      std::string name = "counter/" + std::to_string(counter);
      shm::Word zero = 0;
      log.counted_begun[counter].fetch_add(1);
      check(dict.change_word(
          me, text(name), shm::ItemKind::kInt64, [](shm::Word a, shm::Word b) { return a + b; }, 1, &zero, nullptr));
      log.counted_done[counter].fetch_add(1);
    } else if (random() % 6 == 0) {
      // Two neighbouring keys in one step: with equal numbers of changes they must agree.
      std::string first = "pair/" + std::to_string(worker) + "/a", second = "pair/" + std::to_string(worker) + "/b";
      std::string value = std::to_string(random());
      shm::DictPair pairs[] = {{text(first), text(value)}, {text(second), text(value)}};
      check(dict.put_many(me, pairs));
    } else {
      std::int64_t n = log.keys[key].begun.load() + 1;
      std::string name = key_name(worker, key), value = value_of(key, n);
      log.keys[key].begun.store(n);
      if (erases(n)) {
        check(dict.erase(me, text(name)));
      } else {
        check(dict.put(me, text(name), text(value)));
      }
      log.keys[key].done.store(n);
    }
    log.operations.fetch_add(1);
  }
}

std::optional<std::string> read(const shm::Dict& dict, const std::string& key) {
  std::string value;
  Status status = dict.get(text(key), {&value, [](void* to, shm::ItemKind, std::size_t size) -> void* {
                                         static_cast<std::string*>(to)->resize(size);
                                         return static_cast<std::string*>(to)->data();
                                       }});
  if (status == Status::kNotFound) return std::nullopt;
  REQUIRE(status == Status::kOk);
  return value;
}

std::optional<std::string> state_after(std::int64_t key, std::int64_t n) {
  return n == 0 || erases(n) ? std::nullopt : std::optional(value_of(key, n));
}

// REQUIRES: nobody works and all deaths were recovered.
void check_logs(const TestSegment& segment, const shm::Dict& dict, Logs& logs) {
  REQUIRE(dict.audit(segment.me()).error == "");
  for (int w = 0; w < kWorkers; ++w) {
    for (std::int64_t k = 0; k < kKeysPerWorker; ++k) {
      auto& log = logs.workers[w].keys[k];
      std::int64_t begun = log.begun.load(), done = log.done.load();
      auto found = read(dict, key_name(w, k));
      INFO("worker " << w << ", key " << k << ", begun " << begun << ", done " << done);
      bool fits = found == state_after(k, done) || found == state_after(k, begun);
      REQUIRE(fits);
      // The next worker of this number goes on from what is really there.
      if (found != state_after(k, begun)) log.begun.store(done);
      log.done.store(log.begun.load());
    }
    std::string name = "pair/" + std::to_string(w);
    REQUIRE(read(dict, name + "/a") == read(dict, name + "/b"));
  }
  for (std::int64_t c = 0; c < kCounters; ++c) {
    std::int64_t done = 0, begun = 0, value = 0;
    for (auto& worker : logs.workers) {
      done += worker.counted_done[c].load();
      begun += worker.counted_begun[c].load();
    }
    std::string name = "counter/" + std::to_string(c);
    if (dict.get_fixed(text(name), &value, 8) == Status::kNotFound) value = 0;
    INFO("counter " << c << ": " << done << " acknowledged, " << begun << " begun");
    REQUIRE(value >= done);
    REQUIRE(value <= begun);
  }
}

// Kills and replaces workers at random. `server` recovers each death at once; without it only waiting workers do.
void storm(bool server, int kills) {
  TestSegment segment;
  auto where = segment.make_dict(4);
  shm::Dict dict(where);
  Shared<Logs> logs;
  std::mt19937_64 random(Catch::rngSeed() + (server ? 1 : 2));
  INFO("seed " << Catch::rngSeed());
  pid_t workers[kWorkers];
  auto start = [&](int w) {
    std::uint64_t seed = random();
    workers[w] = spawn([&] { work(segment, where, logs->workers[w], w, seed); });
  };
  for (int w = 0; w < kWorkers; ++w) start(w);
  for (int kill_number = 1; kill_number <= kills; ++kill_number) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 1500));
    int w = static_cast<int>(random() % kWorkers);
    kill(workers[w], SIGKILL);
    REQUIRE(wait_for(workers[w]) == -SIGKILL);
    if (server) REQUIRE(shm::recover_all_dead(*segment, segment.me()) >= 0);
    if (kill_number % 50 == 0) {
      // Everybody dies, and the next look must find all in order.
      for (int other = 0; other < kWorkers; ++other) {
        if (other == w) continue;
        kill(workers[other], SIGKILL);
        REQUIRE(wait_for(workers[other]) == -SIGKILL);
      }
      (void)shm::recover_all_dead(*segment, segment.me());
      check_logs(segment, dict, *logs);
      for (int other = 0; other < kWorkers; ++other) start(other);
    } else {
      // The worker's own keys may be one change behind what its log began: settle that before its successor starts.
      for (std::int64_t k = 0; k < kKeysPerWorker; ++k) {
        auto& log = logs->workers[w].keys[k];
        if (log.begun.load() == log.done.load()) continue;
        if (!server) (void)shm::recover_all_dead(*segment, segment.me());
        auto found = read(dict, key_name(w, k));
        bool fits = found == state_after(k, log.done.load()) || found == state_after(k, log.begun.load());
        REQUIRE(fits);
        if (found != state_after(k, log.begun.load())) log.begun.store(log.done.load());
        log.done.store(log.begun.load());
      }
      start(w);
    }
  }
  for (pid_t worker : workers) {
    kill(worker, SIGKILL);
    wait_for(worker);
  }
  (void)shm::recover_all_dead(*segment, segment.me());
  check_logs(segment, dict, *logs);
  std::uint64_t operations = 0;
  for (auto& worker : logs->workers) operations += worker.operations.load();
  WARN(kills << " kills in " << operations << " operations, recovered by "
             << (server ? "a server" : "waiting workers"));
  CHECK(operations > 1000);
}

}  // namespace

TEST_CASE("acknowledged writes survive random kills when a server recovers") {
  storm(true, 1500);
}
TEST_CASE("acknowledged writes survive random kills when only waiting workers recover") {
  storm(false, 700);
}
