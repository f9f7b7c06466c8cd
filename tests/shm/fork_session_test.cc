// A forked child refers to what it inherited from the fork on, whoever is killed when.
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <vector>

#include "shm/in_flight.h"
#include "shm/liveness.h"
#include "shm/lock_file.h"
#include "shm/object_table.h"
#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/segment_registry.h"
#include "shm/sweep.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::shm;

namespace {

std::vector<ObjectId> make_referred(test::TestSegment& segment, int count) {
  std::vector<ObjectId> ids(static_cast<std::size_t>(count));
  for (ObjectId& id : ids) {
    REQUIRE(create_object(segment.me(), {ObjectKind::kLock, "", "lock", {}}, id) == Status::kOk);
    REQUIRE(add_reference(*segment, id) == Status::kOk);
  }
  return ids;
}

int live_sessions(const Segment& segment) {
  int live = 0;
  for (std::uint32_t i = 0; i < kMaxSessions; ++i) live += (segment.session(i).state & 0xff) != 0 ? 1 : 0;
  return live;
}

// The registry's part of a fork, without one.
void before_fork(Segment& segment) {
  segment.reserve_for_child();
  SegmentRegistry::instance().mutex.lock();
  segment.prepare_child();
}
void after_fork(Segment& segment) {
  segment.after_fork_in_parent();
  SegmentRegistry::instance().mutex.unlock();
}

// Runs `hook` in the parent of each fork, after the library has prepared the child: what is registered first is done
// last.
void (*hook)() = nullptr;
const int registered = pthread_atfork(
    [] {
      if (hook != nullptr) hook();
    },
    nullptr, nullptr);

// Somebody who looks at the byte of a session's record as long as it is told to.
struct Looker {
  std::atomic<std::uint32_t> number{0};  // of the session that is being prepared: its index + 1
  std::atomic<bool> looks{false}, ends{false};
};
const Segment* forked_segment = nullptr;
Looker* looker = nullptr;

}  // namespace

TEST_CASE("a child that cannot lock its byte at once does it later, and its record is free again when it leaves") {
  REQUIRE(registered == 0);
  for (const bool works : {false, true}) {
    test::TestSegment segment;
    make_referred(segment, 1);
    test::Shared<Looker> shared;
    test::Shared<std::atomic<int>> step;
    const auto is_locked = [&](int fd) { return byte_is_locked(fd, kSessionByte + shared->number - 1); };
    const pid_t looks = test::spawn([&] {
      while (shared->number == 0) usleep(100);
      shared->looks = try_lock_byte(segment->lock_fd(), kSessionByte + shared->number - 1);
      while (!shared->ends) usleep(100);
    });
    forked_segment = &*segment;
    looker = &*shared;
    hook = [] {
      for (std::uint32_t i = 0; i < kMaxSessions; ++i) {
        const SessionRecord& record = forked_segment->session(i);
        if (session_state(record.state) == SessionState::kLive && record.pid == 0) looker->number = i + 1;
      }
      while (!looker->looks) usleep(100);
    };
    const pid_t child = test::spawn([&] {
      *step = 1;
      while (*step == 1) usleep(100);
      if (works) (void)segment.me();
      *step = 3;
      while (*step == 3) usleep(100);
      segment->leave();
      *step = 5;
      while (*step == 5) usleep(100);
    });
    hook = nullptr;
    const auto wait_until = [&](int wanted) {
      while (*step != wanted) usleep(100);
    };
    wait_until(1);
    const SessionIndex session{shared->number - 1};
    CHECK(is_locked(segment->memory_fd()));
    shared->ends = true;
    test::wait_for(looks);
    CHECK_FALSE(session_is_dead(*segment, session));
    *step = 2;
    wait_until(3);
    CHECK(is_locked(segment->lock_fd()) == works);
    CHECK(is_locked(segment->memory_fd()) != works);
    CHECK_FALSE(session_is_dead(*segment, session));
    *step = 4;
    wait_until(5);
    CHECK(session_state(segment->session(index_of(session)).state) == SessionState::kFree);
    CHECK_FALSE(is_locked(segment->memory_fd()));
    CHECK_FALSE(is_locked(segment->lock_fd()));
    *step = 6;
    CHECK(test::wait_for(child) == 0);
  }
}

TEST_CASE("a child that never used an object refers to all that its parent referred to") {
  test::TestSegment segment;
  for (int count : {1, 127, 128, 300}) {
    const std::vector<ObjectId> ids = make_referred(segment, count);
    test::Shared<std::atomic<bool>> end;
    const pid_t child = test::spawn([&] {
      while (!*end) usleep(100);
    });
    for (ObjectId id : ids) REQUIRE(count_references(*segment, id) == 2);
    for (ObjectId id : ids) drop_reference(*segment, id);
    REQUIRE(sweep_unreferred_objects(segment.me()) == 0);
    REQUIRE(recover_all_dead(*segment, segment.me()) == 0);
    *end = true;
    REQUIRE(test::wait_for(child) == 0);  // without an end in good order
    REQUIRE(recover_all_dead(*segment, segment.me()) == 1);
    REQUIRE(sweep_unreferred_objects(segment.me()) == count);
  }
}

TEST_CASE("a child keeps what it inherited when its parent is killed at once, and so does its own child") {
  test::TestSegment segment;
  segment.me();
  struct Board {
    std::atomic<int> step{0};
    ObjectId id;
    std::atomic<int> status{-1};
  };
  test::Shared<Board> board;
  const pid_t parent = test::spawn([&] {
    board->id = make_referred(segment, 1).front();
    if (fork() != 0) kill(getpid(), SIGKILL);
    if (fork() != 0) kill(getpid(), SIGKILL);  // without a use of any object
    while (board->step == 0) usleep(100);
    board->status = static_cast<int>(object_control(*segment, board->id) != 0 && segment->joined()
                                         ? add_reference(*segment, board->id)
                                         : Status::kGone);
    board->step = 2;
    while (board->step == 2) usleep(100);
    _exit(0);
  });
  REQUIRE(test::wait_for(parent) == -SIGKILL);
  // The parent, and its child as soon as it has ended: nobody waits for that one but init.
  int recovered = 0;
  for (int tries = 0; tries < 2000 && recovered < 2; ++tries) {
    recovered += recover_all_dead(*segment, segment.me());
    usleep(1000);
  }
  REQUIRE(recovered == 2);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);
  REQUIRE(count_references(*segment, board->id) == 1);
  board->step = 1;
  while (board->step == 1) usleep(100);
  REQUIRE(board->status == static_cast<int>(Status::kOk));
  board->step = 3;
  for (int tries = 0; tries < 2000 && recovered < 3; ++tries) {
    recovered += recover_all_dead(*segment, segment.me());
    usleep(1000);
  }
  REQUIRE(sweep_unreferred_objects(segment.me()) == 1);
}

TEST_CASE("a session that was made for a child lives as long as the fork may still happen, and no longer") {
  test::TestSegment segment;
  const std::vector<ObjectId> ids = make_referred(segment, 200);
  const int before = live_sessions(*segment);
  before_fork(*segment);
  REQUIRE(live_sessions(*segment) == before + 1);
  REQUIRE(count_references(*segment, ids[150]) == 2);
  // A child that has not run its handlers yet, as one that is stopped there.
  test::Shared<std::atomic<bool>> end;
  const pid_t child = _Fork();
  if (child == 0) {
    while (!*end) usleep(100);
    _exit(0);
  }
  after_fork(*segment);
  REQUIRE(recover_all_dead(*segment, segment.me()) == 0);
  // Who joins meanwhile takes another record.
  const pid_t other = test::spawn([&] { (void)segment.me(); });
  REQUIRE(test::wait_for(other) == 0);
  REQUIRE(recover_all_dead(*segment, segment.me()) == 1);
  REQUIRE(count_references(*segment, ids[150]) == 2);
  *end = true;
  REQUIRE(test::wait_for(child) == 0);
  REQUIRE(recover_all_dead(*segment, segment.me()) == 1);
  REQUIRE(live_sessions(*segment) == before);
  REQUIRE(count_references(*segment, ids[150]) == 1);
  // A fork that fails.
  before_fork(*segment);
  after_fork(*segment);
  REQUIRE(live_sessions(*segment) == before + 1);
  REQUIRE(recover_all_dead(*segment, segment.me()) == 1);
  REQUIRE(live_sessions(*segment) == before);
  for (std::uint32_t session = 0; session < segment->header().sessions_used; ++session) {
    if (SessionIndex{session} == segment->session_index()) continue;
    REQUIRE(bytes_owned_by(*segment, reference_owner(SessionIndex{session}).object()) == 0);
  }
}

TEST_CASE("a fork goes on when no session is free, and the child joins later") {
  test::TestSegment segment;
  const ObjectId id = make_referred(segment, 1).front();
  std::vector<std::uint32_t> taken;
  for (std::uint32_t i = 0; i < kMaxSessions; ++i) {
    SessionRecord& record = segment->session(i);
    if ((record.state & 0xff) != 0) continue;
    record.pid = static_cast<Word>(getpid());  // which lives
    record.pid_space = segment->session(index_of(segment->session_index())).pid_space.load();
    record.joined_ns = segment->session(index_of(segment->session_index())).joined_ns.load();
    record.state = Word{1} << 32 | static_cast<Word>(SessionState::kLive);
    taken.push_back(i);
  }
  test::Shared<std::atomic<int>> step;
  const pid_t child = test::spawn([&] {
    if (segment->joined()) throw std::runtime_error("joined though there is no record");
    *step = 1;
    while (*step == 1) usleep(100);
    if (add_reference(*segment, id) != Status::kOk) throw std::runtime_error("could not refer later");
  });
  while (*step == 0) usleep(100);
  for (std::uint32_t i : taken) segment->session(i).state = Word{1} << 32;
  *step = 2;
  REQUIRE(test::wait_for(child) == 0);
}

TEST_CASE("references can be taken in a full segment, by a forked child too") {
  test::TestSegment segment(16u << 20);
  const std::vector<ObjectId> ids = make_referred(segment, 400);
  for (std::uint64_t bytes : {kExtent, kExtent / 2, kExtent / 4, 4 * kGranule, kGranule}) {
    Offset chunk = 0;
    while (take_chunk(segment.me(), ChunkOwner(kMaxObjects - 1, 0), bytes, chunk) == Status::kOk) {
    }
  }
  for (int i = 0; i < 3; ++i) {
    for (ObjectId id : ids) REQUIRE(add_reference(*segment, id) == Status::kOk);
  }
  const pid_t child = test::spawn([&] {
    if (!segment->joined() || count_references(*segment, ids[399]) != 2) throw std::runtime_error("did not inherit");
    for (ObjectId id : ids) {
      if (add_reference(*segment, id) != Status::kOk) throw std::runtime_error("could not refer");
    }
  });
  REQUIRE(test::wait_for(child) == 0);
}

TEST_CASE("reference pages keep no extent from being whole again") {
  test::TestSegment segment;
  std::vector<ObjectId> ids;
  std::vector<Offset> chunks;
  const ChunkOwner owner(kMaxObjects - 1, 0);
  for (ObjectId id : make_referred(segment, 2000)) {
    ids.push_back(id);
    for (int i = 0; i < 8; ++i) {
      REQUIRE(take_chunk(segment.me(), owner, kGranule, chunks.emplace_back()) == Status::kOk);
    }
  }
  for (ObjectId id : ids) drop_reference(*segment, id);
  for (Offset chunk : chunks) give_chunk(segment.me(), chunk, kGranule);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 2000);
  // They lie beside one another, so that nearly all of the 256 MiB is in one piece.
  Offset all = 0;
  REQUIRE(take_chunk(segment.me(), owner, 250u << 20, all) == Status::kOk);
}

TEST_CASE("an object in flight lives without a session that refers to it, until it is received") {
  test::TestSegment segment;
  segment.me();
  struct Board {
    ObjectId id;
    InFlight flight;
  };
  test::Shared<Board> board;
  const pid_t sender = test::spawn([&] {
    board->id = make_referred(segment, 1).front();
    if (begin_flight(*segment, board->id, board->flight) != Status::kOk) throw std::runtime_error("no flight");
    drop_reference(*segment, board->id);
  });
  REQUIRE(test::wait_for(sender) == 0);
  recover_all_dead(*segment, segment.me());
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);
  REQUIRE(add_reference(*segment, board->id) == Status::kOk);
  end_flight(*segment, board->id, board->flight);
  end_flight(*segment, board->id, board->flight);  // once
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);
  drop_reference(*segment, board->id);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 1);
}

TEST_CASE("hundreds of objects are in flight at once, and what is never received goes after its time") {
  test::TestSegment segment;
  const std::vector<ObjectId> ids = make_referred(segment, 300);
  std::vector<InFlight> flights(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) REQUIRE(begin_flight(*segment, ids[i], flights[i]) == Status::kOk);
  for (ObjectId id : ids) drop_reference(*segment, id);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);
  for (std::size_t i = 0; i < 100; ++i) end_flight(*segment, ids[i], flights[i]);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 100);
  for (std::size_t i = 100; i < 200; ++i) {
    auto& cell = *segment->at<InFlightCell>(flights[i].cell);
    REQUIRE(cell.expires == flights[i].expires);
    cell.expires = 1;  // long ago
  }
  REQUIRE(sweep_unreferred_objects(segment.me()) == 100);
  InFlight again;
  const ObjectId id = make_referred(segment, 1).front();
  REQUIRE(begin_flight(*segment, id, again) == Status::kOk);
  end_flight(*segment, ids[0], flights[0]);  // somebody else's by now, or nobody's
  drop_reference(*segment, id);
  // What is no cell, as a message may say it.
  const InFlight& last = flights.back();
  const Offset page = last.cell - last.cell % sizeof(ReferencePage);
  for (const Offset cell : {Offset{0}, Offset{8}, last.cell + 1, last.cell + sizeof(Word), page, page - sizeof(Word),
                            flight_page(*segment), ~Offset{0}}) {
    end_flight(*segment, ids.back(), {cell, last.expires});
  }
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);
  for (std::size_t i = 200; i < ids.size(); ++i) end_flight(*segment, ids[i], flights[i]);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 100);
}
