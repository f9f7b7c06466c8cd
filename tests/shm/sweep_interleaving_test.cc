// The sweep against those who take references: each side is stopped at its steps while the other one goes on.
#include <random>

#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "shm/sweep_word.h"
#include "support/link_ground.h"
#include "support/stepped_child.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace commonhold::shm;

namespace {

AtomicWord& state_of(TestSegment& segment, ObjectId id) {
  return object_record(*segment, id.index).state;
}

}  // namespace

TEST_CASE("taking a reference never waits for a stopped sweep, and what it got stays") {
  TestSegment segment(8u << 20);
  segment.me();
  int got = 0, refused = 0;
  std::vector<bool> phases(4, false);
  for (std::uint64_t change = 1;; ++change) {
    const ObjectId object = make_object(segment, ObjectKind::kLock);
    const ObjectId other = make_object(segment, ObjectKind::kLock);
    SteppedChild server(
        {&segment->header().sweep, &state_of(segment, object)}, [&] { segment.me(); },
        [&] { (void)sweep_unreferred_objects(segment.me()); });
    if (!server.run_until_change(change)) break;
    const SweepPhase phase = sweep_phase(segment->header().sweep);
    phases[static_cast<std::size_t>(phase)] = true;
    INFO("stopped at change " << change << ", phase " << static_cast<int>(phase));
    const Status status = add_reference(*segment, object);
    CHECK((status == Status::kOk) == (phase != SweepPhase::kCommitted && is_alive(segment, object)));
    REQUIRE(server.finish() == 0);
    if (status == Status::kOk) {
      ++got;
      REQUIRE(is_alive(segment, object));
      REQUIRE(count_references(*segment, object) == 1);
      drop_reference(*segment, object);
    } else {
      ++refused;
      REQUIRE(status == Status::kGone);
      REQUIRE_FALSE(is_alive(segment, object));
      REQUIRE(count_references(*segment, object) == 0);
    }
    REQUIRE(sweep_phase(segment->header().sweep) == SweepPhase::kIdle);
    REQUIRE(wrong_after_sweep(segment) == "");
    REQUIRE_FALSE(is_alive(segment, other));
  }
  CHECK(got >= 2);
  CHECK(refused >= 2);
  CHECK(phases[static_cast<std::size_t>(SweepPhase::kOpen)]);
  CHECK(phases[static_cast<std::size_t>(SweepPhase::kCommitted)]);
}

TEST_CASE("a sweep that runs while somebody is about to take a reference leaves him the object or tells him") {
  TestSegment segment(8u << 20);
  segment.me();
  const ObjectId kept = make_object(segment, ObjectKind::kLock, "kept");
  std::uint64_t instructions = 1;
  int got = 0, refused = 0;
  for (std::uint64_t k = 0; k <= instructions; ++k) {
    const ObjectId object = make_object(segment, ObjectKind::kLock);
    Shared<std::atomic<int>> result;
    SteppedChild taker(
        {}, [&] { (void)add_reference(*segment, kept); },
        [&] { *result = static_cast<int>(add_reference(*segment, object)); });
    if (k == 0) {  // how long it takes
      REQUIRE(taker.finish() == 0);
      instructions = taker.instructions();
    } else if (instructions - k < 150 || k % 40 == 0) {
      if (taker.run_until(k)) (void)sweep_unreferred_objects(segment.me());
      // The state as it is now: whoever is stopped cannot change it.
      INFO("stopped before instruction " << k << " of " << instructions);
      REQUIRE(taker.finish() == 0);
      const bool alive = is_alive(segment, object);
      REQUIRE(alive == (*result == static_cast<int>(Status::kOk)));
      ++(alive ? got : refused);
    }
    recover_all_dead(*segment, segment.me());
    (void)sweep_unreferred_objects(segment.me());
    REQUIRE_FALSE(is_alive(segment, object));
  }
  CHECK(got > 0);
  CHECK(refused > 0);
}

TEST_CASE("what becomes garbage while a sweep is stopped anywhere rings the bell, or is swept by it") {
  TestSegment segment(8u << 20);
  segment.me();
  const auto rung = [&] {
    char bytes[256];
    return read(segment->bell_fd(), bytes, sizeof bytes) > 0;
  };
  std::uint64_t instructions = 1;
  int by_the_sweep = 0;
  for (std::uint64_t k = 0; k <= instructions; k += k == 0 ? 1 : std::max<std::uint64_t>(1, instructions / 20)) {
    SteppedChild server(
        {}, [&] { segment.me(); }, [&] { (void)sweep_unreferred_objects(segment.me()); });
    // After the fork, which the child's own references would come from.
    const ObjectId object = make_object(segment, ObjectKind::kLock), later = make_object(segment, ObjectKind::kLock);
    for (ObjectId id : {object, later}) REQUIRE(add_reference(*segment, id) == Status::kOk);
    (void)wrong_after_sweep(segment);
    drop_reference(*segment, object);
    (void)rung();
    if (k == 0) {
      REQUIRE(server.finish() == 0);
      instructions = server.instructions();
    } else if (server.run_until(k)) {
      drop_reference(*segment, later);
      const bool at_once = rung();
      REQUIRE(server.finish() == 0);
      const bool at_its_end = rung();
      INFO("stopped before instruction " << k << " of " << instructions);
      CHECK((at_once || at_its_end || !is_alive(segment, later)));
      if (at_its_end) ++by_the_sweep;
    }
    recover_all_dead(*segment, segment.me());
    drop_reference(*segment, later);
    REQUIRE(wrong_after_sweep(segment) == "");
  }
  CHECK(by_the_sweep > 0);
}

TEST_CASE("a reference that moves to another session while the sweep is stopped anywhere is not missed") {
  TestSegment segment(8u << 20);
  segment.me();
  std::mt19937 random(Catch::rngSeed());
  // Another session, which takes the reference when it is told to and gives it back.
  struct Order {
    std::atomic<int> wanted{0}, done{0};
    ObjectId id;
    std::atomic<int> failures{0};
  };
  Shared<Order> order;
  const pid_t test = getpid();
  const pid_t other = spawn([&] {
    segment.me();
    for (int seen = 0;;) {
      const int wanted = order->wanted;
      if (wanted == seen) {
        if (getppid() != test) return;
        sched_yield();
        continue;
      }
      seen = wanted;
      if (wanted < 0) return;
      if (wanted % 2 == 1 && add_reference(*segment, order->id) != Status::kOk) ++order->failures;
      if (wanted % 2 == 0) drop_reference(*segment, order->id);
      order->done = wanted;
    }
  });
  int step = 0;
  auto tell_other = [&] {
    const int wanted = ++step;
    order->wanted = wanted;
    while (order->done != wanted) sched_yield();
  };
  std::uint64_t instructions = 0;
  for (int round = 0; round < 16; ++round) {
    const ObjectId object = make_object(segment, ObjectKind::kLock);
    const ObjectId garbage = make_object(segment, ObjectKind::kLock);
    REQUIRE(add_reference(*segment, object) == Status::kOk);
    order->id = object;
    // The sweeping process does not keep what it inherited.
    auto enter = [&] {
      segment.me();
      drop_reference(*segment, object);
    };
    SteppedChild server({}, enter, [&] { (void)sweep_unreferred_objects(segment.me()); });
    std::uint64_t at = 0;
    for (int moves = 0; instructions != 0 && moves < 4; ++moves) {
      at += 1 + random() % (instructions / 3);
      (void)server.run_until(at);
      if (moves % 2 == 0) {
        tell_other();
        drop_reference(*segment, object);
      } else {
        if (add_reference(*segment, object) != Status::kOk) ++order->failures;
        tell_other();
      }
    }
    REQUIRE(server.finish() == 0);
    if (instructions == 0) instructions = server.instructions();
    REQUIRE(order->failures == 0);
    REQUIRE(is_alive(segment, object));
    REQUIRE(count_references(*segment, object) == 1);
    drop_reference(*segment, object);
    recover_all_dead(*segment, segment.me());
    REQUIRE(wrong_after_sweep(segment) == "");
    REQUIRE_FALSE(is_alive(segment, object));
    REQUIRE_FALSE(is_alive(segment, garbage));
  }
  order->wanted = -1;
  REQUIRE(wait_for(other) == 0);
}

TEST_CASE("a server that adopts a segment completes a committed sweep and revives what an open one condemned") {
  TestSegment segment(8u << 20);
  segment.me();
  int revived = 0, completed = 0;
  for (std::uint64_t change = 1;; ++change) {
    const ObjectId object = make_object(segment, ObjectKind::kLock);
    {
      SteppedChild server(
          {&segment->header().sweep, &state_of(segment, object)}, [&] { segment.me(); },
          [&] { (void)sweep_unreferred_objects(segment.me()); });
      if (!server.run_until_change(change)) break;
    }  // killed there
    const bool committed = sweep_phase(segment->header().sweep) == SweepPhase::kCommitted;
    recover_all_dead(*segment, segment.me());
    finish_sweep(segment.me());
    INFO("killed at change " << change);
    CHECK(sweep_phase(segment->header().sweep) == SweepPhase::kIdle);
    const ObjectState state = object_state(state_of(segment, object));
    if (committed) {
      ++completed;
      CHECK(state == ObjectState::kFree);
    } else if (state == ObjectState::kLive) {
      ++revived;
      CHECK(add_reference(*segment, object) == Status::kOk);
      drop_reference(*segment, object);
    }
    REQUIRE(wrong_after_sweep(segment) == "");
    REQUIRE_FALSE(is_alive(segment, object));
  }
  CHECK(revived >= 2);
  CHECK(completed >= 2);
}
