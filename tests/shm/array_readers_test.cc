// Arrays while a process that changes them is stopped or dies in the middle.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <vector>

#include "shm/array.h"
#include "shm/array_redo.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "support/children.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;
using shm::Word;

namespace {

constexpr std::uint64_t kCount = 1000;

struct Fixture {
  TestSegment segment;
  shm::ObjectAddress where = segment.make({shm::ObjectKind::kArray, "", "array", {kCount, 8}});
  shm::Array array{where};
  shm::ArrayControl& control = *segment->at<shm::ArrayControl>(where.control);

  Word at(std::uint64_t index) {
    Word value = 0;
    REQUIRE(array.load(segment.me(), index, &value) == Status::kOk);
    return value;
  }
  std::vector<Word> slice(std::uint64_t count) {
    std::vector<Word> values(count);
    REQUIRE(array.read(segment.me(), 0, count, values.data()) == Status::kOk);
    return values;
  }
};

// What a fill of elements 100 to 899 with 7 leaves when its process gets no further than the 300th of these.
void fill_half(Fixture& fixture) {
  auto& me = fixture.segment.me();
  const Word seven = 7;
  REQUIRE(fixture.array.fill(me, 0, 2, &seven) == Status::kOk);  // keeps a scratch chunk that holds a 7
  const Word zero = 0;
  for (std::uint64_t i = 0; i < 2; ++i) REQUIRE(fixture.array.store(me, i, &zero) == Status::kOk);
  (void)shm::lock(me, fixture.control.writing);
  fixture.control.version.fetch_add(1);
  shm::store_word(&fixture.control.redo_at, 100 * 8);
  shm::store_word(&fixture.control.redo_bytes, 800 * 8);
  shm::store_word(&fixture.control.redo_element, 8);
  fixture.control.redo.store(fixture.control.scratch | shm::kRedoFill);
  auto* words = reinterpret_cast<std::atomic<Word>*>(fixture.array.data());
  for (std::uint64_t i = 100; i < 400; ++i) words[i].store(7);
}

// A child that did that and stays; stopped or killed by the caller.
pid_t half_filler(Fixture& fixture) {
  PlainPipe ready;
  const pid_t child = spawn([&] {
    fill_half(fixture);
    ready.write(getpid());
    stay();
  });
  REQUIRE(ready.read() == child);
  return child;
}

std::vector<Word> filled() {
  std::vector<Word> values(kCount, 0);
  std::fill(values.begin() + 100, values.begin() + 900, 7);
  return values;
}

}  // namespace

TEST_CASE("a committed fill whose process is stopped is whole for slices and loads, which do not wait") {
  Fixture fixture;
  const pid_t child = half_filler(fixture);
  kill(child, SIGSTOP);
  CHECK(fixture.slice(kCount) == filled());
  CHECK(fixture.at(99) == 0);
  CHECK(fixture.at(399) == 7);
  CHECK(fixture.at(899) == 7);
  // Outside of the range nobody waits.
  const Word five = 5;
  CHECK(fixture.array.store(fixture.segment.me(), 950, &five) == Status::kOk);
  CHECK(fixture.at(950) == 5);
  kill(child, SIGKILL);
  wait_for(child);
  CHECK(shm::recover_all_dead(*fixture.segment, fixture.segment.me()) == 1);
  auto expected = filled();
  expected[950] = 5;
  CHECK(fixture.slice(kCount) == expected);
  CHECK(fixture.control.redo.load() == 0);
}

TEST_CASE("a store that meets a fill returns when the fill is done or recovered, and is not overwritten after that") {
  Fixture fixture;
  const pid_t child = half_filler(fixture);
  Shared<std::atomic<int>> returned;
  // It looked before the fill was committed, and was stopped before it stored: in memory its 5 comes after the 7.
  const pid_t storer = spawn([&] {
    reinterpret_cast<std::atomic<Word>*>(fixture.array.data())[200].store(5);
    fixture.array.settle_store(fixture.segment.me(), 200);
    const Word six = 6;
    (void)fixture.array.store(fixture.segment.me(), 200, &six);
    *returned = 1;
  });
  usleep(20'000);
  CHECK(*returned == 0);
  CHECK(fixture.at(200) == 7);  // nobody sees it before the fill is done
  kill(child, SIGKILL);
  wait_for(child);
  CHECK(wait_or_kill(storer) == 0);
  CHECK(fixture.at(200) == 6);
  CHECK(fixture.at(899) == 7);
}

TEST_CASE("a fill waits for who is in the middle of changing an element, and names one who is stopped") {
  Fixture fixture;
  auto& me = fixture.segment.me();
  PlainPipe ready;
  const pid_t child = spawn([&] {
    if (!fixture.array.begin_change(fixture.segment.me(), 300)) _exit(2);
    ready.write(getpid());
    stay();
  });
  REQUIRE(ready.read() == child);
  kill(child, SIGSTOP);
  const Word nine = 9;
  std::uint32_t thread = 0;
  shm::set_element_change_timeout_for_test(std::chrono::milliseconds(20));
  CHECK(fixture.array.fill(me, 0, kCount, &nine, &thread) == Status::kTimedOut);
  const auto claim = fixture.segment->thread(thread).claim.load();
  CHECK(static_cast<pid_t>(shm::owner_pid(*fixture.segment,
                                          shm::lock_owner(thread, static_cast<std::uint32_t>(claim >> 32)))) == child);
  CHECK(fixture.slice(kCount) == std::vector<Word>(kCount, 0));
  CHECK(fixture.array.fill(me, 301, 2, &nine) == Status::kOk);  // elsewhere
  shm::set_element_change_timeout_for_test(std::chrono::seconds(20));
  kill(child, SIGKILL);
  wait_for(child);
  CHECK(fixture.array.fill(me, 0, kCount, &nine) == Status::kOk);
  CHECK(fixture.slice(kCount) == std::vector<Word>(kCount, 9));
}

TEST_CASE("slices are whole whenever their writer or another reader is stopped") {
  TestSegment segment;
  const auto where = segment.make({shm::ObjectKind::kArray, "", "array", {200'000, 8}});
  for (const bool reads : {false, true}) {
    for (int round = 0; round < 12; ++round) {
      PlainPipe ready;
      const pid_t child = spawn([&] {
        const shm::Array array(where);
        std::vector<Word> copy(200'000);
        ready.write(getpid());
        for (Word i = 0;; ++i) {
          (void)(reads ? array.read(segment.me(), 0, copy.size(), copy.data())
                       : array.fill(segment.me(), 0, copy.size(), &i));
        }
      });
      REQUIRE(ready.read() == child);
      usleep(3000 + 137 * round);
      kill(child, SIGSTOP);
      while (!is_stopped(child)) usleep(100);
      const pid_t reader = spawn([&] {
        const shm::Array array(where);
        std::vector<Word> copy(200'000);
        if (array.read(segment.me(), 0, copy.size(), copy.data()) != Status::kOk) _exit(2);
        for (const Word value : copy) {
          if (value != copy[0]) _exit(3);
        }
      });
      CHECK(wait_or_kill(reader) == 0);
      kill(child, SIGKILL);
      wait_for(child);
      (void)shm::recover_all_dead(*segment, segment.me());
    }
  }
}
