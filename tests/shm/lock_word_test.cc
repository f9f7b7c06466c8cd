// One word: who holds it, who waits, who is told.
#include "shm/lock_word.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>

#include "shm/dict_layout.h"
#include "shm/liveness.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::LockWord;
using shm::Status;
using shm::ThreadContext;

namespace {

// Some lock words in an object, as recovery wants to find them.
struct Locks {
  TestSegment segment;
  shm::ObjectAddress where = segment.make_dict(32);
  LockWord& word(std::uint64_t i = 0) const {
    return shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), i).writing;
  }
  std::uint32_t state() const { return word().state.load(); }
};

struct Guarded {
  std::uint64_t a = 0, b = 0;  // equal whenever the lock is free; not atomic
};

void work(const Locks& locks, Guarded& guarded, std::chrono::steady_clock::time_point until, std::uint64_t seed,
          std::atomic<std::uint64_t>& done) {
  std::mt19937_64 random(seed);
  ThreadContext& me = locks.segment.me();
  while (std::chrono::steady_clock::now() < until) {
    Status status = Status::kOk;
    switch (random() % 4) {
      case 0:
        if (!try_lock(me, locks.word())) continue;
        break;
      case 1:
        status = lock(me, locks.word(), Deadline::after(std::chrono::microseconds(random() % 200)));
        if (status == Status::kTimedOut) continue;
        break;
      default:
        status = lock(me, locks.word());
    }
    if (status != Status::kOk || guarded.a != guarded.b) abort();
    ++guarded.a;
    if (random() % 64 == 0) std::this_thread::yield();
    ++guarded.b;
    done.fetch_add(1);
    if (unlock(me, locks.word()) != Status::kOk) abort();
  }
}

}  // namespace

TEST_CASE("a lock says who holds it") {
  Locks locks;
  ThreadContext& me = locks.segment.me();
  CHECK(locks.state() == 0);
  CHECK(unlock(me, locks.word()) == Status::kNotHeld);
  REQUIRE(lock(me, locks.word()) == Status::kOk);
  CHECK(locks.state() == me.owner());
  CHECK(shm::lock_owner_thread(locks.state()) == me.index());
  CHECK(shm::owner_pid(*locks.segment, locks.state()) == static_cast<std::uint32_t>(getpid()));
  CHECK_FALSE(shm::owner_is_dead(*locks.segment, locks.state()));
  CHECK_FALSE(try_lock(me, locks.word()));
  REQUIRE(unlock(me, locks.word()) == Status::kOk);
  CHECK(locks.state() == 0);
  CHECK(unlock(me, locks.word()) == Status::kNotHeld);
  CHECK(try_lock(me, locks.word()));
  CHECK(unlock(me, locks.word()) == Status::kOk);
  for (auto& announced : me.record().announced) CHECK(announced.load() == 0);
}

TEST_CASE("a bounded wait ends late or on time, never early, and leaves no announcement") {
  Locks locks;
  REQUIRE(lock(locks.segment.me(), locks.word()) == Status::kOk);
  std::thread([&] {
    ThreadContext& me = locks.segment.me();
    for (auto wait : {0ms, 1ms, 30ms, 150ms}) {
      auto begin = std::chrono::steady_clock::now();
      REQUIRE(lock(me, locks.word(), Deadline::after(wait)) == Status::kTimedOut);
      REQUIRE(std::chrono::steady_clock::now() - begin >= wait);
    }
    REQUIRE(lock(me, locks.word(), Deadline::at(std::chrono::steady_clock::now() - 1h)) == Status::kTimedOut);
    REQUIRE(lock(me, locks.word(), Deadline::after(-5s)) == Status::kTimedOut);
    for (auto& announced : me.record().announced) REQUIRE(announced.load() == 0);
  }).join();
  CHECK(unlock(locks.segment.me(), locks.word()) == Status::kOk);
}

TEST_CASE("threads exclude one another") {
  Locks locks;
  Guarded guarded;
  std::atomic<std::uint64_t> done{0};
  auto until = std::chrono::steady_clock::now() + 700ms;
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] { work(locks, guarded, until, Catch::rngSeed() + i, done); });
  }
  for (auto& thread : threads) thread.join();
  CHECK(guarded.a == done);
  CHECK(guarded.b == done);
  CHECK(locks.state() == 0);
}

TEST_CASE("processes exclude one another") {
  Locks locks;
  Shared<Guarded> guarded;
  Shared<std::atomic<std::uint64_t>> done;
  auto until = std::chrono::steady_clock::now() + 700ms;
  std::vector<pid_t> processes;
  for (std::uint64_t i = 0; i < 6; ++i) {
    processes.push_back(spawn([&] { work(locks, *guarded, until, Catch::rngSeed() + i, *done); }));
  }
  for (pid_t process : processes) CHECK(wait_for(process) == 0);
  CHECK(guarded->a == done->load());
  CHECK(guarded->b == done->load());
  CHECK(locks.state() == 0);
}

TEST_CASE("no waiter is forgotten when others give up or push in") {
  // Waiters that nothing but a wake-up helps, beside some that time out all the time.
  shm::set_holder_check_for_test(1h);
  Locks locks;
  auto until = std::chrono::steady_clock::now() + 700ms;
  std::atomic<int> patient_rounds{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      ThreadContext& me = locks.segment.me();
      std::mt19937_64 random(Catch::rngSeed() + static_cast<std::uint64_t>(i));
      while (std::chrono::steady_clock::now() < until) {
        Deadline deadline = i % 2 == 0 ? Deadline::never() : Deadline::after(std::chrono::microseconds(random() % 80));
        if (lock(me, locks.word(), deadline) != Status::kOk) continue;
        if (random() % 8 == 0) std::this_thread::sleep_for(50us);
        (void)unlock(me, locks.word());
        if (i % 2 == 0) ++patient_rounds;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  shm::set_holder_check_for_test(100ms);
  CHECK(patient_rounds > 10);
  CHECK(locks.state() == 0);
}

TEST_CASE("another thread may free a lock, and the first then holds nothing") {
  Locks locks;
  ThreadContext& me = locks.segment.me();
  // More often than a slot has room for announcements: the stale ones must go.
  for (int round = 0; round < 50; ++round) {
    auto& word = locks.word(static_cast<std::uint64_t>(round) % 32);
    REQUIRE(lock(me, word) == Status::kOk);
    std::thread([&] { REQUIRE(unlock(locks.segment.me(), word) == Status::kOk); }).join();
    REQUIRE(word.state.load() == 0);
    REQUIRE(unlock(me, word) == Status::kNotHeld);
  }
  // And it still announces what it takes now: a process that dies like that leaves nothing locked.
  pid_t child = spawn([&] {
    ThreadContext& own = locks.segment.me();
    for (std::uint64_t i = 0; i < 20; ++i) {
      (void)lock(own, locks.word(i));
      std::thread([&] { (void)unlock(locks.segment.me(), locks.word(i)); }).join();
    }
    for (std::uint64_t i = 0; i < 12; ++i) (void)lock(own, locks.word(i));
    std::uint64_t announced = 0;
    for (auto& entry : own.record().announced) announced += entry.load() != 0;
    if (announced < 12 || own.record().overflow.load() != 0) throw std::runtime_error("not announced");
  });
  REQUIRE(wait_for(child) == 0);
  REQUIRE(lock(me, locks.word(3), Deadline::after(10s)) == Status::kOk);
  for (std::uint64_t i = 0; i < 12; ++i) {
    if (i != 3) CHECK(locks.word(i).state.load() == 0);
  }
  CHECK(unlock(me, locks.word(3)) == Status::kOk);
}

TEST_CASE("locks are announced while they are held, in whatever order they are freed") {
  Locks locks;
  ThreadContext& me = locks.segment.me();
  std::mt19937_64 random(Catch::rngSeed());
  std::vector<std::uint64_t> held;
  auto is_announced = [&](std::uint64_t i) {
    shm::Word wanted = locks.segment->offset_of(&locks.word(i)) | static_cast<shm::Word>(shm::Announced::kWord);
    for (auto& entry : me.record().announced) {
      if (entry.load() == wanted) return true;
    }
    return false;
  };
  for (int step = 0; step < 20'000; ++step) {
    bool take = held.empty() || (held.size() < 24 && random() % 2 == 0);
    if (take) {
      std::uint64_t i = random() % 32;
      if (std::find(held.begin(), held.end(), i) != held.end()) continue;
      REQUIRE(lock(me, locks.word(i)) == Status::kOk);
      held.push_back(i);
    } else {
      std::size_t at = random() % held.size();
      REQUIRE(unlock(me, locks.word(held[at])) == Status::kOk);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(at));
    }
    if (me.record().overflow.load() == 0) {
      for (std::uint64_t i : held) REQUIRE(is_announced(i));
    } else {
      REQUIRE(held.size() > 0);
    }
  }
  for (std::uint64_t i : held) REQUIRE(unlock(me, locks.word(i)) == Status::kOk);
  CHECK(me.record().overflow.load() == 0);
}
