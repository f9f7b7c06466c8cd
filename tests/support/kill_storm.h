// One worker after another works on an object and is killed at a random moment; each time the death is recovered, now
// and then after a recoverer was killed at it too.
#pragma once

#include <catch2/catch.hpp>
#include <chrono>
#include <random>
#include <thread>

#include "shm/recovery.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

namespace commonhold::test {

inline void sleep_us(std::uint64_t us) {
  std::this_thread::sleep_for(std::chrono::microseconds(us));
}

// work(seed, started) runs in a child that is a session of its own and never returns; it stores true to `started`
// before its first change. check() runs here after each recovery. REQUIRES: no other child works meanwhile.
template <typename Work, typename Check>
void kill_storm(const TestSegment& segment, int kills, std::uint64_t seed, Work&& work, Check&& check) {
  std::mt19937_64 random(seed);
  Shared<std::atomic<bool>> started;
  for (int death = 0; death < kills; ++death) {
    INFO("death " << death);
    started->store(false);
    std::uint64_t work_seed = random();
    pid_t worker = spawn([&] {
      (void)segment.me();
      work(work_seed, *started);
    });
    while (!started->load()) std::this_thread::yield();
    sleep_us(random() % 1500);
    kill(worker, SIGKILL);
    REQUIRE(wait_for(worker) == -SIGKILL);
    for (std::uint64_t i = random() % 3; i != 0; --i) {
      pid_t recoverer = spawn([&] {
        started->store(false);
        auto& me = segment.me();
        started->store(true);
        (void)shm::recover_all_dead(*segment, me);
      });
      while (!started->load()) std::this_thread::yield();
      sleep_us(random() % 100);
      kill(recoverer, SIGKILL);
      (void)wait_for(recoverer);
    }
    (void)shm::recover_all_dead(*segment, segment.me());
    check();
  }
}

}  // namespace commonhold::test
