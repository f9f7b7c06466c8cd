// Workers killed while a pool works: every task ends, with its result, with WorkerDied, or after another run.
#include <commonhold/commonhold.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <numeric>
#include <random>
#include <set>
#include <thread>

#include "process/pool_worker.h"
#include "shm/extents.h"
#include "shm/object_table.h"
#include "shm/queue.h"
#include "support/children.h"
#include "support/manager_home.h"
#include "support/pool_tasks.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

int pid_then_pause() {
  for (;;) pause();
}

int work(int n) {
  std::this_thread::sleep_for(std::chrono::microseconds(200));
  return n;
}

// The queues of a pool in their order: that of results, then each worker's.
std::vector<shm::QueueControl*> queues_in(const shm::Segment& segment) {
  std::vector<shm::QueueControl*> queues;
  shm::for_each_object(segment, [&](const shm::ObjectInfo& info) {
    if (info.kind == shm::ObjectKind::kQueue) queues.push_back(segment.at<shm::QueueControl>(info.control));
  });
  return queues;
}

// Stops while it gives its queue's memory back.
int stop_with_queue_held(const std::string& folder) {
  const auto segment = shm::Segment::open(folder);
  const std::string name = current_process().name();
  auto* own = queues_in(*segment).at(std::stoul(name.substr(name.find('-') + 1)));
  const shm::HeldLock held(*segment->here(), own->putting);
  raise(SIGSTOP);
  return 0;
}

// Kills a worker of the pool now and then, for its lifetime.
class Killer {
 public:
  Killer(Pool& pool, std::uint32_t seed, int most_pause_us)
      : thread_([this, &pool, seed, most_pause_us] {
          std::mt19937 random(seed);
          while (!done_) {
            std::this_thread::sleep_for(std::chrono::microseconds(random() % most_pause_us));
            const auto pids = pool.worker_pids();
            // A worker that ends meanwhile is reaped by the pool: its number is not used again so soon.
            if (!pids.empty() && ::kill(pids[random() % pids.size()], random() % 2 == 0 ? SIGKILL : SIGTERM) == 0)
              ++kills_;
          }
        }) {}
  ~Killer() { stop(); }
  int stop() {
    done_ = true;
    if (thread_.joinable()) thread_.join();
    return kills_;
  }

 private:
  std::atomic<bool> done_{false};
  int kills_ = 0;
  std::thread thread_;
};

}  // namespace

TEST_CASE("a killed worker's task fails with its pid and signal, and the pool goes on") {
  Pool pool(1);
  for (const int signal : {SIGKILL, SIGTERM, SIGUSR2}) {
    auto result = pool.apply_async(pid_then_pause);
    auto next = pool.apply_async(work, 5);
    const int pid = pool.worker_pids().at(0);
    std::this_thread::sleep_for(5ms);  // it has the task by now, or takes it to nobody's harm
    ::kill(pid, signal);
    // It was killed before it had taken the task: then another worker has it.
    while (!result.wait_for(500ms)) {
      for (const int other : pool.worker_pids()) ::kill(other, signal);
    }
    try {
      result.get();
      FAIL("nothing was thrown");
    } catch (const WorkerDied& death) {
      CHECK(death.signal() == signal);
      CHECK(death.status() == 0);
      CHECK(death.pid() > 0);
      CHECK_THAT(death.what(), Contains(std::to_string(death.pid())) && Contains("signal " + std::to_string(signal)));
    }
    CHECK(next.get() == 5);
  }
}

TEST_CASE("a worker that is stopped in the middle of its queue holds up no other task, and not the pool's end") {
  Manager manager;
  Pool pool({.processes = 2, .manager = manager});
  auto stopped = pool.apply_async(stop_with_queue_held, manager.folder());
  REQUIRE(eventually([&] {
    const auto pids = pool.worker_pids();
    return std::any_of(pids.begin(), pids.end(), is_stopped);
  }));
  CHECK(pool.map(work, numbers(50), 1) == numbers(50));
  CHECK_FALSE(stopped.ready());
  pool.terminate();
  pool.join();
  CHECK_THROWS_AS(stopped.get(), PoolTerminated);
}

TEST_CASE("a pool that is closed while memory is full ends as soon as there is some") {
  auto manager = Manager::start({.memory_limit = 4 << 20});
  Pool pool({.processes = 1, .manager = manager});
  const auto segment = shm::Segment::open(manager.folder());
  auto* tasks = queues_in(*segment).at(1);
  const auto length = [](const std::string& text) { return text.size(); };
  const auto left = [&] {
    const shm::Offset at = shm::cursor_at(tasks->put_cursor), chunk = tasks->chunk_bytes;
    return (at & ~(chunk - 1)) + chunk - sizeof(shm::ChunkTrailer) - at;
  };
  // Until the worker's queue has no room for the news that the pool ends.
  const std::size_t before = left();
  REQUIRE(pool.apply(length, std::string()) == 0);
  const std::size_t overhead = before - left();
  while (left() > 2000) (void)pool.apply(length, std::string(800, 'x'));
  REQUIRE(left() > overhead);
  (void)pool.apply(length, std::string(left() - overhead, 'x'));
  REQUIRE(left() < 24);
  std::vector<shm::Offset> all(1);
  const shm::ChunkOwner nobody(54'321, 0);  // an object that there is not
  while (shm::take_chunk(*segment->here(), nobody, tasks->chunk_bytes, all.back()) == shm::Status::kOk) {
    all.push_back(0);
  }
  all.pop_back();
  pool.close();
  std::this_thread::sleep_for(200ms);
  for (const shm::Offset chunk : all) shm::give_chunk(*segment->here(), chunk, tasks->chunk_bytes);
  pool.join();
  CHECK(pool.worker_pids().empty());
}

TEST_CASE("a pool among whose results there is garbage fails what it was given, and ends") {
  using detail::ResultHead, detail::ResultKind, detail::message_of;
  const std::string wrong(8, '\xff');
  for (const std::string& garbage :
       {std::string(), std::string("short"), message_of({0, 1, ResultKind::kDone, wrong.size()}) + wrong,
        message_of({0, 1, ResultKind::kFailed}) + wrong, message_of({0, 0, ResultKind::kInitFailed})}) {
    Manager manager;
    Pool pool({.processes = 1, .manager = manager});
    const auto segment = shm::Segment::open(manager.folder());
    std::vector<std::string> tokens;
    shm::for_each_object(*segment, [&](const shm::ObjectInfo& info) {
      tokens.push_back(fmt::format("commonhold:1:{}.{}:{:016x}:{}", info.id.index, info.id.generation,
                                   segment->header().nonce, manager.folder()));
    });
    auto task = pool.apply_async(pid_then_pause);
    attach<Queue<std::string>>(tokens.at(0)).put(garbage);
    CHECK_THROWS_AS(task.get(), TaskError);
    CHECK_THROWS_AS(pool.apply(work, 1), TaskError);
    pool.terminate();
    pool.join();
  }
}

TEST_CASE("a task that ends its worker fails with the status") {
  Pool pool(1);
  const auto status_of = [](auto&& task) {
    try {
      task();
    } catch (const WorkerDied& death) {
      return death.signal() == 0 ? death.status() : -death.signal();
    }
    return -1000;
  };
  CHECK(status_of([&] { pool.apply([] { std::exit(3); }); }) == 3);
  CHECK(status_of([&] { pool.apply([] { throw Exit(4); }); }) == 4);
  CHECK(status_of([&] { pool.apply([] { _exit(0); }); }) == 0);
  CHECK(status_of([&] { pool.apply([] { raise(SIGUSR1); }); }) == -SIGUSR1);
  CHECK_THROWS_AS(pool.map([](int n) { return n == 2 ? (_exit(1), 0) : n; }, numbers(4), 1), WorkerDied);
  CHECK(pool.apply(work, 7) == 7);
}

TEST_CASE("a task is run again where that is asked for, as often as that") {
  ManagerHome home;
  Manager manager;
  auto runs = manager.value(0);
  auto task = inherited([&](int deaths) {
    if (++runs <= deaths) raise(SIGKILL);
    return getpid();
  });
  Pool pool({.processes = 2, .retries = 2});
  CHECK(pool.apply(task, 2) > 0);
  CHECK(runs == 3);
  runs = 0;
  CHECK_THROWS_AS(pool.apply(task, 3), WorkerDied);
  CHECK(runs == 3);
  runs = 0;
  CHECK(pool.apply_async(retried(5), task, 5).get() > 0);
  CHECK(runs == 6);
  runs = 0;
  CHECK_THROWS_AS(pool.apply_async(retried(0), task, 1).get(), WorkerDied);
  CHECK(runs == 1);
  runs = 0;
  CHECK(pool.map_async(then([](const std::vector<int>&) {}).retried(3), task, std::vector{3, 0, 0}, 1).get().size() ==
        3);
}

TEST_CASE("workers killed at random: every task ends, with its own result or with WorkerDied") {
  constexpr int kTasks = 3000;
  Pool pool(4);
  std::vector<AsyncResult<int>> results;
  Killer killer(pool, Catch::rngSeed(), 10'000);
  for (int i = 0; i < kTasks; ++i) results.push_back(pool.apply_async(work, i));
  int done = 0, died = 0;
  bool right = true;
  for (int i = 0; i < kTasks; ++i) {
    try {
      right = results[static_cast<std::size_t>(i)].get() == i && right;
      ++done;
    } catch (const WorkerDied& death) {
      right = death.signal() != 0 && right;
      ++died;
    }
  }
  const int kills = killer.stop();
  CHECK(right);
  CHECK(done + died == kTasks);
  CHECK(kills > 0);
  CHECK(died <= kills);  // no more than the task that each had in its hands
}

TEST_CASE("workers killed at random in short tasks and between them: no task runs twice, and each result ran once") {
  constexpr int kTasks = 20'000;
  ManagerHome home;
  Manager manager;
  auto runs = manager.array<int>(kTasks);
  auto task = inherited([&](int n) {
    runs[n] += 1;
    return n;
  });
  Pool pool(3);
  Killer killer(pool, Catch::rngSeed() + 4, 4000);
  auto results = pool.imap(task, numbers(kTasks));
  std::vector<bool> done(kTasks);
  int died = 0;
  for (int place = 0; place < kTasks; ++place) {
    try {
      done.at(static_cast<std::size_t>(results.next().value())) = true;
    } catch (const WorkerDied&) {
      ++died;
    }
  }
  CHECK(!results.next());
  CHECK(died <= killer.stop());
  int wrong = 0;
  for (int n = 0; n < kTasks; ++n) wrong += runs[n] > 1 || (done[static_cast<std::size_t>(n)] && runs[n] != 1);
  CHECK(wrong == 0);
}

TEST_CASE("workers killed at random while tasks are cancelled: each has its outcome, and none runs twice") {
  constexpr int kTasks = 3'000;
  ManagerHome home;
  Manager manager;
  auto runs = manager.array<int>(kTasks);
  auto task = inherited([&](int n) {
    runs[n] += 1;
    return n;
  });
  Pool pool(3);
  Killer killer(pool, Catch::rngSeed() + 5, 4000);
  std::vector<AsyncResult<int>> results;
  for (int n = 0; n < kTasks; ++n) {
    results.push_back(pool.apply_async(task, n));
    if (n % 3 == 0) (void)results[static_cast<std::size_t>(n / 2)].cancel();
  }
  int wrong = 0, died = 0;
  for (int n = 0; n < kTasks; ++n) {
    try {
      wrong += results[static_cast<std::size_t>(n)].get() != n || runs[n] != 1;
    } catch (const TaskCancelled&) {
    } catch (const WorkerDied&) {
      ++died;
    }
  }
  CHECK(died <= killer.stop());
  pool.close();
  pool.join();
  for (int n = 0; n < kTasks; ++n) wrong += runs[n] > 1;
  CHECK(wrong == 0);
}

TEST_CASE("workers killed at random while tasks may run again: all results are there") {
  for (const std::size_t chunk : {1, 50}) {
    Pool pool({.processes = 3, .retries = 1000});
    Killer killer(pool, Catch::rngSeed() + 1, 30'000);
    const auto items = numbers(2000);
    CHECK(pool.map(work, items, chunk) == items);
    std::vector<int> seen;
    auto results = pool.imap_unordered(work, items, chunk);
    std::size_t died = 0;
    for (;;) {
      try {
        const auto next = results.next();
        if (!next) break;
        seen.push_back(*next);
      } catch (const WorkerDied&) {
        died += chunk;
      }
    }
    std::sort(seen.begin(), seen.end());
    CHECK(seen == items);
    CHECK(died == 0);
    CHECK(killer.stop() > 0);
    pool.close();
    pool.join();
  }
}

TEST_CASE("workers killed at random while they change a shared value under a lock: the sum is that of the tasks") {
  ManagerHome home;
  Manager manager;
  auto sum = manager.value(0), begun = manager.value(0);
  auto lock = manager.lock();
  auto task = inherited([&](int n) {
    ++begun;
    std::scoped_lock guard(lock);
    sum += n;  // one step: done or not
    return n;
  });
  Pool pool(3);
  Killer killer(pool, Catch::rngSeed() + 2, 10'000);
  std::vector<AsyncResult<int>> results;
  for (int i = 0; i < 3000; ++i) results.push_back(pool.apply_async(task, 1));
  int done = 0, died = 0;
  for (auto& result : results) {
    try {
      done += result.get();
    } catch (const WorkerDied&) {
      ++died;
    }
  }
  killer.stop();
  CHECK(done + died == 3000);
  CHECK(sum >= done);
  CHECK(sum <= done + died);
}

TEST_CASE("workers killed at random do not keep a pool from closing or terminating") {
  for (int round = 0; round < 6; ++round) {
    Pool pool(3);
    Killer killer(pool, Catch::rngSeed() + 3 + static_cast<std::uint32_t>(round), 2000);
    auto results = pool.map_async(work, numbers(300), 1);
    if (round % 2 == 0) {
      pool.close();
    } else {
      std::this_thread::sleep_for(5ms);
      pool.terminate();
    }
    pool.join();
    CHECK(results.ready());
    killer.stop();
  }
  CHECK(active_children().empty());
}

TEST_CASE("with its program a pool's workers end, and nothing is left") {
  ManagerHome home;  // must be empty at its end
  Pipe pids(false);
  Process program([&] {
    Pool pool(3);
    pids.second.send(pool.worker_pids());
    pool.apply(pid_then_pause);
  });
  program.start();
  const auto workers = pids.first.recv<std::vector<int>>();
  CHECK(workers.size() == 3);
  program.kill();
  program.join();
  for (const int pid : workers) CHECK(eventually([&] { return is_gone(pid); }));
}
