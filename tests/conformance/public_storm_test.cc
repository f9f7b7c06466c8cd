// Workers that use every common kind of object through the public headers, and are killed at random; so is the server.
// Whoever works notes in private shared memory what it began and what it was told is done: nothing that was
// acknowledged may be lost, and nothing may be there that nobody began. No lock is waited for longer than 20 s, no call
// longer than 40 s.
//
// COMMONHOLD_STORM_KILLS=N: that many deaths instead of a few hundred.
#include <commonhold/manager.h>
#include <signal.h>
#include <sys/prctl.h>

#include <array>
#include <catch2/catch.hpp>
#include <iostream>
#include <optional>
#include <random>

#include "support/manager_home.h"
#include "support/managers.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

constexpr int kWorkers = 4;
constexpr std::int64_t kKeys = 8;

// Of one kind of change by one worker, through all its lives. Only the worker writes it.
struct Count {
  std::atomic<std::int64_t> begun{0}, done{0};
  template <typename Change>
  void change(Change&& change) {
    begun.fetch_add(1);
    change();
    done.fetch_add(1);
  }
};

struct Log {
  Count added, locked, fetched, stored, appended, queued, taken, ordered, removed;
  Count put[kKeys];
  std::atomic<std::int64_t> acknowledged[kKeys];  // of its own keys: the number of the last put that was, 0 of none
  std::atomic<std::int64_t> calls{0};
  char failure[200] = {};
};

struct Objects {
  explicit Objects(const Manager& manager)
      : counts(manager.dict<std::int64_t, std::int64_t>(named("counts"))),
        texts(manager.dict<std::string, std::string>(named("texts"))),
        list(manager.list<std::int64_t>(named("list"))),
        queue(manager.queue<std::int64_t>(named("queue"))),
        ordered(manager.priority_queue<std::int64_t>(named("ordered"))),
        lock(manager.lock(named("lock"))),
        total(manager.value<std::int64_t>(named("total"))),
        array(manager.array<std::int64_t>(named("array"), kWorkers)) {}

  Dict<std::int64_t, std::int64_t> counts;
  Dict<std::string, std::string> texts;
  List<std::int64_t> list;
  Queue<std::int64_t> queue;
  PriorityQueue<std::int64_t> ordered;
  Lock lock;
  Value<std::int64_t> total;
  Array<std::int64_t> array;
};

std::string key_of(int worker, std::int64_t key) {
  return "worker " + std::to_string(worker) + ", key " + std::to_string(key);
}
// Of changing length, so that blocks of many sizes come and go.
std::string text_of(std::int64_t n) {
  return std::to_string(n) + std::string(static_cast<std::size_t>(n * 37 % 400), 'x');
}

void work_once(Objects& objects, Log& log, int worker, std::uint64_t choice) {
  switch (choice % 10) {
    case 0:
      log.added.change([&] { objects.counts[worker] += 1; });
      break;
    case 1: {
      if (!objects.lock.try_lock_for(20s)) throw std::runtime_error("the lock is stuck");
      log.locked.change([&] { objects.counts.put(-1, objects.counts.get(-1, 0) + 1); });
      objects.lock.unlock();
      break;
    }
    case 2:
      log.fetched.change([&] { objects.total += 1; });
      break;
    case 3:
      log.stored.change([&] { objects.array[static_cast<std::size_t>(worker)] += 1; });
      break;
    case 4:
      log.appended.change([&] { objects.list.push_back(worker); });
      break;
    case 5:
      log.queued.change([&] { objects.queue.put(worker); });
      break;
    case 6:
      log.taken.begun.fetch_add(1);
      if (objects.queue.try_get()) {
        log.taken.done.fetch_add(1);
      } else {
        log.taken.begun.fetch_sub(1);
      }
      break;
    case 7:
      log.ordered.change([&] { objects.ordered.put(worker, worker); });
      break;
    case 8:
      log.removed.begun.fetch_add(1);
      if (objects.ordered.try_get()) {
        log.removed.done.fetch_add(1);
      } else {
        log.removed.begun.fetch_sub(1);
      }
      break;
    default: {
      const auto k = static_cast<std::int64_t>(choice / 16 % kKeys);
      std::int64_t number = 0;
      log.put[k].change([&] {
        number = log.put[k].begun.load();
        objects.texts.put(key_of(worker, k), text_of(number));
      });
      log.acknowledged[k].store(number);
    }
  }
}

pid_t start_worker(const std::string& folder, Objects& inherited, Log& log, int worker, std::uint64_t seed) {
  return spawn([&, folder, worker, seed] {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)!nice(5);  // else whoever kills them comes too seldom
    try {
      std::minstd_rand random(static_cast<unsigned>(seed));
      // One in four comes in by itself; the others inherit what their parent has.
      std::optional<Objects> own;
      if (seed % 4 == 0) own.emplace(Manager::connect(folder));
      Objects& objects = own ? *own : inherited;
      for (;;) {
        alarm(40);  // a call that never comes back ends this worker, which the test sees
        work_once(objects, log, worker, random());
        log.calls.fetch_add(1);
      }
    } catch (const std::exception& error) {
      std::string(error.what()).copy(log.failure, sizeof log.failure - 1);
      _exit(3);
    }
  });
}

struct Totals {
  std::int64_t begun = 0, done = 0;
};
template <typename Which>
Totals sum(const std::array<Log, kWorkers>& logs, Which&& which) {
  Totals totals;
  for (const Log& log : logs) {
    totals.begun += which(log).begun.load();
    totals.done += which(log).done.load();
  }
  return totals;
}

void require_between(std::int64_t value, const Totals& totals, const char* what) {
  INFO(what << ": " << value << " is there, " << totals.done << " were acknowledged, " << totals.begun << " begun");
  REQUIRE(value >= totals.done);
  REQUIRE(value <= totals.begun);
}

// REQUIRES: nobody works.
void check_all(Objects& objects, const std::array<Log, kWorkers>& logs) {
  for (int worker = 0; worker < kWorkers; ++worker) {
    const Log& log = logs[static_cast<std::size_t>(worker)];
    require_between(objects.counts.get(worker, 0), {log.added.begun, log.added.done}, "d[k] += 1");
    require_between(objects.array[static_cast<std::size_t>(worker)], {log.stored.begun, log.stored.done}, "array");
    for (std::int64_t k = 0; k < kKeys; ++k) {
      const std::string found = objects.texts.get(key_of(worker, k), "");
      const std::int64_t begun = log.put[k].begun, acknowledged = log.acknowledged[k];
      INFO(key_of(worker, k) << ": put " << acknowledged << " of " << begun << " was acknowledged last; it is \""
                             << found << '"');
      bool fits = found.empty() && acknowledged == 0;
      for (std::int64_t n = std::max<std::int64_t>(acknowledged, 1); n <= begun && !fits; ++n)
        fits = found == text_of(n);
      REQUIRE(fits);
    }
  }
  require_between(objects.counts.get(-1, 0),
                  sum(
                      logs, [](auto& log) -> auto& { return log.locked; }),
                  "under the lock");
  require_between(objects.total.load(),
                  sum(
                      logs, [](auto& log) -> auto& { return log.fetched; }),
                  "value");
  require_between(static_cast<std::int64_t>(objects.list.size()),
                  sum(
                      logs, [](auto& log) -> auto& { return log.appended; }),
                  "list");
  auto require_items = [&](std::int64_t left, const Totals& put, const Totals& taken, const char* what) {
    INFO(what << ": " << left << " items are left of " << put.done << " to " << put.begun << ", " << taken.done
              << " to " << taken.begun << " were taken");
    REQUIRE(left + taken.begun >= put.done);
    REQUIRE(left + taken.done <= put.begun);
  };
  require_items(static_cast<std::int64_t>(objects.queue.size()),
                sum(
                    logs, [](auto& log) -> auto& { return log.queued; }),
                sum(
                    logs, [](auto& log) -> auto& { return log.taken; }),
                "queue");
  require_items(static_cast<std::int64_t>(objects.ordered.size()),
                sum(
                    logs, [](auto& log) -> auto& { return log.ordered; }),
                sum(
                    logs, [](auto& log) -> auto& { return log.removed; }),
                "priority queue");
}

int number_of_kills() {
  const char* wanted = std::getenv("COMMONHOLD_STORM_KILLS");
  return wanted != nullptr ? std::atoi(wanted) : 400;
}

}  // namespace

TEST_CASE("programs and servers are killed at random, and no acknowledged change of any object is lost") {
  ServerGround ground;
  const auto address = ground.address("storm");
  const int kills = number_of_kills();
  int servers = 0;
  (void)serve(address);
  {
    const Manager manager = Manager::connect(address.folder);
    Objects objects(manager);
    Shared<std::array<Log, kWorkers>> logs;
    std::mt19937_64 random(Catch::rngSeed());
    std::array<pid_t, kWorkers> workers{};
    auto start = [&](int w) {
      workers[static_cast<std::size_t>(w)] =
          start_worker(address.folder, objects, (*logs)[static_cast<std::size_t>(w)], w, random());
    };
    auto end = [&](int w) {
      const pid_t worker = workers[static_cast<std::size_t>(w)];
      kill(worker, SIGKILL);
      const int status = wait_for(worker);
      INFO("worker " << w << ": " << (*logs)[static_cast<std::size_t>(w)].failure);
      REQUIRE(status == -SIGKILL);
    };
    for (int w = 0; w < kWorkers; ++w) start(w);
    for (int death = 1; death <= kills; ++death) {
      usleep(static_cast<unsigned>(random() % 1500));
      const int w = static_cast<int>(random() % kWorkers);
      end(w);
      if (death % 150 == 0) {
        kill_server(address);
        ++servers;
        if (random() % 2 == 0) usleep(static_cast<unsigned>(random() % 20'000));
        (void)serve(address);
      }
      if (death % 100 == 0) {
        for (int other = 0; other < kWorkers; ++other) {
          if (other != w) end(other);
        }
        check_all(objects, *logs);
        objects.list.clear();
        while (objects.queue.try_get()) {
        }
        while (objects.ordered.try_get()) {
        }
        for (Log& log : *logs) {
          for (Count* count : {&log.appended, &log.queued, &log.taken, &log.ordered, &log.removed}) {
            count->begun.store(0);
            count->done.store(0);
          }
        }
        for (int other = 0; other < kWorkers; ++other) {
          if (other != w) start(other);
        }
        if (kills > 1000 && death % 10'000 == 0) std::cout << death << " deaths\n" << std::flush;
      }
      start(w);
    }
    for (int w = 0; w < kWorkers; ++w) end(w);
    check_all(objects, *logs);
    std::int64_t calls = 0;
    for (const Log& log : *logs) calls += log.calls.load();
    std::cout << kills << " workers and " << servers << " servers were killed in " << calls << " calls\n";
    CHECK(calls > kills);
  }
  destroy(address);
}
