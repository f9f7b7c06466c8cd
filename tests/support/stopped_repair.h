// A process that is stopped (SIGSTOP) in the middle of the repair of a dict's shard, and objects that somebody left who
// died.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

#include "shm/barrier.h"
#include "shm/dict_table.h"
#include "shm/extents.h"
#include "shm/layout.h"
#include "shm/lock_word.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"
#include "support/fixed_seed.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

namespace commonhold::test {

inline shm::LockWord& shard_lock(const shm::ObjectAddress& where, std::uint64_t shard) {
  return shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), shard).writing;
}

inline std::byte* guarded_page = nullptr;

// Runs recover() in a process that stops at its first store to the page. Gives its pid once it is stopped.
template <typename Recover>
pid_t stop_at_page(std::byte* page, Recover&& recover) {
  pid_t child = spawn([&] {
    guarded_page = page;
    struct sigaction action {};
    action.sa_handler = [](int) {
      raise(SIGSTOP);
      mprotect(guarded_page, shm::kPage, PROT_READ | PROT_WRITE);
    };
    sigaction(SIGSEGV, &action, nullptr);
    if (mprotect(page, shm::kPage, PROT_READ) != 0) abort();
    recover();
  });
  int status = 0;
  REQUIRE(waitpid(child, &status, WUNTRACED) == child);
  INFO("status " << status);
  REQUIRE(WIFSTOPPED(status));
  return child;
}

// A page to which the repair of a shard stores: in a large chunk of its heap. REQUIRES: fix_seed(), else the chunk may
// hold nothing that is free.
inline std::byte* page_of_heap(const shm::ObjectAddress& where, std::uint32_t shard) {
  shm::Offset found = 0;
  for_each_chunk(*where.segment, shm::ChunkOwner(where.object, shard), [&](shm::Offset chunk, std::uint64_t bytes) {
    if (bytes >= shm::kPage && found == 0) found = chunk;
  });
  REQUIRE(found != 0);
  return where.segment->base() + found;
}

// A few objects, all of which somebody held who died.
struct Objects {
  explicit Objects(const TestSegment& segment)
      : dict(segment.make_dict(4)),
        lock(segment.make({shm::ObjectKind::kLock, "", "lock"})),
        rw(segment.make({shm::ObjectKind::kRwLock, "", "rwlock"})),
        semaphore(segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {2}})),
        barrier(segment.make({shm::ObjectKind::kBarrier, "", "barrier", {2}})) {
    fix_seed(dict);
    for (int i = 0; i < 200; ++i) {
      const std::string key = std::to_string(i);
      REQUIRE(shm::Dict(dict).put(segment.me(), text(key), text(std::string(100, 'v'))) == shm::Status::kOk);
    }
  }

  // Dies with something of each; the shard's lock is the first that a recovery comes to.
  void die_with_all(const TestSegment& segment) const {
    pid_t child = spawn([&] {
      auto& me = segment.me();
      shm::Offset chunk;
      if (shm::lock(me, shard_lock(dict, 0)) != shm::Status::kOk) abort();
      if (take_chunk(me, shm::ChunkOwner(dict.object, 0), 3000, chunk) != shm::Status::kOk) abort();
      if (shm::lock(me, shard_lock(dict, 1)) != shm::Status::kOk) abort();
      if (shm::UserLock(lock).acquire(me) != shm::Status::kOk) abort();
      if (shm::RwLock(rw).acquire_shared(me) != shm::Status::kOk) abort();
      if (shm::Semaphore(semaphore).acquire(me) != shm::Status::kOk) abort();
      if (shm::Semaphore(semaphore).acquire(me) != shm::Status::kOk) abort();
      std::thread([&] {
        shm::Barrier::Arrival arrival;
        (void)shm::Barrier(barrier).wait(segment.me(), shm::Deadline::never(), false, arrival);
      }).detach();
      while (shm::Barrier(barrier).waiting() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      kill(getpid(), SIGKILL);
    });
    REQUIRE(wait_for(child) == -SIGKILL);
  }

  shm::ObjectAddress dict, lock, rw, semaphore, barrier;
};

}  // namespace commonhold::test
