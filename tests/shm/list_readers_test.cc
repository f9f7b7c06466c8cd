// Lists read while a process that changes them is stopped or at work; and what an empty list keeps.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "shm/list.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/watch.h"
#include "support/children.h"
#include "support/list_fixture.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

TEST_CASE("a list is read as it was at one moment, whenever its writer is stopped") {
  TestSegment segment;
  for (const bool boxed : {false, true}) {
    const auto where = make_list(segment, boxed);
    const std::size_t bytes = boxed ? 100 : 8;
    for (int round = 0; round < 15; ++round) {
      PlainPipe ready;
      const pid_t child = spawn([&] {
        shm::List list(where);
        ready.write(getpid());
        for (char c = 'a';; c = c == 'z' ? 'a' : static_cast<char>(c + 1)) {
          const std::vector<std::string> same(c % 7 == 0 ? 3000 : 300, std::string(bytes, c));
          const auto all = items_of(same);
          (void)list.replace(segment.me(), 0, UINT64_MAX - 1, all);
          (void)list.reverse(segment.me());
          (void)list.push_back(segment.me(), all[0]);
        }
      });
      REQUIRE(ready.read() == child);
      usleep(3000 + 171 * round);
      kill(child, SIGSTOP);
      while (!is_stopped(child)) usleep(100);
      const pid_t reader = spawn([&] {
        const shm::List list(where);
        std::vector<std::string> values;
        if (list.snapshot(segment.me(), 0, UINT64_MAX, values) != Status::kOk) _exit(2);
        for (const auto& value : values) {
          if (value != values[0]) _exit(3);
        }
        if (values.size() != list.size()) _exit(4);
      });
      CHECK(wait_or_kill(reader) == 0);
      kill(child, SIGKILL);
      wait_for(child);
      (void)shm::recover_all_dead(*segment, segment.me());
    }
  }
}

TEST_CASE("a list that is read while others change it is the one of one moment") {
  TestSegment segment;
  for (const bool boxed : {false, true}) {
    const auto where = make_list(segment, boxed);
    std::atomic<bool> stop{false};
    std::atomic<int> failures{0};
    std::thread writer([&] {
      shm::List list(where);
      for (char c = 'a'; !stop; c = c == 'z' ? 'a' : static_cast<char>(c + 1)) {
        const std::vector<std::string> same(static_cast<std::size_t>(c) * 5, std::string(8, c));
        failures += list.replace(segment.me(), 0, UINT64_MAX - 1, items_of(same)) != Status::kOk;
        // Pairs at the end: of the first kind as many as of the second, or one more.
        for (int i = 0; i < 20; ++i) {
          failures += list.push_back(segment.me(), {shm::ItemKind::kText, "FIRST...", 8}) != Status::kOk;
          failures += list.push_back(segment.me(), {shm::ItemKind::kText, "SECOND..", 8}) != Status::kOk;
        }
      }
    });
    const shm::List list(where);
    std::vector<std::string> values;
    for (int round = 0; round < 3000; ++round) {
      if (list.snapshot(segment.me(), 0, UINT64_MAX, values) != Status::kOk) ++failures;
      std::size_t at = 0;
      while (at < values.size() && values[at] == values[0]) ++at;
      if (!values.empty() && at != static_cast<std::size_t>(values[0][0]) * 5) ++failures;
      for (; at < values.size(); ++at) {
        const std::size_t behind = at - static_cast<std::size_t>(values[0][0]) * 5;
        if (values[at] != (behind % 2 == 0 ? "FIRST..." : "SECOND..")) ++failures;
      }
    }
    stop = true;
    writer.join();
    CHECK(failures == 0);
  }
}

TEST_CASE("a list gives the memory of large elements back, and nearly all when it is empty") {
  TestSegment segment(256u << 20);
  const auto where = make_list(segment, true);
  shm::List list(where);
  auto& me = segment.me();
  const auto owned = [&] { return shm::bytes_owned_by(*segment, where.object); };
  const std::string large(20u << 20, 'x');
  for (int round = 0; round < 3; ++round) {
    REQUIRE(list.push_back(me, text(large)) == Status::kOk);
    REQUIRE(list.push_back(me, text("small")) == Status::kOk);
    std::string popped;
    REQUIRE(list.pop_back(me, popped) == Status::kOk);
    REQUIRE(list.set(me, 0, text("instead")) == Status::kOk);
    CHECK(owned() < 1u << 20);
    REQUIRE(list.erase(me, 0) == Status::kOk);
    CHECK(owned() < 1u << 20);
  }
  // Many small ones, taken away one by one at either end.
  for (const bool front : {false, true}) {
    for (int i = 0; i < 60'000; ++i) REQUIRE(list.push_back(me, text("as long as this is")) == Status::kOk);
    CHECK(owned() > 2u << 20);
    std::string popped;
    while (list.size() != 0) REQUIRE((front ? list.pop_front(me, popped) : list.pop_back(me, popped)) == Status::kOk);
    CHECK(owned() < 1u << 20);
    CHECK(list.audit(me).error.empty());
    CHECK(list.audit(me).lost_blocks == 0);
  }
}

TEST_CASE("what a list held that was popped empty is there for others") {
  for (const std::size_t bytes : {60'000u, 100u}) {
    for (const bool front : {false, true}) {
      INFO(bytes << " bytes, from the " << (front ? "front" : "back"));
      TestSegment segment(8u << 20);
      auto& me = segment.me();
      const auto where = make_list(segment, true);
      shm::List list(where);
      const auto dict_at = segment.make_dict(1);
      shm::Dict dict(dict_at);
      const std::string large(6u << 20, 'x');
      const std::string element(bytes, 'y');
      Status status = Status::kOk;
      while (status == Status::kOk) status = list.push_back(me, text(element));
      REQUIRE(status == Status::kOutOfMemory);
      REQUIRE(dict.put(me, text("k"), text(large)) == Status::kOutOfMemory);
      std::string popped;
      while (list.size() != 0) REQUIRE((front ? list.pop_front(me, popped) : list.pop_back(me, popped)) == Status::kOk);
      REQUIRE(dict.put(me, text("k"), text(large)) == Status::kOk);
      REQUIRE(list.push_back(me, text("again")) == Status::kOk);
    }
  }
}

TEST_CASE("a wait for a change of a list ends at its time while a writer is stopped") {
  TestSegment segment;
  const auto where = make_list(segment, true);
  Status status = Status::kOk;
  const auto watch = shm::watch_list(segment.me(), where, status);
  REQUIRE(watch != nullptr);
  PlainPipe ready;
  const pid_t writer = spawn([&] {
    (void)shm::lock(segment.me(), segment->at<shm::ListControl>(where.control)->writing);
    ready.write(getpid());
    stay();
  });
  REQUIRE(ready.read() == writer);
  kill(writer, SIGSTOP);
  const pid_t waiter = spawn([&] {
    const auto deadline = shm::Deadline::after(std::chrono::milliseconds(20));
    if (shm::wait_for_change(segment.me(), *watch, deadline) != Status::kTimedOut) _exit(2);
  });
  CHECK(wait_or_kill(waiter) == 0);
  kill(writer, SIGKILL);
  wait_for(writer);
}
