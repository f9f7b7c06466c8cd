#include "shm/gate.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "support/queue_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;

TEST_CASE("as many sleepers wake as wakers come at the same moment") {
  constexpr int kSleepers = 4, kWakers = 2, kRounds = 3000;
  const NoLookingByItself none;
  shm::Gate gate{};
  std::atomic<int> tickets{0}, round{0}, ended{0}, waiting{0}, taken{0}, woken{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < kSleepers; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        int there = tickets.load();
        if (there == 0) {
          waiting.fetch_add(1);
          shm::sleep_at(gate, Deadline::never(), [&] { return tickets.load() != 0 || stop; });
          waiting.fetch_sub(1);
        } else if (tickets.compare_exchange_strong(there, there - 1)) {
          // One for each: who has his does not come to another's aid.
          const int now = ended.load();
          taken.fetch_add(1);
          while (ended.load() == now && !stop) std::this_thread::yield();
        }
      }
    });
  }
  for (int i = 0; i < kWakers; ++i) {
    threads.emplace_back([&] {
      for (int turn = 1; turn <= kRounds; ++turn) {
        while (round.load() < turn && !stop) std::this_thread::yield();
        if (stop) return;
        tickets.fetch_add(1);
        shm::open_gate(gate, 1);
        woken.fetch_add(1);
      }
    });
  }
  bool all = true;
  for (int turn = 1; turn <= kRounds && all; ++turn) {
    while (waiting.load() != kSleepers) std::this_thread::yield();
    std::this_thread::sleep_for(20us);
    taken = woken = 0;
    round.store(turn);
    const Deadline deadline = Deadline::after(20s);
    while (taken.load() < kWakers && !deadline.passed()) std::this_thread::yield();
    all = taken.load() == kWakers;
    INFO("round " << turn << ": " << taken.load() << " of " << kWakers << " woke");
    CHECK(all);
    while (woken.load() < kWakers) std::this_thread::yield();
    ended.fetch_add(1);
  }
  stop = true;
  shm::wake_all(gate);
  std::this_thread::sleep_for(10ms);
  shm::wake_all(gate);
  for (std::thread& thread : threads) thread.join();
}
