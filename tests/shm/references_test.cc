#include "shm/references.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "shm/object_table.h"
#include "shm/recovery.h"
#include "shm/sweep.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::shm;

namespace {

ObjectId make_lock(test::TestSegment& segment, const std::string& name = "") {
  ObjectId id;
  REQUIRE(create_object(segment.me(), {ObjectKind::kLock, name, "lock", {}}, id) == Status::kOk);
  return id;
}

bool is_live(test::TestSegment& segment, ObjectId id) {
  return object_control(*segment, id) != 0;
}

std::uint64_t used_extents(const Segment& segment) {
  return segment.header().committed_extents - segment.header().free_extents;
}

// How often the bell was rung since the last look.
int rings_of(const Segment& segment) {
  char bytes[256];
  const ssize_t rung = read(segment.bell_fd(), bytes, sizeof bytes);
  return rung < 0 ? 0 : static_cast<int>(rung);
}

}  // namespace

TEST_CASE("an object lives while a session refers to it, has a name, is contained or held, and goes with the last") {
  test::TestSegment segment;
  ObjectId id = make_lock(segment, "named");
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);  // its name keeps it
  REQUIRE(add_reference(*segment, id) == Status::kOk);
  REQUIRE(count_references(*segment, id) == 1);
  REQUIRE(unname_object(segment.me(), "named") == Status::kOk);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);  // our reference
  auto where = segment.make({ObjectKind::kDict, "container", "dict", {1}});
  Dict container(where);
  Word word = id.word();
  REQUIRE(container.put(segment.me(), test::text("a"), {ItemKind::kReference, &word, 8}) == Status::kOk);
  drop_reference(*segment, id);
  REQUIRE(count_references(*segment, id) == 0);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);  // a container
  REQUIRE(container.erase(segment.me(), test::text("a")) == Status::kOk);
  ObjectId held[] = {id};
  REQUIRE(sweep_unreferred_objects(segment.me(), {{}, held}) == 0);  // a hold
  REQUIRE(is_live(segment, id));
  REQUIRE(sweep_unreferred_objects(segment.me()) == 1);
  REQUIRE_FALSE(is_live(segment, id));
  REQUIRE(add_reference(*segment, id) == Status::kGone);
}

TEST_CASE("each reference is dropped once, with its cell or without, and a wrong cell harms nobody") {
  test::TestSegment segment;
  ObjectId a = make_lock(segment), b = make_lock(segment);
  Offset cell_a = 0, cell_b = 0;
  REQUIRE(add_reference(*segment, a, &cell_a) == Status::kOk);
  REQUIRE(add_reference(*segment, a) == Status::kOk);
  REQUIRE(add_reference(*segment, b, &cell_b) == Status::kOk);
  drop_reference(*segment, a, cell_b);  // another object's cell: searched for
  REQUIRE(count_references(*segment, b) == 1);
  REQUIRE(count_references(*segment, a) == 1);
  drop_reference(*segment, a, 12345);
  REQUIRE(count_references(*segment, a) == 0);
  drop_reference(*segment, a, cell_a);  // none left
  drop_reference(*segment, {77, 1});
  REQUIRE(count_references(*segment, b) == 1);
  std::vector<std::uint32_t> counts = count_all_references(*segment);
  REQUIRE(counts[b.index] == 1);
  REQUIRE(counts[a.index] == 0);
}

TEST_CASE("thousands of references fill page after page and the pages serve again") {
  test::TestSegment segment;
  std::vector<ObjectId> ids;
  for (int i = 0; i < 3000; ++i) ids.push_back(make_lock(segment));
  std::uint64_t before = 0;
  for (int round = 0; round < 5; ++round) {
    for (ObjectId id : ids) REQUIRE(add_reference(*segment, id) == Status::kOk);
    std::vector<bool> referred;
    mark_referred(*segment, referred);
    for (ObjectId id : ids) REQUIRE(referred[id.index]);
    for (ObjectId id : ids) drop_reference(*segment, id);
    if (round == 0) before = used_extents(*segment);
    REQUIRE(used_extents(*segment) == before);
  }
  REQUIRE(sweep_unreferred_objects(segment.me()) == 3000);
}

TEST_CASE("the pages of very many references leave the rest of the memory in one piece") {
  test::TestSegment segment(24u << 20);
  std::vector<ObjectId> ids;
  ObjectId id;
  while (create_object(segment.me(), {ObjectKind::kLock, "", "lock", {}}, id) == Status::kOk &&
         add_reference(*segment, id) == Status::kOk) {
    ids.push_back(id);
  }
  REQUIRE(ids.size() > 20'000);
  for (ObjectId one : ids) drop_reference(*segment, one);
  while (sweep_unreferred_objects(segment.me()) != 0) {
  }
  Offset chunk = 0;
  CHECK(take_chunk(segment.me(), ChunkOwner(1, kControlArena), 20u << 20, chunk) == Status::kOk);
}

TEST_CASE("a forked child refers on its own account and cannot drop its parent's references") {
  test::TestSegment segment;
  ObjectId id = make_lock(segment);
  Offset cell = 0;
  REQUIRE(add_reference(*segment, id, &cell) == Status::kOk);
  test::Shared<std::atomic<int>> step;
  pid_t child = test::spawn([&]() {
    drop_reference(*segment, id, cell);  // the parent's cell: not ours
    if (count_references(*segment, id) != 1) throw std::runtime_error("dropped the parent's reference");
    if (add_reference(*segment, id) != Status::kOk) throw std::runtime_error("could not refer");
    *step = 1;
    while (*step == 1) usleep(100);
  });
  while (*step == 0) usleep(100);
  REQUIRE(count_references(*segment, id) == 2);
  drop_reference(*segment, id, cell);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);
  REQUIRE(is_live(segment, id));
  kill(child, SIGKILL);
  test::wait_for(child);
  REQUIRE(recover_all_dead(*segment, segment.me()) == 1);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 1);
}

TEST_CASE("threads of one process refer and drop at once without losing a reference") {
  test::TestSegment segment;
  std::vector<ObjectId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(make_lock(segment));
  for (ObjectId id : ids) REQUIRE(add_reference(*segment, id) == Status::kOk);  // so that nothing goes
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&, seed = Catch::rngSeed() + t]() {
      std::mt19937 random(seed);
      std::vector<std::pair<ObjectId, Offset>> own;
      for (int i = 0; i < 20'000; ++i) {
        if (own.size() < 200 && random() % 2 == 0) {
          Offset cell = 0;
          ObjectId id = ids[random() % ids.size()];
          if (add_reference(*segment, id, &cell) != Status::kOk) ++failures;
          own.emplace_back(id, random() % 2 == 0 ? cell : 0);
        } else if (!own.empty()) {
          std::swap(own[random() % own.size()], own.back());
          drop_reference(*segment, own.back().first, own.back().second);
          own.pop_back();
        }
      }
      for (auto& [id, cell] : own) drop_reference(*segment, id, cell);
    });
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(failures == 0);
  for (ObjectId id : ids) {
    REQUIRE(count_references(*segment, id) == 1);
    drop_reference(*segment, id);
    REQUIRE(count_references(*segment, id) == 0);  // exactly one cell was left
  }
  REQUIRE(sweep_unreferred_objects(segment.me()) == 50);
}

TEST_CASE("a reference that wanders between sessions is never missed by the sweep") {
  test::TestSegment segment;
  ObjectId id = make_lock(segment);
  REQUIRE(add_reference(*segment, id) == Status::kOk);
  // a has it; then b adds (0), a drops (1), a adds (2), b drops (3), and so on.
  struct Board {
    std::atomic<int> turn{3};
    std::atomic<bool> end{false};
    std::atomic<long> passes{0}, losses{0};
  };
  test::Shared<Board> board;
  auto child_with = [&](int adds_at, int drops_at) {
    return test::spawn([&, adds_at, drops_at]() {
      while (!board->end) {
        int turn = board->turn;
        if (turn == adds_at) {
          if (add_reference(*segment, id) != Status::kOk) ++board->losses;
          ++board->passes;
        } else if (turn == drops_at) {
          drop_reference(*segment, id);
        } else {
          sched_yield();
          continue;
        }
        board->turn = (turn + 1) % 4;
      }
    });
  };
  pid_t a = child_with(2, 1), b = child_with(0, 3);
  while (board->turn == 3) usleep(100);  // b drops nothing, adds; from then on at least one has it
  while (board->passes < 2) usleep(100);
  drop_reference(*segment, id);
  long sweeps = 0, destroyed = 0;
  while (board->passes < 20'000 && destroyed == 0 && board->losses == 0) {
    destroyed += sweep_unreferred_objects(segment.me());
    ++sweeps;
  }
  board->end = true;
  REQUIRE(test::wait_for(a) == 0);
  REQUIRE(test::wait_for(b) == 0);
  INFO(sweeps << " sweeps, " << board->passes << " passes");
  REQUIRE(destroyed == 0);
  REQUIRE(board->losses == 0);
  recover_all_dead(*segment, segment.me());
  REQUIRE(sweep_unreferred_objects(segment.me()) == 1);
}

TEST_CASE("sessions that are killed while they refer and drop leave neither references nor pages") {
  test::TestSegment segment;
  std::mt19937 random(Catch::rngSeed());
  std::vector<ObjectId> ids;
  for (int i = 0; i < 300; ++i) ids.push_back(make_lock(segment));
  std::uint64_t before = used_extents(*segment);
  for (ObjectId id : ids) REQUIRE(add_reference(*segment, id) == Status::kOk);
  for (int round = 0; round < 40; ++round) {
    std::vector<pid_t> children;
    for (int i = 0; i < 3; ++i) {
      children.push_back(test::spawn([&, seed = random()]() {
        std::mt19937 own_random(static_cast<unsigned>(seed));
        std::vector<ObjectId> own;
        for (;;) {
          ObjectId id = ids[own_random() % ids.size()];
          if (own_random() % 5 != 0) {
            if (add_reference(*segment, id) != Status::kOk)
              throw std::runtime_error("lost an object that is referred to");
            own.push_back(id);
          } else if (!own.empty()) {
            drop_reference(*segment, own.back());
            own.pop_back();
          }
          if (own.size() > 2000) {
            for (ObjectId each : own) drop_reference(*segment, each);
            own.clear();
          }
        }
      }));
    }
    usleep(static_cast<useconds_t>(3000 + random() % 5000));
    for (pid_t child : children) kill(child, SIGKILL);
    for (pid_t child : children) REQUIRE(test::wait_for(child) == -SIGKILL);
    recover_all_dead(*segment, segment.me());
    for (std::uint32_t count : count_all_references(*segment)) REQUIRE(count <= 1);
  }
  for (ObjectId id : ids) REQUIRE(count_references(*segment, id) == 1);
  for (std::uint32_t session = 0; session < segment->header().sessions_used; ++session) {
    if (SessionIndex{session} == segment->session_index()) continue;
    REQUIRE(bytes_owned_by(*segment, reference_owner(SessionIndex{session}).object()) == 0);
  }
  drop_all_references(segment.me(), segment->session_index());
  REQUIRE(used_extents(*segment) == before);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 300);
  REQUIRE(used_extents(*segment) == 0);
}

TEST_CASE("a condemned object that a killed server left can be referred to, and the next server revives it") {
  test::TestSegment segment;
  ObjectId id = make_lock(segment);
  AtomicWord& state = object_record(*segment, id.index).state;
  state = object_state_word(ObjectState::kCondemned, ObjectKind::kLock, id.generation);
  REQUIRE(is_live(segment, id));
  REQUIRE(add_reference(*segment, id) == Status::kOk);  // no server runs
  drop_reference(*segment, id);
  finish_sweep(segment.me());
  REQUIRE(object_state(state) == ObjectState::kLive);
  state = object_state_word(ObjectState::kDestroying, ObjectKind::kLock, id.generation);
  REQUIRE_FALSE(is_live(segment, id));
  finish_sweep(segment.me());
  REQUIRE(object_state(state) == ObjectState::kFree);
  drop_all_references(segment.me(), segment->session_index());
  REQUIRE(used_extents(*segment) == 0);
}

TEST_CASE("who is short of memory waits for the sweep of what a client referred to that died or left") {
  test::TestSegment segment;
  segment->header().server_session = shm::index_of(segment.me().session()) + 1;
  for (const bool dies : {true, false}) {
    test::Shared<ObjectId> made;
    const pid_t client = test::spawn([&] {
      (void)segment.me();
      *made = make_lock(segment);
      if (add_reference(*segment, *made) != Status::kOk) abort();
      while (sweep_unreferred_objects(segment.me()) != 0) {
      }
      if (dies) kill(getpid(), SIGKILL);
      segment->leave();
    });
    REQUIRE(test::wait_for(client) == (dies ? -SIGKILL : 0));
    REQUIRE(is_live(segment, *made));
    (void)recover_all_dead(*segment, segment.me());
    std::thread server([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      (void)sweep_unreferred_objects(segment.me());
    });
    CHECK(await_sweep(segment.me(), Deadline::after(std::chrono::seconds(20))));
    CHECK_FALSE(is_live(segment, *made));
    server.join();
    while (sweep_unreferred_objects(segment.me()) != 0) {
    }
  }
}

TEST_CASE("a sweep that was awaited in vain in one segment is awaited in another") {
  test::TestSegment stuck, other;
  for (const test::TestSegment* segment : {&stuck, &other}) {
    auto& header = (*segment)->header();
    header.server_session = shm::index_of(segment->me().session()) + 1;
    header.garbage_noted = 7;
    header.garbage_swept = 6;
  }
  CHECK_FALSE(await_sweep(stuck.me(), Deadline::after(std::chrono::milliseconds(1))));
  std::thread server([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    other->header().garbage_swept = 7;
  });
  CHECK(await_sweep(other.me(), Deadline::after(std::chrono::seconds(20))));
  server.join();
}

TEST_CASE("the bell is rung for garbage once, until the sweep has seen it, whoever notes it") {
  test::TestSegment segment;
  std::vector<ObjectId> ids;
  for (int i = 0; i < 4; ++i) {
    ids.push_back(make_lock(segment));
    REQUIRE(add_reference(*segment, ids.back()) == Status::kOk);
  }
  const auto sweep = [&] {
    while (sweep_unreferred_objects(segment.me()) != 0) {
    }
  };
  sweep();
  (void)rings_of(*segment);
  drop_reference(*segment, ids[0]);
  CHECK(rings_of(*segment) == 1);
  drop_reference(*segment, ids[1]);
  CHECK(rings_of(*segment) == 0);
  sweep();
  CHECK_FALSE(is_live(segment, ids[1]));
  CHECK(rings_of(*segment) == 0);
  drop_reference(*segment, ids[2]);
  CHECK(rings_of(*segment) == 1);
  sweep();
  const pid_t client = test::spawn([&] {
    (void)segment.me();
    kill(getpid(), SIGKILL);
  });
  REQUIRE(test::wait_for(client) == -SIGKILL);
  (void)rings_of(*segment);
  REQUIRE(recover_all_dead(*segment, segment.me()) == 1);
  CHECK(rings_of(*segment) == 1);
}
