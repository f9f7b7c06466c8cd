// All go on when the last has come, or none.
#include "shm/barrier.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "shm/recovery.h"
#include "shm/waiting.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::BarrierBreak;
using shm::Deadline;
using shm::Status;

namespace {

struct Stage {
  explicit Stage(shm::Word parties)
      : where(segment.make({shm::ObjectKind::kBarrier, "", "barrier", {parties, ~shm::Word{0} >> 1}})),
        barrier(where) {}

  // A process that comes once and ends with its index, 100 when the barrier was broken, 50 more after an action.
  pid_t start_party(bool has_action = false, std::chrono::nanoseconds check = 1h) const {
    return spawn([this, has_action, check] {
      alarm(30);
      shm::set_wait_check_for_test(check);
      shm::Barrier::Arrival arrival;
      Status status = barrier.wait(segment.me(), Deadline::never(), has_action, arrival);
      if (status == Status::kOk && arrival.must_act) status = barrier.finish_action(segment.me(), arrival, true);
      _exit(status == Status::kOk       ? static_cast<int>(arrival.index) + (arrival.must_act ? 50 : 0)
            : status == Status::kBroken ? 100
                                        : 101);
    });
  }
  void await_inside(std::uint32_t count) const {
    while (barrier.waiting() != count) std::this_thread::yield();
  }
  std::string audit() const { return shm::Barrier::audit(segment.me(), where); }

  TestSegment segment;
  shm::ObjectAddress where;
  shm::Barrier barrier;
};

}  // namespace

TEST_CASE("a barrier lets all go when the last has come, each with its number") {
  Stage stage(4);
  for (int round = 0; round < 20; ++round) {
    std::vector<pid_t> parties;
    for (int i = 0; i < 3; ++i) parties.push_back(stage.start_party());
    stage.await_inside(3);
    REQUIRE(stage.audit() == "");
    shm::Barrier::Arrival arrival;
    REQUIRE(stage.barrier.wait(stage.segment.me(), Deadline::already(), false, arrival) == Status::kOk);
    REQUIRE(arrival.index == 3);
    int indexes = 0;
    for (pid_t party : parties) indexes |= 1 << wait_for(party);
    REQUIRE(indexes == 0b111);
    REQUIRE(stage.barrier.waiting() == 0);
    REQUIRE_FALSE(stage.barrier.broken());
  }
}

TEST_CASE("a barrier of one party lets everybody through") {
  Stage stage(1);
  shm::Barrier::Arrival arrival;
  for (int i = 0; i < 5; ++i) {
    REQUIRE(stage.barrier.wait(stage.segment.me(), Deadline::already(), i % 2 == 0, arrival) == Status::kOk);
    REQUIRE(arrival.index == 0);
    REQUIRE(arrival.must_act == (i % 2 == 0));
    if (arrival.must_act) {
      REQUIRE(stage.barrier.finish_action(stage.segment.me(), arrival, true) == Status::kOk);
    }
  }
}

TEST_CASE("a barrier without parties is not made") {
  TestSegment segment;
  shm::ObjectId made;
  REQUIRE(shm::create_object(segment.me(), {shm::ObjectKind::kBarrier, "", "barrier", {}}, made) ==
          Status::kOutOfRange);
}

TEST_CASE("rounds of a barrier do not mix, with more threads than parties too") {
  Stage stage(3);
  constexpr int kRounds = 800;
  std::atomic<int> came{0}, passed{0}, indexes[3] = {};
  auto run = [&] {
    auto& me = stage.segment.me();
    for (int i = came++; i < 3 * kRounds; i = came++) {
      shm::Barrier::Arrival arrival;
      if (stage.barrier.wait(me, Deadline::never(), i % 5 == 0, arrival) != Status::kOk) abort();
      if (arrival.must_act && stage.barrier.finish_action(me, arrival, true) != Status::kOk) abort();
      ++indexes[arrival.index];
      ++passed;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) threads.emplace_back(run);
  for (auto& thread : threads) thread.join();
  REQUIRE(passed == 3 * kRounds);
  for (auto& count : indexes) REQUIRE(count == kRounds);
  REQUIRE(stage.audit() == "");
}

TEST_CASE("a wait whose time passes breaks the barrier for all, until it is reset") {
  Stage stage(3);
  pid_t party = stage.start_party();
  stage.await_inside(1);
  auto& me = stage.segment.me();
  shm::Barrier::Arrival arrival;
  REQUIRE(stage.barrier.wait(me, Deadline::after(5ms), false, arrival) == Status::kBroken);
  REQUIRE(wait_for(party) == 100);
  std::uint32_t pid = 0;
  REQUIRE(stage.barrier.broken_by(pid) == BarrierBreak::kTimeout);
  REQUIRE(pid == static_cast<std::uint32_t>(getpid()));
  REQUIRE(stage.barrier.broken());
  REQUIRE(stage.barrier.wait(me, Deadline::never(), false, arrival) == Status::kBroken);
  REQUIRE(stage.barrier.reset(me) == Status::kOk);
  REQUIRE_FALSE(stage.barrier.broken());
  REQUIRE(stage.barrier.wait(me, Deadline::already(), false, arrival) == Status::kBroken);
  REQUIRE(stage.audit() == "");
}

TEST_CASE("abort and reset send those inside away") {
  Stage stage(3);
  auto& me = stage.segment.me();
  for (bool reset : {false, true}) {
    pid_t a = stage.start_party(), b = stage.start_party();
    stage.await_inside(2);
    if (reset) {
      REQUIRE(stage.barrier.reset(me) == Status::kOk);
    } else {
      stage.barrier.abort(me);
    }
    REQUIRE(wait_for(a) == 100);
    REQUIRE(wait_for(b) == 100);
    REQUIRE(stage.barrier.broken() == !reset);
    stage.barrier.abort(me);
    stage.barrier.abort(me);
    REQUIRE(stage.barrier.broken());
    REQUIRE(stage.barrier.reset(me) == Status::kOk);
    REQUIRE(stage.barrier.reset(me) == Status::kOk);
    REQUIRE_FALSE(stage.barrier.broken());
  }
}

TEST_CASE("nobody goes before the action is done, and all are sent away when it fails") {
  Stage stage(2);
  auto& me = stage.segment.me();
  for (bool succeeds : {true, false, true}) {
    pid_t party = stage.start_party(), late = 0;
    stage.await_inside(1);
    shm::Barrier::Arrival arrival;
    REQUIRE(stage.barrier.wait(me, Deadline::never(), true, arrival) == Status::kOk);
    REQUIRE(arrival.must_act);
    REQUIRE(stage.barrier.waiting() == 2);
    late = stage.start_party();  // for the next round: waits until this one is over
    std::this_thread::sleep_for(5ms);
    REQUIRE(waitpid(party, nullptr, WNOHANG) == 0);
    REQUIRE(waitpid(late, nullptr, WNOHANG) == 0);
    REQUIRE(stage.barrier.finish_action(me, arrival, succeeds) == (succeeds ? Status::kOk : Status::kBroken));
    REQUIRE(wait_for(party) == (succeeds ? 0 : 100));
    if (succeeds) {
      stage.await_inside(1);
      REQUIRE(stage.barrier.wait(me, Deadline::already(), false, arrival) == Status::kOk);
      REQUIRE(wait_for(late) == 0);
    } else {
      REQUIRE(wait_for(late) == 100);
      REQUIRE(stage.barrier.reset(me) == Status::kOk);
    }
  }
}

TEST_CASE("a barrier that is aborted or reset while its action runs fails for the one who runs it") {
  Stage stage(2);
  auto& me = stage.segment.me();
  for (bool reset : {false, true}) {
    pid_t party = stage.start_party();
    stage.await_inside(1);
    shm::Barrier::Arrival arrival;
    REQUIRE(stage.barrier.wait(me, Deadline::never(), true, arrival) == Status::kOk);
    if (reset) {
      REQUIRE(stage.barrier.reset(me) == Status::kOk);
    } else {
      stage.barrier.abort(me);
    }  // by the action itself
    REQUIRE(stage.barrier.finish_action(me, arrival, true) == Status::kBroken);
    REQUIRE(wait_for(party) == 100);
    REQUIRE(stage.barrier.broken() == !reset);
    REQUIRE(stage.barrier.reset(me) == Status::kOk);
  }
}

TEST_CASE("a reset while the action runs comes after it") {
  Stage stage(2);
  auto& me = stage.segment.me();
  for (bool succeeds : {true, false}) {
    pid_t party = stage.start_party();
    stage.await_inside(1);
    shm::Barrier::Arrival arrival;
    REQUIRE(stage.barrier.wait(me, Deadline::never(), true, arrival) == Status::kOk);
    std::thread other([&] { (void)stage.barrier.reset(stage.segment.me()); });
    std::this_thread::sleep_for(5ms);
    REQUIRE(stage.barrier.finish_action(me, arrival, succeeds) == (succeeds ? Status::kOk : Status::kBroken));
    other.join();
    REQUIRE(wait_for(party) == (succeeds ? 0 : 100));
    REQUIRE_FALSE(stage.barrier.broken());
  }
}

TEST_CASE("the death of one who is inside breaks the barrier at once, with or without a server") {
  bool recovered_here = GENERATE(true, false);
  Stage stage(4);
  auto check = recovered_here ? std::chrono::nanoseconds(1h) : std::chrono::nanoseconds(50ms);
  std::vector<pid_t> parties;
  for (std::uint32_t i = 0; i < 3; ++i) {
    parties.push_back(stage.start_party(false, check));
    stage.await_inside(i + 1);
  }
  pid_t doomed = parties[1];
  kill(doomed, SIGKILL);
  REQUIRE(wait_for(doomed) == -SIGKILL);
  if (recovered_here) REQUIRE(shm::recover_all_dead(*stage.segment, stage.segment.me()) >= 1);
  REQUIRE(wait_for(parties[0]) == 100);
  REQUIRE(wait_for(parties[2]) == 100);
  std::uint32_t pid = 0;
  REQUIRE(stage.barrier.broken());
  REQUIRE(stage.barrier.broken_by(pid) == BarrierBreak::kDeath);
  REQUIRE(pid == static_cast<std::uint32_t>(doomed));
  REQUIRE(stage.barrier.reset(stage.segment.me()) == Status::kOk);
  REQUIRE(stage.audit() == "");
}

TEST_CASE("the death of the one who runs the action breaks the barrier, for newcomers as well") {
  bool recovered_here = GENERATE(true, false);
  Stage stage(2);
  auto check = recovered_here ? std::chrono::nanoseconds(1h) : std::chrono::nanoseconds(50ms);
  pid_t party = stage.start_party(false, check);
  stage.await_inside(1);
  pid_t doomed = spawn([&] {
    shm::Barrier::Arrival arrival;
    (void)stage.barrier.wait(stage.segment.me(), Deadline::never(), true, arrival);
    kill(getpid(), SIGSTOP);
  });
  REQUIRE(waitpid(doomed, nullptr, WUNTRACED) == doomed);
  pid_t late = stage.start_party(false, check);
  while (!is_asleep(late)) std::this_thread::yield();
  kill(doomed, SIGKILL);
  REQUIRE(wait_for(doomed) == -SIGKILL);
  if (recovered_here) REQUIRE(shm::recover_all_dead(*stage.segment, stage.segment.me()) >= 1);
  REQUIRE(wait_for(party) == 100);
  REQUIRE(wait_for(late) == 100);
  REQUIRE(stage.barrier.broken());
}

TEST_CASE("a stopped party holds nobody up once all have come") {
  Stage stage(2);
  auto& me = stage.segment.me();
  pid_t stopped = stage.start_party();
  stage.await_inside(1);
  while (!is_asleep(stopped)) std::this_thread::yield();
  kill(stopped, SIGSTOP);
  shm::Barrier::Arrival arrival;
  REQUIRE(stage.barrier.wait(me, Deadline::already(), false, arrival) == Status::kOk);
  for (int i = 0; i < 100; ++i) {  // rounds in which it has no part
    std::thread other([&] {
      shm::Barrier::Arrival arrival;
      if (stage.barrier.wait(stage.segment.me(), Deadline::never(), false, arrival) != Status::kOk) abort();
    });
    REQUIRE(stage.barrier.wait(me, Deadline::never(), false, arrival) == Status::kOk);
    other.join();
  }
  stage.barrier.abort(me);
  kill(stopped, SIGCONT);
  REQUIRE(wait_for(stopped) == 0);  // it had passed
}

TEST_CASE("bounded waits end though the process that runs a barrier's action is stopped") {
  Stage stage(2);
  shm::set_wait_check_for_test(5ms);
  Status inside = Status::kOk;
  std::thread party([&] {
    shm::Barrier::Arrival arrival;
    inside = stage.barrier.wait(stage.segment.me(), Deadline::after(400ms), false, arrival);
  });
  stage.await_inside(1);
  pid_t actor = spawn([&] {
    shm::Barrier::Arrival arrival;
    if (stage.barrier.wait(stage.segment.me(), Deadline::never(), true, arrival) != Status::kOk) _exit(1);
    raise(SIGSTOP);
    _exit(stage.barrier.finish_action(stage.segment.me(), arrival, true) == Status::kBroken ? 0 : 2);
  });
  int ended = 0;
  REQUIRE(waitpid(actor, &ended, WUNTRACED) == actor);
  REQUIRE(WIFSTOPPED(ended));
  shm::Barrier::Arrival arrival;
  REQUIRE(stage.barrier.wait(stage.segment.me(), Deadline::after(2ms), false, arrival) == Status::kTimedOut);
  REQUIRE_FALSE(stage.barrier.broken());
  party.join();
  REQUIRE(inside == Status::kBroken);
  std::uint32_t pid = 0;
  REQUIRE(stage.barrier.broken_by(pid) == BarrierBreak::kStopped);
  REQUIRE(pid == static_cast<std::uint32_t>(actor));
  kill(actor, SIGCONT);
  REQUIRE(wait_for(actor) == 0);
  shm::set_wait_check_for_test(500ms);
}

TEST_CASE("an action that is slow, in a process that runs, is no reason for a barrier to break") {
  Stage stage(2);
  shm::set_wait_check_for_test(5ms);
  pid_t actor = spawn([&] {
    stage.await_inside(1);
    shm::Barrier::Arrival arrival;
    if (stage.barrier.wait(stage.segment.me(), Deadline::never(), true, arrival) != Status::kOk) _exit(1);
    std::this_thread::sleep_for(150ms);
    _exit(stage.barrier.finish_action(stage.segment.me(), arrival, true) == Status::kOk ? 0 : 2);
  });
  shm::Barrier::Arrival arrival;
  REQUIRE(stage.barrier.wait(stage.segment.me(), Deadline::after(100ms), false, arrival) == Status::kOk);
  REQUIRE(wait_for(actor) == 0);
  shm::set_wait_check_for_test(500ms);
}

TEST_CASE("a barrier that says that somebody runs an action, when nobody does, is corrupt for all who wait") {
  Stage stage(2);
  auto* control = stage.segment->at<shm::BarrierControl>(stage.where.control);
  const std::uint32_t not_holding = stage.segment.me().owner();
  for (std::uint32_t owner : {0u, not_holding}) {
    control->acting.state.store(owner);
    for (shm::Word state : {shm::Word{1}, shm::Word{0x7171'7171'7171'7171}, shm::Word{7}}) {
      control->state.store(state);
      pid_t waiter = spawn([&] {
        alarm(20);
        shm::Barrier::Arrival arrival;
        auto& me = stage.segment.me();
        if (stage.barrier.wait(me, Deadline::after(1ms), false, arrival) != Status::kCorrupt) _exit(1);
        if (stage.barrier.wait(me, Deadline::never(), true, arrival) != Status::kCorrupt) _exit(2);
        if (state == 1 && stage.barrier.reset(me) != Status::kCorrupt) _exit(3);
      });
      REQUIRE(wait_for(waiter) == 0);
    }
  }
}

TEST_CASE("what was written before a barrier is seen behind it, and the action sees it all") {
  Stage stage(3);
  int written[3] = {}, sum = 0;
  auto run = [&](int number) {
    auto& me = stage.segment.me();
    for (int i = 1; i <= 200; ++i) {
      written[number] = i;
      shm::Barrier::Arrival arrival;
      if (stage.barrier.wait(me, Deadline::never(), i % 2 == 0, arrival) != Status::kOk) abort();
      if (arrival.must_act) {
        sum = written[0] + written[1] + written[2];
        if (stage.barrier.finish_action(me, arrival, true) != Status::kOk) abort();
      }
      if (i % 2 == 0 && sum != 3 * i) abort();
      if (written[0] + written[1] + written[2] != 3 * i) abort();
      if (stage.barrier.wait(me, Deadline::never(), false, arrival) != Status::kOk) abort();
    }
  };
  std::thread a([&] { run(0); }), b([&] { run(1); });
  run(2);
  a.join();
  b.join();
}
