// What becomes of processes that nobody joins, and of their threads, when they or their parents end.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "support/children.h"
#include "support/manager_home.h"
#include "support/readable.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("a child goes on when its Process is destroyed or assigned over") {
  ManagerHome home;
  Manager manager;
  auto go_on = manager.event();
  auto done = manager.value(0);
  const auto wait_and_count = [&] {
    go_on.wait();
    done += 1;
  };
  Process(wait_and_count).start();
  {
    Process process(wait_and_count);
    process.start();
  }
  Process again(wait_and_count);
  again.start();
  again = Process(wait_and_count);
  again.start();
  again = Process([] {});
  CHECK(active_children().size() == 4);
  go_on.set();
  for (const ProcessHandle& child : active_children()) child.join();
  CHECK(done == 4);
  CHECK(active_children().empty());
}

TEST_CASE("a process that started its children and forgot them ends its daemons first and waits for the others") {
  ManagerHome home;
  Manager manager;
  auto is_up = manager.semaphore(0);
  auto done = manager.value(0);
  CHECK(run([&] {
          for (int i = 0; i < 3; ++i) {
            Process(ProcessOptions{.daemon = true}, [&] {
              signal(SIGTERM, SIG_DFL);
              is_up.release();
              stay();
            }).start();
            is_up.acquire();
          }
          Process([&] {
            std::this_thread::sleep_for(30ms);
            done += 1;
          }).start();
        }) == std::optional<int>(0));
  CHECK(done == 1);
}

TEST_CASE("who starts processes for ever and forgets them keeps nothing of the ended ones") {
  std::vector<int> started;
  const auto kept = [&] {
    return std::ranges::count_if(started, [](int pid) { return stat_of(pid).find(") Z ") != std::string::npos; });
  };
  for (int i = 0; i < 10; ++i) {
    Process process([] {});
    process.start();
    started.push_back(*process.pid());
    CHECK(readable(process.sentinel(), 20'000));
    CHECK(kept() == 1);
  }
  CHECK(active_children().empty());
  CHECK(kept() == 0);
}

TEST_CASE("a child waits for the threads that it did not join, and not for those of an idle pool") {
  ManagerHome home;
  Manager manager;
  auto done = manager.value(0);
  const auto with_threads = [&](auto end) {
    return [&done, end] {
      std::thread([&done] {
        std::this_thread::sleep_for(50ms);
        done += 1;
      }).detach();
      // Never destroyed: std::exit() would wait for who waits in it.
      static auto& mutex = *new std::mutex;
      static auto& never = *new std::condition_variable;
      std::thread([] {
        std::unique_lock guard(mutex);
        for (;;) never.wait(guard);
      }).detach();
      end();
    };
  };
  CHECK(run(with_threads([] {})) == std::optional<int>(0));
  CHECK(done == 1);
  CHECK(run(with_threads([] { std::exit(3); })) == std::optional<int>(3));
  CHECK(done == 2);
  CHECK(run(with_threads([] { throw Exit(4); })) == std::optional<int>(4));
  CHECK(done == 3);
}

TEST_CASE(
    "a child waits for a thread that has hardly begun when its function returns, and for one that takes no signals") {
  ManagerHome home;
  Manager manager;
  auto done = manager.value(0);
  for (int i = 0; i < 20; ++i) {
    run([&] { std::thread([&] { done += 1; }).detach(); });
    run([&] {
      sigset_t ends;
      sigemptyset(&ends);
      for (int signal : {SIGTERM, SIGINT}) sigaddset(&ends, signal);
      pthread_sigmask(SIG_BLOCK, &ends, nullptr);
      std::thread([&] {
        std::this_thread::sleep_for(2ms);
        done += 1;
      }).detach();
    });
  }
  CHECK(done == 40);
}

TEST_CASE("a child that is not to wait for its threads takes them along, and so does one that a thread ends") {
  const auto forever = [] {
    std::thread([] {
      for (;;) std::this_thread::sleep_for(1h);
    }).detach();
  };
  CHECK(run(Process({.wait_for_threads = false}, forever)) == std::optional<int>(0));
  CHECK(run([&] {
          forever();
          std::thread([] { std::exit(5); }).join();
        }) == std::optional<int>(5));
}

TEST_CASE("permits are used up when a child ends in order, whether its threads are at work or not") {
  ManagerHome home;
  Manager manager;
  for (const bool at_work : {false, true}) {
    for (const bool exits : {false, true}) {
      auto semaphore = manager.semaphore(2);
      auto busy = manager.value(0);
      CHECK(run(Process({.wait_for_threads = false}, [&] {
              semaphore.acquire();
              if (at_work) {
                std::thread([&] {
                  for (;;) busy += 1;
                }).detach();
                while (busy == 0) std::this_thread::yield();
              }
              if (exits) exit(0);
            })) == std::optional<int>(0));
      std::this_thread::sleep_for(50ms);  // time for the server to see the end
      CHECK(semaphore.get_value() == 1);
    }
  }
}

TEST_CASE("a child that ends while its threads are at work takes nothing from what others do") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<std::int64_t>();
  constexpr std::int64_t kLast = -1, kTheirs = -2;
  std::atomic<bool> done{false};
  std::int64_t mine = 0;
  std::thread producer([&] {
    while (!done) {
      if (queue.size() < 100'000) queue.put(mine++);
    }
    queue.put(kLast);
  });
  std::int64_t expected = 0, wrong = 0;
  std::thread consumer([&] {
    for (std::int64_t item = 0; item != kLast;) {
      item = queue.get();
      if (item >= 0 && item != expected++) ++wrong, expected = item + 1;
    }
  });
  for (int round = 0; round < 300; ++round) {
    CHECK(run(Process({.wait_for_threads = false}, [&] {
            for (int i = 0; i < 2; ++i) {
              std::thread([&] {
                for (;;) {
                  if (queue.size() < 50'000) queue.put(kTheirs);
                }
              }).detach();
            }
            std::this_thread::sleep_for(std::chrono::microseconds(500 + round));
          })) == std::optional<int>(0));
  }
  done = true;
  producer.join();
  consumer.join();
  CHECK(wrong == 0);
  CHECK(expected == mine);
}
