// A pool whose workers are fresh images of the program.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <numeric>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

int global = 0;
int initialised = 0;

void initialise() {
  initialised = 7;
}
void fail_to_initialise() {
  throw std::runtime_error("no licence");
}
int square(int n) {
  return n * n;
}
struct Adder {
  int base;
  int add(int n) const { return base + n; }
  virtual ~Adder() = default;
  virtual int twice(int n) const { return 2 * n; }
};
struct Offset {
  int base = 0;
  int add(int n) const { return base + n; }
};

}  // namespace

TEST_CASE("workers that are fresh images run functions, members, lambdas, states and bytes") {
  ManagerHome home;
  global = 5;
  Pool pool({.processes = 2, .fresh = true});
  CHECK(pool.apply([] { return global; }) == 0);  // the parent's memory is not theirs
  CHECK(pool.apply(square, 7) == 49);
  CHECK(pool.map(square, std::vector{1, 2, 3}) == std::vector{1, 4, 9});
  CHECK(pool.apply([](std::string text) { return text + "!"; }, "a") == "a!");
  CHECK(pool.apply(&Offset::add, Offset{40}, 2) == 42);
  int factor = 3;
  CHECK(pool.apply(by_value([factor](int n) { return factor * n; }), 5) == 15);
  CHECK(pool.apply(with_state([](const std::vector<int>& all, int n) { return all.at(static_cast<std::size_t>(n)); },
                              std::vector{7, 8, 9}),
                   2) == 9);
  for (const int pid : pool.worker_pids()) CHECK(pid != getpid());
  CHECK(pool.apply([] { return current_process().name().substr(0, 11); }) == "PoolWorker-");
}

TEST_CASE("shared objects, connections and descriptors reach fresh workers") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, int>({{"n", 1}});
  Pool pool({.processes = 1, .fresh = true, .manager = manager});
  pool.apply([](Dict<std::string, int> dict) { dict["n"] += 41; }, counts);
  CHECK(counts.at("n") == 42);
  Pipe pipe;
  pool.apply([](Connection end) { end.send(std::string("hello")); }, pipe.second);
  CHECK(pipe.first.recv<std::string>() == "hello");
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const FileDescriptor reads(ends[0]), writes(ends[1]);
  CHECK(pool.apply([](const FileDescriptor& to) { return write(to.get(), "abc", 3); }, writes) == 3);
  char text[4] = {};
  CHECK(read(reads.get(), text, 3) == 3);
  CHECK(std::string(text) == "abc");
}

TEST_CASE("a fresh worker that is killed is replaced; its task fails, or is run again") {
  ManagerHome home;
  Manager manager;
  Pool pool({.processes = 1, .fresh = true, .max_tasks_per_child = 5});
  CHECK_THROWS_AS(pool.apply([] { kill(getpid(), SIGKILL); }), WorkerDied);
  auto tries = manager.value<int>(0);
  const auto dies_once = [](Value<int> count) {
    if ((count += 1) == 1) kill(getpid(), SIGKILL);
    return 1;
  };
  CHECK(pool.apply(retried(1), dies_once, tries) == 1);
  for (int i = 0; i < 20; ++i) CHECK(pool.apply(square, i) == i * i);
  auto long_one = pool.apply_async(limited(100ms), [] { std::this_thread::sleep_for(60s); });
  CHECK_THROWS_AS(long_one.get(), TaskTimeout);
  CHECK_THROWS_WITH(pool.apply([]() -> int { throw std::invalid_argument("wrong"); }), Contains("wrong"));
}

TEST_CASE("the initializer of fresh workers is a function; what is inherited or has state is refused") {
  ManagerHome home;
  Pool pool({.processes = 1, .initializer = initialise, .fresh = true});
  CHECK(pool.apply([] { return initialised; }) == 7);
  CHECK(initialised == 0);
  int n = 1;
  CHECK_THROWS_WITH(Pool({.processes = 1, .initializer = [&n] { ++n; }, .fresh = true}),
                    Contains("must be a function"));
  auto callable = inherited([&n](int m) { return n + m; });
  CHECK_THROWS_WITH(pool.apply(callable, 1), Contains("inherit nothing"));
  Pool failing({.processes = 1, .initializer = fail_to_initialise, .fresh = true});
  CHECK_THROWS_WITH(failing.apply(square, 2), Contains("no licence"));
}
