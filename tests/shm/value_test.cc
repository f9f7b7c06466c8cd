// Values: words, large values, waiting for a change.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/value.h"
#include "support/children.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;

namespace {

shm::ObjectAddress make_value(const TestSegment& segment, std::uint64_t bytes, std::uint64_t initial = 0) {
  return segment.make({shm::ObjectKind::kValue, "", "value", {bytes, initial}});
}

// A large value that shows whether it was torn: every word is the same.
struct Large {
  std::uint64_t words[37];
  explicit Large(std::uint64_t number = 0) {
    for (auto& word : words) word = number;
  }
  bool torn() const {
    for (auto word : words) {
      if (word != words[0]) return true;
    }
    return false;
  }
};

}  // namespace

TEST_CASE("a value of every size up to 600 bytes keeps its bytes") {
  TestSegment segment;
  auto& me = segment.me();
  for (std::size_t size = 1; size <= 600; ++size) {
    shm::Value value(make_value(segment, size));
    REQUIRE(value.size() == size);
    std::string zero(size, '\0'), one(size, 'a'), two(size, 'b'), got(size + 1, '#');
    REQUIRE(value.load(me, got.data()) == Status::kOk);
    REQUIRE(got == zero + '#');
    REQUIRE(value.store(me, one.data()) == Status::kOk);
    REQUIRE(value.exchange(me, two.data(), got.data()) == Status::kOk);
    REQUIRE(got == one + '#');
    std::string expected = one + '#';
    REQUIRE(value.compare_exchange(me, expected.data(), zero.data()) == Status::kMismatch);
    REQUIRE(expected == two + '#');
    REQUIRE(value.compare_exchange(me, expected.data(), zero.data()) == Status::kOk);
    REQUIRE(value.load(me, got.data()) == Status::kOk);
    REQUIRE(got == zero + '#');
  }
}

TEST_CASE("a value starts with its initial word, cut to its size") {
  TestSegment segment;
  std::uint32_t got = 0;
  REQUIRE(shm::Value(make_value(segment, 4, 0x1'2345'6789)).load(segment.me(), &got) == Status::kOk);
  REQUIRE(got == 0x2345'6789);
  REQUIRE(shm::Value(make_value(segment, 8, ~std::uint64_t{0})).word().load() == ~std::uint64_t{0});
}

TEST_CASE("a value of no bytes or of more than 4 GiB is refused") {
  TestSegment segment;
  shm::Offset control = 0;
  REQUIRE(shm::Value::create(segment.me(), 1, 0, 0, control) == Status::kTooLarge);
  REQUIRE(shm::Value::create(segment.me(), 1, std::uint64_t{1} << 33, 0, control) == Status::kTooLarge);
}

TEST_CASE("a value that does not fit is refused and takes nothing") {
  TestSegment segment(4u << 20);
  shm::ObjectId id;
  REQUIRE(shm::create_object(segment.me(), {shm::ObjectKind::kValue, "", "v", {8u << 20}}, id) == Status::kOutOfMemory);
  REQUIRE(shm::create_object(segment.me(), {shm::ObjectKind::kValue, "", "v", {1u << 20}}, id) == Status::kOk);
}

TEST_CASE("readers of a large value never see it torn, and see it move forward") {
  TestSegment segment;
  auto where = make_value(segment, sizeof(Large));
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      shm::Value value(where);
      auto& me = segment.me();
      std::uint64_t last = 0;
      while (!stop.load()) {
        Large got;
        if (value.load(me, &got) != Status::kOk || got.torn() || got.words[0] < last) ++failures;
        last = got.words[0];
      }
    });
  }
  threads.emplace_back([&] {  // adds one by compare_exchange, as the main thread does
    shm::Value value(where);
    auto& me = segment.me();
    for (int i = 0; i < 3000; ++i) {
      Large seen;
      while (value.compare_exchange(me, &seen, Large(seen.words[0] + 1).words) == Status::kMismatch) {
        if (seen.torn()) ++failures;
      }
    }
  });
  shm::Value value(where);
  for (int i = 0; i < 3000; ++i) {
    Large seen;
    while (value.compare_exchange(segment.me(), &seen, Large(seen.words[0] + 1).words) == Status::kMismatch) {
    }
  }
  threads.back().join();
  threads.pop_back();
  stop = true;
  for (auto& thread : threads) thread.join();
  REQUIRE(failures == 0);
  Large end;
  REQUIRE(value.load(segment.me(), &end) == Status::kOk);
  REQUIRE(end.words[0] == 6000);
}

TEST_CASE("waiting for a change ends at once when the value differs, and in time when it does not") {
  TestSegment segment;
  shm::Value value(make_value(segment, 8, 5));
  std::uint64_t seen = 4;
  REQUIRE(value.wait_change(segment.me(), &seen, Deadline::never()) == Status::kOk);
  seen = 5;
  REQUIRE(value.wait_change(segment.me(), &seen, Deadline::already()) == Status::kTimedOut);
  auto start = std::chrono::steady_clock::now();
  REQUIRE(value.wait_change(segment.me(), &seen, Deadline::after(std::chrono::milliseconds(30))) == Status::kTimedOut);
  REQUIRE(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(30));
}

TEST_CASE("every waiter sees every last change, of words and of large values") {
  TestSegment segment;
  for (bool large : {false, true}) {
    auto where = make_value(segment, large ? sizeof(Large) : 8);
    constexpr std::uint64_t kLast = 2000;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        shm::Value value(where);
        auto& me = segment.me();
        for (Large seen; seen.words[0] != kLast;) {
          if (value.wait_change(me, &seen, Deadline::never()) != Status::kOk) return;
          if (value.load(me, &seen) != Status::kOk) return;
        }
      });
    }
    shm::Value value(where);
    for (std::uint64_t i = 1; i <= kLast; ++i) {
      REQUIRE(value.store(segment.me(), Large(i).words) == Status::kOk);
      if (i % 64 == 0) std::this_thread::yield();
    }
    for (auto& thread : threads) thread.join();
  }
}

TEST_CASE("arithmetic on the word of a value loses nothing") {
  TestSegment segment;
  auto where = make_value(segment, 8);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      shm::Value value(where);
      (void)segment.me();
      for (int j = 0; j < 20000; ++j) {
        value.word().fetch_add(1);
        value.changed();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(shm::Value(where).word().load() == 60000);
}

TEST_CASE("a value has a lock for its users that guards nothing of its own") {
  TestSegment segment;
  shm::Value value(make_value(segment, 100));
  shm::HeldLock held(segment.me(), value.user_lock());
  std::string bytes(100, 'x');
  REQUIRE(value.store(segment.me(), bytes.data()) == Status::kOk);
}

TEST_CASE("a large value is read whole whenever its writer is stopped") {
  TestSegment segment;
  const auto where = segment.make({shm::ObjectKind::kValue, "", "value", {20'000}});
  for (int round = 0; round < 15; ++round) {
    PlainPipe ready;
    const pid_t child = spawn([&] {
      const shm::Value value(where);
      ready.write(getpid());
      for (char c = 'a';; c = c == 'z' ? 'a' : static_cast<char>(c + 1)) {
        (void)value.store(segment.me(), std::string(20'000, c).data());
      }
    });
    REQUIRE(ready.read() == child);
    usleep(2000 + 137 * round);
    kill(child, SIGSTOP);
    while (!is_stopped(child)) usleep(100);
    const pid_t reader = spawn([&] {
      std::string seen(20'000, '#');
      if (shm::Value(where).load(segment.me(), seen.data()) != Status::kOk) _exit(2);
      if (seen != std::string(seen.size(), seen[0])) _exit(3);
    });
    CHECK(wait_or_kill(reader) == 0);
    kill(child, SIGKILL);
    wait_for(child);
    (void)shm::recover_all_dead(*segment, segment.me());
  }
}
