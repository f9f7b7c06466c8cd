// A process that is stopped (SIGSTOP) in the middle of the repair of a dict's shard.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "shm/dict_table.h"
#include "shm/extents.h"
#include "shm/layout.h"
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
  REQUIRE(WIFSTOPPED(status));
  return child;
}

// A page to which the repair of a shard stores: in a large chunk of its heap.
inline std::byte* page_of_heap(const shm::ObjectAddress& where, std::uint32_t shard) {
  shm::Offset found = 0;
  for_each_chunk(*where.segment, shm::ChunkOwner(where.object, shard), [&](shm::Offset chunk, std::uint64_t bytes) {
    if (bytes >= shm::kPage && found == 0) found = chunk;
  });
  REQUIRE(found != 0);
  return where.segment->base() + found;
}

}  // namespace commonhold::test
