// Opening, joining, leaving, forking: who is a session, and what is refused.
#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "shm/dict_table.h"
#include "shm/liveness.h"
#include "shm/lock_file.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "support/full_tables.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using shm::Segment;
using shm::SegmentError;
using shm::Status;

namespace {

// The message of the SegmentError that opening the folder throws, with its code.
std::pair<SegmentError::Code, std::string> refusal(const std::string& folder) {
  try {
    (void)Segment::open(folder);
  } catch (const SegmentError& error) {
    return {error.code(), error.what()};
  }
  return {SegmentError::Code::kSystem, "it was opened"};
}

// A folder with a segment that nobody has mapped, whose bytes can be changed.
class ClosedSegment {
 public:
  ClosedSegment() : folder_("/dev/shm/commonhold-test-closed-" + std::to_string(getpid())) {
    std::filesystem::remove_all(folder_);
    (void)Segment::create({folder_, "closed", 8u << 20});
    fd_ = open((folder_ + "/segment").c_str(), O_RDWR | O_CLOEXEC);
  }
  ~ClosedSegment() {
    close(fd_);
    std::filesystem::remove_all(folder_);
  }
  ClosedSegment(const ClosedSegment&) = delete;
  ClosedSegment& operator=(const ClosedSegment&) = delete;

  const std::string& folder() const { return folder_; }
  void write(std::size_t at, const void* bytes, std::size_t size) const {
    REQUIRE(pwrite(fd_, bytes, size, static_cast<off_t>(at)) == static_cast<ssize_t>(size));
  }
  void truncate(off_t size) const { REQUIRE(ftruncate(fd_, size) == 0); }

 private:
  std::string folder_;
  int fd_;
};

int live_sessions(const TestSegment& segment) {
  int live = 0;
  for (std::uint32_t i = 0; i < 64; ++i) live += (segment->session(i).state.load() & 0xff) != 0;
  return live;
}
int claimed_slots(const TestSegment& segment) {
  int claimed = 0;
  for (std::uint32_t i = 0; i < 64; ++i) claimed += (segment->thread(i).claim.load() & 0xffff'ffff) != 0;
  return claimed;
}

shm::LockWord& shard_lock(const shm::ObjectAddress& where, std::uint64_t shard = 0) {
  return shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), shard).writing;
}

}  // namespace

TEST_CASE("a segment that is not ours is refused with the reason") {
  ClosedSegment segment;
  REQUIRE_NOTHROW(Segment::open(segment.folder()));
  auto refused = [&](std::size_t at, std::uint64_t value, std::size_t size, const char* reason) {
    shm::SegmentHeader original;
    int fd = open((segment.folder() + "/segment").c_str(), O_RDONLY);
    REQUIRE(pread(fd, static_cast<void*>(&original), sizeof original, 0) == sizeof original);
    close(fd);
    segment.write(at, &value, size);
    auto [code, message] = refusal(segment.folder());
    segment.write(at, reinterpret_cast<const char*>(&original) + at, size);
    CHECK(code == SegmentError::Code::kForeignLayout);
    CHECK_THAT(message, Contains(reason) && Contains(segment.folder()));
  };
  refused(offsetof(shm::SegmentHeader, magic), 0x1234, 8, "magic is 0x1234");
  refused(offsetof(shm::SegmentHeader, format_version), 99, 4, "format version is 99");
  refused(offsetof(shm::SegmentHeader, layout_hash), 7, 4, "layout hash is 0x7");
  refused(offsetof(shm::SegmentHeader, boot_id), 0x3030303030303030, 8, "made in boot 00000000");
  refused(offsetof(shm::SegmentHeader, total_bytes), 4096, 8, "header says 4096 bytes");
  refused(offsetof(shm::SegmentHeader, max_extents), 3, 8, "table offsets");
  refused(offsetof(shm::SegmentHeader, max_extents), ~std::uint64_t{0}, 8, "table offsets");
  refused(offsetof(shm::SegmentHeader, data_at), 4096, 8, "table offsets");
  refused(offsetof(shm::SegmentHeader, sessions_at), 8, 8, "table offsets");
  REQUIRE_NOTHROW(Segment::open(segment.folder()));
  segment.truncate(1 << 20);
  CHECK_THAT(refusal(segment.folder()).second, Contains("the file has 1048576"));
  segment.truncate(100);
  CHECK_THAT(refusal(segment.folder()).second, Contains("100 bytes, less than a header"));
  segment.truncate(0);
  CHECK(refusal(segment.folder()).first == SegmentError::Code::kForeignLayout);
}

TEST_CASE("what is not there, or already there, is said to be") {
  CHECK(refusal("/dev/shm/commonhold-test-nowhere").first == SegmentError::Code::kNotFound);
  TestSegment segment;
  try {
    (void)Segment::create({segment.folder(), "again", 8u << 20});
    FAIL("made twice");
  } catch (const SegmentError& error) {
    CHECK(error.code() == SegmentError::Code::kExists);
  }
  CHECK_THROWS_AS(Segment::create({segment.folder() + "-long", std::string(200, 'n'), 8u << 20}), SegmentError);
  CHECK_THROWS_AS(Segment::create({segment.folder() + "-small", "small", 1}), SegmentError);
  std::filesystem::remove_all(segment.folder() + "-small");
  CHECK_FALSE(std::filesystem::exists(segment.folder() + "-long"));
}

TEST_CASE("one of many that make a segment at once wins, and all others open it") {
  std::string folder = "/dev/shm/commonhold-test-race-" + std::to_string(getpid());
  Shared<std::atomic<int>> made, go;
  std::vector<pid_t> processes;
  for (int i = 0; i < 6; ++i) {
    processes.push_back(spawn([&] {
      while (go->load() == 0) std::this_thread::yield();
      try {
        (void)Segment::create({folder, "race", 8u << 20});
        made->fetch_add(1);
      } catch (const SegmentError& error) {
        if (error.code() != SegmentError::Code::kExists) throw;
      }
      if (Segment::open(folder)->here() == nullptr) throw std::runtime_error("cannot join");
    }));
  }
  go->store(1);
  for (pid_t process : processes) CHECK(wait_for(process) == 0);
  CHECK(made->load() == 1);
  for (auto& entry : std::filesystem::directory_iterator(folder)) {
    CHECK_THAT(entry.path().filename().string(), !Contains("segment."));  // no temporary file is left
  }
  std::filesystem::remove_all(folder);
}

TEST_CASE("threads that open a folder at once share one mapping, and the session's byte stays locked") {
  TestSegment segment;
  std::string folder = segment.folder();
  for (int round = 0; round < 60; ++round) {
    pid_t child = spawn([&] {
      // The parent's mapping is this process's as well: a path of its own makes another segment.
      std::string other = folder + "-" + std::to_string(getpid());
      (void)Segment::create({other, "other", 8u << 20});  // closed again at once
      std::atomic<int> ready{0};
      std::vector<std::shared_ptr<Segment>> opened(4);
      std::vector<std::thread> threads;
      for (std::size_t t = 0; t < opened.size(); ++t) {
        threads.emplace_back([&, t] {
          ++ready;
          while (ready != 4) {
          }
          opened[t] = Segment::open(other);
          (void)opened[t]->join();
        });
      }
      for (auto& thread : threads) thread.join();
      for (auto& one : opened) {
        if (one != opened[0]) throw std::runtime_error("mapped twice");
      }
      // Seen from another process, for a process's own locks do not show.
      const std::uint32_t session = shm::index_of(opened[0]->session_index());
      pid_t observer = spawn([&] {
        const std::uint64_t byte = shm::kSessionByte + session;
        if (!shm::byte_is_locked(opened[0]->lock_fd(), byte)) throw std::runtime_error("the byte is free");
      });
      int status = wait_for(observer);
      std::filesystem::remove_all(other);
      if (status != 0) throw std::runtime_error("the session looks dead");
    });
    REQUIRE(wait_for(child) == 0);
  }
}

TEST_CASE("a segment that is let go and opened again at once keeps its session's byte") {
  std::string folder = "/dev/shm/commonhold-test-reopen-" + std::to_string(getpid());
  (void)Segment::create({folder, "reopen", 8u << 20});
  std::atomic<bool> wrong{false};
  auto reopen = [&] {
    for (int i = 0; i < 300; ++i) {
      auto segment = Segment::open(folder);
      if (segment->join() != Status::kOk) wrong = true;
    }
  };
  std::thread a(reopen), b(reopen);
  a.join();
  b.join();
  CHECK_FALSE(wrong);
  auto segment = Segment::open(folder);
  REQUIRE(segment->join() == Status::kOk);
  const std::uint64_t byte = shm::kSessionByte + shm::index_of(segment->session_index());
  CHECK(wait_for(spawn([&] {
          if (!shm::byte_is_locked(segment->lock_fd(), byte)) throw std::runtime_error("the byte is free");
        })) == 0);
  segment.reset();
  std::filesystem::remove_all(folder);
}

TEST_CASE("a process that makes its segment a second time is refused and keeps its locks") {
  TestSegment segment;
  (void)segment.me();
  REQUIRE(shm::try_lock_byte(segment->lock_fd(), shm::kServerByte));
  CHECK_THROWS_AS(Segment::create({segment.folder(), "again", 8u << 20}), SegmentError);
  const std::uint64_t session = shm::kSessionByte + shm::index_of(segment->session_index());
  // Seen from another process, for a process's own locks do not show.
  CHECK(wait_for(spawn([&] {
          for (std::uint64_t byte : {std::uint64_t{shm::kServerByte}, session}) {
            if (!shm::byte_is_locked(segment->lock_fd(), byte)) throw std::runtime_error("a byte is free");
          }
        })) == 0);
}

TEST_CASE("threads take slots and give them back, and leaving gives back all") {
  TestSegment segment;
  CHECK(live_sessions(segment) == 0);
  (void)segment.me();
  CHECK(live_sessions(segment) == 1);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::thread> threads;
    std::atomic<int> joined{0};
    for (int i = 0; i < 10; ++i) {
      threads.emplace_back([&] {
        (void)segment.me();
        ++joined;
        while (joined < 10) std::this_thread::yield();
      });
    }
    while (joined < 10) std::this_thread::yield();
    for (auto& thread : threads) thread.join();
    CHECK(claimed_slots(segment) == 1);
  }
  segment->leave();
  CHECK(live_sessions(segment) == 0);
  CHECK(claimed_slots(segment) == 0);
  (void)segment.me();  // and joins again
  CHECK(live_sessions(segment) == 1);
}

TEST_CASE("a segment that shuts down, or is full of sessions or threads, takes nobody more") {
  TestSegment segment;
  SECTION("shutting down") {
    segment->header().shutting_down = 1;
    CHECK(segment->here() == nullptr);
    CHECK(segment->join_failure() == Status::kGone);
  }
  SECTION("sessions") {
    LivingFiller living(*segment, shm::kReservedSessions, shm::kMaxSessions);
    CHECK(segment->here() == nullptr);
    CHECK(segment->join_failure() == Status::kTooMany);
  }
  SECTION("sessions but one") {
    LivingFiller below(*segment, shm::kReservedSessions, 1999), above(*segment, 2000, shm::kMaxSessions);
    CHECK(segment->here() != nullptr);
    CHECK(segment->session_index() == shm::SessionIndex{1999});
  }
  SECTION("threads") {
    fill_threads(*segment, shm::kReservedThreads, shm::kMaxThreads, 76);
    CHECK(segment->here() == nullptr);
    CHECK(segment->join_failure() == Status::kTooMany);
    segment->thread(4000).claim = 0;
    REQUIRE(segment->here() != nullptr);
    CHECK(segment->here()->index() == 4000);
    segment->leave();
    for (std::uint32_t i = 0; i < shm::kMaxThreads; ++i) segment->thread(i).claim = 0;
  }
}

TEST_CASE("a forked child owns nothing of its parent's, and its proxies work") {
  TestSegment segment;
  auto where = segment.make_dict(2);
  shm::Dict dict(where);
  auto& me = segment.me();
  REQUIRE(dict.put(me, text("a"), text("1")) == Status::kOk);
  REQUIRE(shm::lock(me, shard_lock(where)) == Status::kOk);
  const std::uint32_t owner = me.owner(), index = me.index();  // the child's context lies where its parent's did
  pid_t child = spawn([&] {
    auto check = [](bool condition, const char* what) {
      if (!condition) throw std::runtime_error(what);
    };
    check(!segment->joined(), "it has its parent's session");
    auto& own = segment.me();
    check(own.owner() != owner && own.index() != index, "it has its parent's slot");
    check(shard_lock(where).state.load() == owner, "the parent lost its lock");
    check(!shm::try_lock(own, shard_lock(where)), "it took its parent's lock");
    check(shm::recover_all_dead(*segment, own) == 0, "it recovered its parent");
    std::string value;
    for (int i = 0; i < 100; ++i) {
      std::string key = "child/" + std::to_string(i);
      if (shm::hash_shard(shm::hash_key(text(key), segment->at<shm::DictControl>(where.control)->seed), 2) == 0)
        continue;
      check(dict.put(own, text(key), text("x")) == Status::kOk, "it cannot put");
    }
    const std::uint32_t childs = own.owner();
    pid_t grandchild = spawn([&] {
      if (segment->joined() || segment.me().owner() == childs) throw std::runtime_error("not its own");
    });
    check(wait_for(grandchild) == 0, "its child is not a session of its own");
  });
  CHECK(wait_for(child) == 0);
  CHECK(shard_lock(where).state.load() == me.owner());
  CHECK(shm::recover_all_dead(*segment, me) == 2);
  CHECK(shm::unlock(me, shard_lock(where)) == Status::kOk);
  CHECK(live_sessions(segment) == 1);
  CHECK(dict.audit(me).error == "");
}

TEST_CASE("a process may fork while its other threads work") {
  TestSegment segment;
  auto where = segment.make_dict(2);
  shm::Dict dict(where);
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::uint64_t n = 0;
      while (!done) {
        // Threads come and go as well: their slots are given back under the registry's mutex.
        std::thread([&] {
          std::string key = std::to_string(t) + "/" + std::to_string(n++ % 50), value(n % 400, 'v');
          (void)dict.put(segment.me(), text(key), text(value));
        }).join();
      }
    });
  }
  for (int i = 0; i < 60; ++i) {
    pid_t child = spawn([&] {
      alarm(20);
      std::string key = "child/" + std::to_string(i);
      if (dict.put(segment.me(), text(key), text("1")) != Status::kOk) throw std::runtime_error("cannot put");
      if (i % 2 == 0) segment->leave();  // the others just end
    });
    REQUIRE(wait_for(child) == 0);
  }
  done = true;
  for (auto& thread : threads) thread.join();
  (void)shm::recover_all_dead(*segment, segment.me());
  for (int i = 0; i < 60; ++i) {
    std::string key = "child/" + std::to_string(i);
    REQUIRE(dict.contains(text(key)));
  }
  CHECK(dict.audit(segment.me()).error == "");
  CHECK(live_sessions(segment) == 1);
  CHECK(claimed_slots(segment) == 1);
}
