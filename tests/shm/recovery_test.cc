// Who is recovered, who is not, and what recovery leaves.
#include "shm/recovery.h"

#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "shm/dict_layout.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
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

LockWord& shard_lock(const shm::ObjectAddress& where, std::uint64_t shard) {
  return shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), shard).writing;
}

// A process that does something, says so, and then waits to be killed.
class Holder {
 public:
  template <typename Body>
  explicit Holder(Body&& body) {
    pid_ = spawn([&] {
      body();
      ready_->store(1);
      for (;;) pause();
    });
    while (ready_->load() == 0) std::this_thread::sleep_for(1ms);
  }
  ~Holder() { end(); }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  pid_t pid() const { return pid_; }
  void end() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    wait_for(pid_);
    pid_ = 0;
  }

 private:
  Shared<std::atomic<int>> ready_;
  pid_t pid_ = 0;
};

// Runs body() in a process that may hang: true when it ended well within ten seconds.
template <typename Body>
bool ends_well(Body&& body) {
  pid_t child = spawn([&] {
    alarm(10);
    body();
  });
  return wait_for(child) == 0;
}

void recover_all(const TestSegment& segment, int dead) {
  if (shm::recover_all_dead(*segment, segment.me()) != dead) throw std::runtime_error("not all were recovered");
  segment->leave();
}

}  // namespace

TEST_CASE("a dead process is recovered although one thread held what the repair after another needs") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  shm::Dict dict(where);
  REQUIRE(dict.put(segment.me(), text("a"), text("1")) == Status::kOk);
  Holder holder([&] {
    // The first thread has taken a chunk that nothing reaches yet: its shard's repair gives it back.
    shm::Offset chunk;
    (void)shm::lock(segment.me(), shard_lock(where, 0));
    if (take_chunk(segment.me(), shm::ChunkOwner(where.object, shm::kMaxShards), 3000, chunk) != Status::kOk) abort();
    std::atomic<bool> locked{false};
    std::thread([&] {
      (void)shm::lock(segment.me(), segment->header().extents_lock);
      locked = true;
      for (;;) pause();
    }).detach();
    while (!locked) std::this_thread::yield();
  });
  holder.end();
  REQUIRE(ends_well([&] { recover_all(segment, 1); }));
  CHECK(dict.audit(segment.me()).error == "");
}

TEST_CASE("a live session is not recovered, whoever asks") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  Holder holder([&] { (void)shm::lock(segment.me(), shard_lock(where, 0)); });
  auto& me = segment.me();
  std::uint32_t owner = shard_lock(where, 0).state.load();
  shm::SessionIndex session{static_cast<std::uint32_t>(segment->thread(shm::lock_owner_thread(owner)).claim.load()) -
                            1};
  REQUIRE(shm::owner_pid(*segment, owner) == static_cast<std::uint32_t>(holder.pid()));
  CHECK(shm::recover_session(*segment, me, session) == Status::kRetry);
  CHECK(shm::recover_session(*segment, me, segment->session_index()) == Status::kRetry);
  CHECK(shm::recover_all_dead(*segment, me) == 0);
  CHECK_FALSE(shm::recover_dead_holder(me, shard_lock(where, 0)));
  CHECK(shard_lock(where, 0).state.load() == owner);
  holder.end();
  CHECK(shm::recover_session(*segment, me, session) == Status::kOk);
  CHECK(shm::recover_session(*segment, me, session) == Status::kOk);
  CHECK(shard_lock(where, 0).state.load() == 0);
}

TEST_CASE("a stopped holder is never robbed, and a bounded wait for it ends") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  LockWord& word = shard_lock(where, 0);
  Holder holder([&] { (void)shm::lock(segment.me(), word); });
  kill(holder.pid(), SIGSTOP);
  auto& me = segment.me();
  auto begin = std::chrono::steady_clock::now();
  CHECK(shm::lock(me, word, Deadline::after(350ms)) == Status::kTimedOut);
  CHECK(std::chrono::steady_clock::now() - begin >= 350ms);
  CHECK(shm::owner_pid(*segment, word.state.load()) == static_cast<std::uint32_t>(holder.pid()));
  CHECK(shm::recover_all_dead(*segment, me) == 0);
  kill(holder.pid(), SIGCONT);
  CHECK(shm::lock(me, word, Deadline::after(50ms)) == Status::kTimedOut);
  holder.end();
  CHECK(shm::lock(me, word) == Status::kOk);  // nobody but the waiter recovers
  CHECK(shm::unlock(me, word) == Status::kOk);
}

TEST_CASE("a waiter that signals interrupt all the time finds that its holder died") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  LockWord& word = shard_lock(where, 0);
  Holder holder([&] { (void)shm::lock(segment.me(), word); });
  Shared<std::atomic<int>> waiting;
  pid_t waiter = spawn([&] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    waiting->store(1);
    (void)shm::lock(segment.me(), word);
    (void)shm::unlock(segment.me(), word);
    segment->leave();
  });
  while (waiting->load() == 0) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(20ms);
  holder.end();
  int status = 0, rounds = 0;
  while (waitpid(waiter, &status, WNOHANG) == 0 && ++rounds < 4000) {
    kill(waiter, SIGUSR1);
    std::this_thread::sleep_for(2ms);
  }
  if (rounds >= 4000) kill(waiter, SIGKILL);
  CHECK(rounds < 4000);
  CHECK(status == 0);
  CHECK(word.state.load() == 0);
}

TEST_CASE("a program that replaced its image is dead as a session") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  auto& me = segment.me();
  Shared<std::atomic<int>> locked;
  pid_t child = spawn([&] {
    (void)shm::lock(segment.me(), shard_lock(where, 0));
    locked->store(1);
    execl("/bin/sleep", "sleep", "60", nullptr);
  });
  while (locked->load() == 0) std::this_thread::sleep_for(1ms);
  CHECK(shm::lock(me, shard_lock(where, 0), Deadline::after(10s)) == Status::kOk);
  CHECK(shm::unlock(me, shard_lock(where, 0)) == Status::kOk);
  kill(child, SIGKILL);
  wait_for(child);
}

TEST_CASE("a program that replaced its image and joined anew left nothing locked") {
  TestSegment segment;
  auto where = segment.make_dict(1);
  Shared<std::atomic<int>> locked;
  pid_t child = spawn([&] {
    (void)shm::lock(segment.me(), shard_lock(where, 0));
    locked->store(1);
    setenv("COMMONHOLD_TEST_FOLDER", segment.folder().c_str(), 1);
    execl("/proc/self/exe", "shm_recovery", "[joins]", nullptr);
  });
  while (locked->load() == 0) std::this_thread::sleep_for(1ms);
  auto sessions = [&] {
    int live = 0;
    for (std::uint32_t i = 0; i < 8; ++i) live += (segment->session(i).state.load() & 0xff) != 0;
    return live;
  };
  for (int i = 0; i < 10'000 && sessions() < 3; ++i) std::this_thread::sleep_for(1ms);
  REQUIRE(sessions() == 3);  // ours, the old image's, the new one's
  CHECK(shm::lock(segment.me(), shard_lock(where, 0), Deadline::after(10s)) == Status::kOk);
  CHECK(sessions() == 2);
  CHECK(shm::unlock(segment.me(), shard_lock(where, 0)) == Status::kOk);
  kill(child, SIGKILL);
  wait_for(child);
}

TEST_CASE("the image that joins anew", "[.][joins]") {
  const char* folder = std::getenv("COMMONHOLD_TEST_FOLDER");
  REQUIRE(folder != nullptr);
  auto segment = shm::Segment::open(folder);
  REQUIRE(segment->here() != nullptr);
  pause();
}

TEST_CASE("a thread that ends with locks held frees them, however full its announcements are") {
  TestSegment segment;
  auto where = segment.make_dict(64);
  for (std::uint64_t held : {1u, 15u, 16u, 17u, 40u}) {
    for (std::uint64_t freed_by_another = 0; freed_by_another < 4 && freed_by_another < held; ++freed_by_another) {
      std::thread([&] {
        auto& me = segment.me();
        // Chunks that nothing reaches, so that the repairs announce the extents' lock.
        for (std::uint64_t s = 0; s < held; ++s) {
          shm::Offset chunk;
          REQUIRE(shm::lock(me, shard_lock(where, s)) == Status::kOk);
          if (s < 20) REQUIRE(take_chunk(me, shm::ChunkOwner(where.object, s), 2500, chunk) == Status::kOk);
        }
        std::thread([&] {
          for (std::uint64_t s = 0; s < freed_by_another; ++s) (void)shm::unlock(segment.me(), shard_lock(where, s));
        }).join();
      }).join();
      INFO(held << " held, " << freed_by_another << " of them freed by another thread");
      for (std::uint64_t s = 0; s < held; ++s) REQUIRE(shard_lock(where, s).state.load() == 0);
    }
  }
}

TEST_CASE("locks beyond those that a slot announces are recovered") {
  TestSegment segment;
  auto where = segment.make_dict(64);
  for (std::uint64_t held : {16u, 17u, 33u, 64u}) {
    Holder holder([&] {
      for (std::uint64_t s = 0; s < held; ++s) (void)shm::lock(segment.me(), shard_lock(where, s));
    });
    holder.end();
    CHECK(shm::recover_all_dead(*segment, segment.me()) == 1);
    for (std::uint64_t s = 0; s < 64; ++s) REQUIRE(shard_lock(where, s).state.load() == 0);
  }
  CHECK(shm::Dict(where).audit(segment.me()).error == "");
}

TEST_CASE("an announcement that outlived its object changes no byte of what is there now") {
  TestSegment segment;
  auto third = segment.make_dict(1), where = segment.make_dict(1);
  LockWord& word = shard_lock(where, 0);
  Holder holder([&] { (void)shm::lock(segment.me(), word); });
  auto& me = segment.me();
  std::uint32_t owner = word.state.load();
  REQUIRE(shm::unlock(me, word) == Status::kOk);  // the holder does not know
  shm::destroy_object(me, {where.object, 1});
  // The same place, now with data that looks like the lock held by the dead one.
  shm::Offset chunk, at = segment->offset_of(&word);
  std::uint64_t bytes = shm::dict_control_bytes(1);
  REQUIRE(take_chunk(me, shm::ChunkOwner(third.object, 0), bytes, chunk) == Status::kOk);
  REQUIRE(chunk == where.control);
  shm::store_word(segment->base() + at, owner);
  holder.end();
  CHECK(shm::recover_all_dead(*segment, me) == 1);
  CHECK(shm::load_word(segment->base() + at) == owner);
}
