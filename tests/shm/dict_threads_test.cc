// Many at once: threads of one process and processes of one machine read and write the same dict.
#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>

#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Dict;
using shm::Item;
using shm::ItemKind;
using shm::Sink;
using shm::Status;
using shm::ThreadContext;
using shm::Word;

namespace {

constexpr auto kRunTime = std::chrono::milliseconds(700);
constexpr int kWorkers = 4;

// Runs work(number, until) in so many threads, or in so many processes; what throws there fails here.
template <typename Work>
void run_in_threads(int count, Work&& work) {
  std::vector<std::thread> threads;
  std::vector<std::string> failures(static_cast<std::size_t>(count));
  auto until = std::chrono::steady_clock::now() + kRunTime;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      try {
        work(i, until);
      } catch (const std::exception& failure) {
        failures[static_cast<std::size_t>(i)] = failure.what();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (auto& failure : failures) CHECK(failure == "");
}
template <typename Work>
void run_in_processes(int count, Work&& work) {
  std::vector<pid_t> processes;
  auto until = std::chrono::steady_clock::now() + kRunTime;
  for (int i = 0; i < count; ++i) processes.push_back(spawn([&] { work(i, until); }));
  for (pid_t process : processes) CHECK(wait_for(process) == 0);
}

void require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

// A value that says of itself whether it is whole: random bytes of a random size, and their sum in front.
std::string make_value(std::mt19937_64& random) {
  std::size_t words = random() % 8 == 0 ? 300 + random() % 9000 : 1 + random() % 40;
  std::vector<Word> value(words + 1);
  Word sum = words;
  for (std::size_t i = 1; i <= words; ++i) sum = sum * 31 + (value[i] = random());
  value[0] = sum;
  return {reinterpret_cast<const char*>(value.data()), value.size() * 8};
}
bool is_whole(std::string_view bytes) {
  std::vector<Word> value(bytes.size() / 8);
  std::memcpy(value.data(), bytes.data(), value.size() * 8);
  if (value.empty()) return false;
  Word sum = value.size() - 1;
  for (std::size_t i = 1; i < value.size(); ++i) sum = sum * 31 + value[i];
  return sum == value[0];
}

Sink into(std::string& value) {
  return {&value, [](void* to, ItemKind, std::size_t size) -> void* {
            static_cast<std::string*>(to)->resize(size);
            return static_cast<std::string*>(to)->data();
          }};
}

// Puts, erases, reads, pins and lists a few keys; no value that is seen may be a mix of two.
void work_with_whole_values(const TestSegment& segment, Dict dict, std::uint64_t seed, bool writes,
                            std::chrono::steady_clock::time_point until) {
  std::mt19937_64 random(seed);
  ThreadContext& me = segment.me();
  std::string value;
  for (std::uint64_t n = 0; std::chrono::steady_clock::now() < until; ++n) {
    std::string key = "key/" + std::to_string(random() % 24);
    std::uint64_t choice = random() % (writes ? 20 : 10);
    if (choice < 8) {
      Status status = dict.get(text(key), into(value));
      require(status == Status::kNotFound || (status == Status::kOk && is_whole(value)), "a torn value of " + key);
    } else if (choice == 8) {
      const void* data;
      std::size_t size;
      ItemKind kind;
      std::uint32_t slot;
      Status status = dict.pin(me, text(key), data, size, kind, slot);
      if (status != Status::kOk) continue;
      for (int look = 0; look < 20; ++look) {
        require(is_whole({static_cast<const char*>(data), size}), "a pinned value of " + key + " changed");
        if (look % 4 == 0) std::this_thread::yield();
      }
      Dict::unpin(me, slot);
    } else if (choice == 9) {
      if (n % 16 != 0) continue;
      std::vector<shm::DictEntryCopy> entries;
      require(dict.snapshot(me, entries) == Status::kOk, "no snapshot");
      for (auto& entry : entries) require(is_whole(entry.value()), "a torn value in a snapshot");
    } else if (choice < 13) {
      Status status = dict.erase(me, text(key));
      require(status == Status::kOk || status == Status::kNotFound, "erase");
    } else if (choice < 19) {
      std::string fresh = make_value(random);
      require(dict.put(me, text(key), text(fresh)) == Status::kOk, "put");
    } else {
      std::string a = make_value(random), b = make_value(random);
      shm::DictPair pairs[] = {{text("key/1"), text(a)}, {text("key/2"), text(b)}};
      require(dict.put_many(me, pairs) == Status::kOk, "put_many");
    }
  }
}

// Each worker adds to shared counters and reads them: what is read never falls, and nothing is lost at the end.
void count_up(const TestSegment& segment, Dict dict, int worker, std::chrono::steady_clock::time_point until,
              std::atomic<std::int64_t>& added) {
  ThreadContext& me = segment.me();
  Word zero = 0;
  std::int64_t last[4] = {}, now = 0;
  for (std::uint64_t n = 0; std::chrono::steady_clock::now() < until; ++n) {
    std::uint64_t counter = n % 4;
    std::string key = "counter/" + std::to_string(counter);
    auto look = [&] {
      Status status = dict.get_fixed(text(key), &now, 8);
      if (status == Status::kNotFound) now = 0;
      require(now >= last[counter], "a counter fell");
      last[counter] = now;
    };
    look();
    Word before;
    require(
        dict.change_word(
            me, text(key), ItemKind::kInt64, [](Word a, Word b) { return a + b; }, 1, &zero, &before) == Status::kOk,
        "change_word");
    require(static_cast<std::int64_t>(before) >= last[counter], "an addition started from an older value");
    last[counter] = static_cast<std::int64_t>(before) + 1;
    added.fetch_add(1);
    look();
    if (worker == 0 && n % 8 == 0) {  // makes the table move under the readers
      std::string other = "other/" + std::to_string(n % 800);
      require(n / 800 % 2 == 0 ? dict.put(me, text(other), text("x")) == Status::kOk
                               : dict.erase(me, text(other)) <= Status::kNotFound,
              "put or erase");
    }
  }
}

void check_counters(const TestSegment& segment, const Dict& dict, std::int64_t added) {
  std::int64_t sum = 0;
  for (int i = 0; i < 4; ++i) {
    std::int64_t now = 0;
    std::string key = "counter/" + std::to_string(i);
    REQUIRE(dict.get_fixed(text(key), &now, 8) == Status::kOk);
    sum += now;
  }
  CHECK(sum == added);
  CHECK(dict.audit(segment.me()).error == "");
}

// Each worker moves an amount between two accounts in one put_many; who reads both at once sees the same sum.
void move_around(const TestSegment& segment, Dict dict, int worker, std::uint64_t seed,
                 std::chrono::steady_clock::time_point until) {
  std::mt19937_64 random(seed);
  ThreadContext& me = segment.me();
  std::string a = "account/" + std::to_string(worker) + "/a", b = "account/" + std::to_string(worker) + "/b";
  std::string other = "account/" + std::to_string((worker + 1) % kWorkers);
  std::string keys[] = {other + "/a", other + "/b"};
  Item items[] = {text(keys[0]), text(keys[1])};
  std::vector<std::string> values;
  std::vector<bool> found;
  while (std::chrono::steady_clock::now() < until) {
    auto part = static_cast<std::int64_t>(random() % 1000), rest = 1000 - part;
    shm::DictPair pairs[] = {{text(a), integer(part)}, {text(b), integer(rest)}};
    require(dict.put_many(me, pairs) == Status::kOk, "put_many");
    require(dict.get_many(me, items, values, found) == Status::kOk, "get_many");
    require(found[0] == found[1], "half of a put_many");
    if (!found[0]) continue;
    std::int64_t sum[2];
    std::memcpy(&sum[0], values[0].data(), 8);
    std::memcpy(&sum[1], values[1].data(), 8);
    require(sum[0] + sum[1] == 1000, "half of a put_many");
  }
}

struct Arena {
  TestSegment segment;
  Dict dict{segment.make_dict(4)};
  std::uint64_t seed = Catch::rngSeed();
};

}  // namespace

TEST_CASE("threads never see a value that nobody wrote, pinned ones included") {
  Arena arena;
  run_in_threads(kWorkers, [&](int worker, auto until) {
    work_with_whole_values(arena.segment, arena.dict, arena.seed + static_cast<std::uint64_t>(worker), worker % 2 == 0,
                           until);
  });
  CHECK(arena.dict.audit(arena.segment.me()).error == "");
}

TEST_CASE("processes never see a value that nobody wrote, pinned ones included") {
  Arena arena;
  run_in_processes(kWorkers, [&](int worker, auto until) {
    work_with_whole_values(arena.segment, arena.dict, arena.seed + static_cast<std::uint64_t>(worker), worker % 2 == 0,
                           until);
  });
  CHECK(arena.dict.audit(arena.segment.me()).error == "");
}

TEST_CASE("counters of threads never fall and lose no addition") {
  Arena arena;
  std::atomic<std::int64_t> added{0};
  run_in_threads(kWorkers, [&](int worker, auto until) { count_up(arena.segment, arena.dict, worker, until, added); });
  check_counters(arena.segment, arena.dict, added);
}

TEST_CASE("counters of processes never fall and lose no addition") {
  Arena arena;
  Shared<std::atomic<std::int64_t>> added;
  run_in_processes(kWorkers,
                   [&](int worker, auto until) { count_up(arena.segment, arena.dict, worker, until, *added); });
  check_counters(arena.segment, arena.dict, added->load());
}

TEST_CASE("what is put at once is read at once, in threads and in processes") {
  Arena arena;
  auto work = [&](int worker, auto until) {
    move_around(arena.segment, arena.dict, worker, arena.seed + static_cast<std::uint64_t>(worker), until);
  };
  run_in_threads(kWorkers, work);
  run_in_processes(kWorkers, work);
  CHECK(arena.dict.audit(arena.segment.me()).error == "");
}

TEST_CASE("size() and a snapshot agree with puts that are balanced by erasures") {
  Arena arena;
  ThreadContext& me = arena.segment.me();
  for (int i = 0; i < 50; ++i) {
    std::string key = "fixed/" + std::to_string(i);
    REQUIRE(arena.dict.put(me, text(key), text("x")) == Status::kOk);
  }
  run_in_threads(kWorkers, [&](int worker, auto until) {
    ThreadContext& own = arena.segment.me();
    std::string key = "mine/" + std::to_string(worker);
    while (std::chrono::steady_clock::now() < until) {
      if (worker == 0) {
        std::uint64_t size = arena.dict.size();
        require(size >= 50 && size < 50 + kWorkers, "size() is " + std::to_string(size));
      } else {
        require(arena.dict.put(own, text(key), text("x")) == Status::kOk, "put");
        require(arena.dict.erase(own, text(key)) == Status::kOk, "erase");
      }
    }
  });
  CHECK(arena.dict.size() == 50);
}

TEST_CASE("pop_last gives each entry to one of many, the latest first to one alone") {
  Arena arena;
  Shared<std::atomic<std::int64_t>> popped[2];  // how many, and their sum
  ThreadContext& me = arena.segment.me();
  constexpr std::int64_t kEntries = 3000;
  for (std::int64_t i = 0; i < kEntries; ++i) {
    std::string key = "entry/" + std::to_string(i);
    REQUIRE(arena.dict.put(me, text(key), integer(i)) == Status::kOk);
  }
  run_in_processes(kWorkers, [&](int, auto) {
    shm::DictOrderCache cache;
    shm::DictEntryCopy entry;
    std::uint64_t last = ~std::uint64_t{0};
    while (arena.dict.pop_last(arena.segment.me(), cache, entry) == Status::kOk) {
      require(entry.sequence < last, "an earlier entry before a later one");
      last = entry.sequence;
      std::int64_t value;
      std::memcpy(&value, entry.value().data(), 8);
      popped[0]->fetch_add(1);
      popped[1]->fetch_add(value);
    }
  });
  CHECK(popped[0]->load() == kEntries);
  CHECK(popped[1]->load() == kEntries * (kEntries - 1) / 2);
  CHECK(arena.dict.size() == 0);
  CHECK(arena.dict.audit(me).error == "");
}
