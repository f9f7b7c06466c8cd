// How a pool and its workers begin and end: rows of docs/semantics/pool.md.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <numeric>
#include <set>
#include <thread>

#include "support/manager_home.h"
#include "support/pool_tasks.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

TEST_CASE("the initializer runs once in each worker") {
  ManagerHome home;
  Manager manager;
  auto started = manager.value(0);
  Pool pool({.processes = 3, .initializer = [&] { ++started; }});
  CHECK(eventually([&] { return started == 3; }));
  CHECK(pool.apply(square, 2) == 4);
}

TEST_CASE("an initializer that throws fails every task with its error, and nothing hangs") {
  Pool pool({.processes = 2, .initializer = [] { throw std::domain_error("no database"); }});
  CHECK_THROWS_WITH(pool.apply(square, 2), Contains("no database"));
  CHECK_THROWS_AS(pool.map(square, numbers(10)), std::domain_error);
  pool.close();
  pool.join();
}

TEST_CASE("an initializer that kills its worker fails the tasks") {
  Pool pool({.processes = 2, .initializer = [] { raise(SIGKILL); }});
  CHECK_THROWS_AS(pool.apply(square, 2), WorkerDied);
  CHECK_THROWS_AS(pool.map(square, numbers(10)), WorkerDied);
}

TEST_CASE("a worker is replaced after its tasks; a chunk is one task; closing goes on until all is done") {
  Pool pool({.processes = 1, .max_tasks_per_child = 2});
  std::vector<int> pids;
  for (int i = 0; i < 6; ++i) pids.push_back(pool.apply([] { return getpid(); }));
  CHECK(std::set<int>(pids.begin(), pids.end()).size() == 3);
  CHECK(pids[0] == pids[1]);
  CHECK(pids[1] != pids[2]);
  const auto in_chunks = pool.map([](int) { return getpid(); }, numbers(8), 4);
  CHECK(std::set<int>(in_chunks.begin(), in_chunks.end()).size() == 1);
  auto rest = pool.map_async([](int) { return getpid(); }, numbers(7), 1);
  pool.close();
  const auto all = rest.get();
  CHECK(std::set<int>(all.begin(), all.end()).size() >= 3);
  pool.join();
}

TEST_CASE("a closed pool finishes what it was given, and takes no more") {
  Pool pool(2);
  auto results = pool.map_async(pid_after_a_while, std::vector<int>(20, 1), 1);
  pool.close();
  pool.close();
  CHECK_THROWS_AS(pool.apply(square, 2), Closed);
  CHECK_THROWS_WITH(pool.map(square, numbers(3)), Contains("Pool not running"));
  pool.join();
  pool.join();
  CHECK(results.ready());
  CHECK(results.get().size() == 20);
  CHECK(pool.worker_pids().empty());
  CHECK(active_children().empty());
}

TEST_CASE("a pool that runs is not joined") {
  Pool pool(1);
  CHECK_THROWS_AS(pool.join(), UsageError);
}

TEST_CASE("terminate ends the workers, and what is not ready fails with PoolTerminated") {
  Pool pool(2);
  auto slow = pool.apply_async(nap, 60'000);
  std::atomic<int> told{0};
  auto many = pool.map_async(then([](const std::vector<int>&) {}, [&](std::exception_ptr) { ++told; }),
                             pid_after_a_while, std::vector<int>(10'000, 10), 1);
  auto items = pool.imap(pid_after_a_while, std::vector<int>(100, 1000));
  pool.terminate();
  pool.terminate();
  CHECK_THROWS_AS(slow.get(), PoolTerminated);
  CHECK_THROWS_AS(many.get(), PoolTerminated);
  CHECK_THROWS_AS(items.next(), PoolTerminated);
  CHECK(told == 1);
  CHECK_THROWS_AS(pool.apply(square, 2), Closed);
  pool.join();
  CHECK(active_children().empty());
}

TEST_CASE("terminate after close is allowed, and a worker that ignores SIGTERM ends as well") {
  Pool pool({.processes = 2, .initializer = [] { signal(SIGTERM, SIG_IGN); }});
  auto slow = pool.apply_async(nap, 60'000);
  CHECK(pool.apply(square, 3) == 9);
  pool.close();
  pool.terminate();
  pool.join();
  CHECK_THROWS_AS(slow.get(), PoolTerminated);
}

TEST_CASE("a pool is terminated when it goes, and its results stay") {
  std::optional<AsyncResult<int>> ready, pending;
  {
    Pool pool(1);
    ready = pool.apply_async(square, 3);
    ready->wait();
    pending = pool.apply_async(pid_after_a_while, 60'000);
    Pool moved(std::move(pool));
    pool = std::move(moved);
  }
  CHECK(ready->get() == 9);
  CHECK_THROWS_AS(pending->get(), PoolTerminated);
  CHECK(active_children().empty());
}

TEST_CASE("what a pool cannot be made of is refused") {
  CHECK_THROWS_AS(Pool(0), ValueError);
  CHECK_THROWS_AS(Pool(-1), ValueError);
  CHECK_THROWS_AS(Pool({.processes = 1, .max_tasks_per_child = 0}), ValueError);
  CHECK_THROWS_AS(Pool({.processes = 1, .retries = -1}), ValueError);
  CHECK(Pool().processes() == static_cast<std::size_t>(usable_cpu_count()));
}

TEST_CASE("a pool that cannot start all its workers leaves none") {
  Process program([] {
    Manager manager;
    const auto warm = manager.queue<int>();  // what the manager opens is open
    const int next = dup(STDIN_FILENO);
    close(next);
    const rlimit few{static_cast<rlim_t>(next) + 5, static_cast<rlim_t>(next) + 5};
    setrlimit(RLIMIT_NOFILE, &few);
    try {
      Pool pool({.processes = 16, .manager = manager});
    } catch (const SystemError&) {
      throw Exit(active_children().empty() ? 42 : 1);
    }
  });
  program.start();
  program.join();
  CHECK(program.exitcode() == std::optional<int>(42));
}

TEST_CASE("a program that never closes its pool ends") {
  Process program([] {
    auto* pool = new Pool(2);
    pool->apply_async(nap, 60'000);
    if (pool->apply(square, 3) != 9) throw Exit(1);
  });
  program.start();
  CHECK(program.join_for(20s));
  CHECK(program.exitcode() == std::optional<int>(0));
}

TEST_CASE("a forked child uses a pool of its own, not its parent's") {
  Pool pool(1);
  Process child([&] {
    try {
      pool.apply(square, 2);
    } catch (const UsageError&) {
      for (auto call : {&Pool::close, &Pool::terminate, &Pool::join}) {
        try {
          (pool.*call)();
          throw Exit(1);
        } catch (const UsageError&) {
          // As well.
        }
      }
      Pool own(1);
      throw Exit(own.apply(square, 6));
    }
  });
  child.start();
  child.join();
  CHECK(child.exitcode() == std::optional<int>(36));
  CHECK(pool.apply(square, 2) == 4);
}

TEST_CASE("many threads give tasks at once") {
  Pool pool(2);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        if (pool.apply(add, t, i) != t + i) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("tasks spread over the workers, and short ones do not wait behind a long one") {
  Pool pool(4);
  CHECK(eventually([&] {
    const auto pids = pool.map(pid_after_a_while, std::vector<int>(4, 50), 1);
    return std::set<int>(pids.begin(), pids.end()).size() == 4;
  }));
  auto slow = pool.apply_async(nap, 60'000);
  auto short_ones = pool.map_async(square, numbers(1000), 1);
  CHECK(short_ones.wait_for(30s));
  CHECK(!slow.ready());
}

TEST_CASE("arguments and results of many sizes pass") {
  Pool pool(2);
  for (const std::size_t size : {0u, 1u, 100'000u, 5'000'000u}) {
    const std::string text(size, 'x');
    CHECK(pool.apply([](std::string given) { return given + "!"; }, text) == text + "!");
  }
}

TEST_CASE("a pool may use the program's manager") {
  ManagerHome home;
  Manager manager;
  {
    Pool pool({.processes = 2, .manager = manager});
    CHECK(pool.map(square, numbers(5)) == std::vector{0, 1, 4, 9, 16});
    CHECK(manager.objects().size() == 5);
  }
  CHECK(eventually([&] { return manager.objects().empty(); }));
}
