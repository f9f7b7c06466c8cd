// Shared objects and connections on their way: nobody but the message keeps them.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "process/identity.h"
#include "support/manager_home.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

using Counts = Dict<std::string, int>;

TEST_CASE("a temporary proxy sent over a pipe arrives, however late it is received") {
  ManagerHome home;
  Manager manager;
  Pipe pipe;
  pipe.first.send(manager.dict<std::string, int>({{"a", 1}}));
  manager.dict<int, int>();
  std::this_thread::sleep_for(50ms);
  auto counts = pipe.second.recv<Counts>();
  CHECK(counts.at("a") == 1);
  // Received, it is like any other.
  CHECK(manager.objects().size() == 1);
  counts = manager.dict<std::string, int>();
  CHECK(eventually([&] { return manager.objects().size() == 1; }));
}

TEST_CASE("an object in a pipe outlives the process that sent it") {
  ManagerHome home;
  Manager manager = Manager::start({.name = "sent"});
  for (bool killed : {false, true}) {
    Pipe pipe;
    const pid_t sender = spawn([&] {
      Manager own = Manager::connect("sent");
      pipe.first.send(own.dict<std::string, int>({{"a", 2}}));
      if (killed) kill(getpid(), SIGKILL);
    });
    CHECK(wait_for(sender) == (killed ? -SIGKILL : 0));
    manager.dict<int, int>();
    std::this_thread::sleep_for(50ms);
    CHECK(pipe.second.recv<Counts>().at("a") == 2);
  }
  CHECK(eventually([&] { return manager.objects().empty(); }));
  manager.shutdown();
}

TEST_CASE("temporary proxies are a pool's arguments, of the pool's manager and of another") {
  ManagerHome home;
  Manager manager;
  PoolOptions options;
  options.processes = 2;
  options.manager = manager;
  Pool shares(options), own(1);
  for (Pool* pool : {&shares, &own}) {
    for (int i = 0; i < 10; ++i) {
      auto result = pool->apply_async(
          [](const Counts& counts) {
            std::this_thread::sleep_for(2ms);
            return counts.at("a");
          },
          manager.dict<std::string, int>({{"a", i}}));
      CHECK(result.get() == i);
    }
    std::vector<Counts> many;
    for (int i = 0; i < 6; ++i) many.push_back(manager.dict<std::string, int>({{"a", i}}));
    auto results = pool->map_async([](const Counts& counts) { return counts.at("a"); }, many);
    many.clear();
    CHECK(results.get() == std::vector<int>{0, 1, 2, 3, 4, 5});
  }
}

TEST_CASE("temporary proxies inside of a task's values and of its callable's state are there in each run of it") {
  ManagerHome home;
  Manager manager;
  auto runs = manager.value(0);
  // What a dead worker referred to is let go before the next one looks for it.
  Pool pool({.processes = 1, .initializer = [] { std::this_thread::sleep_for(100ms); }, .retries = 1});
  const auto temporary = [&](int i) { return manager.dict<std::string, int>({{"a", i}}); };
  const auto sum = [](Value<int> count, const std::vector<Counts>& many, const Any& one, const Counts& alone) {
    if (++count == 1) raise(SIGKILL);
    int sum = one.at("one").as<Counts>().at("a") + alone.at("a");
    for (const Counts& counts : many) sum += counts.at("a");
    return sum;
  };
  const auto one = [&] { return Any::map({{"one", temporary(4)}}); };
  auto applied = pool.apply_async(sum, runs, std::vector{temporary(1), temporary(2)}, one(), temporary(8));
  CHECK(applied.get() == 15);
  runs = 0;
  auto mapped =
      pool.map_async(with_state(sum, runs, std::vector{temporary(1), temporary(2)}, one()), std::vector{temporary(8)});
  CHECK(mapped.get() == std::vector{15});
  // They were kept for as long, no longer.
  pool.close();
  pool.join();
  CHECK(eventually([&] { return manager.objects().size() == 1; }));
}

TEST_CASE("objects that a pool's worker made are results, read once, again, or one after the other") {
  ManagerHome home;
  Manager manager = Manager::start({.name = "results"});
  Pool pool(1);
  const auto make = [](int i) {
    static Manager in_worker = Manager::connect("results");
    return in_worker.dict<std::string, int>({{"a", i}});
  };
  auto result = pool.apply_async(make, 5);
  result.wait();
  manager.dict<int, int>();
  std::this_thread::sleep_for(20ms);
  CHECK(result.get().at("a") == 5);
  CHECK(result.get().at("a") == 5);
  int next = 0;
  const std::vector<int> items{0, 1, 2, 3, 4};
  for (const Counts& counts : pool.imap(make, items)) CHECK(counts.at("a") == next++);
  CHECK(next == 5);
  const auto make_inside = [](int i) {
    static Manager in_worker = Manager::connect("results");
    return std::pair(std::vector{in_worker.dict<std::string, int>({{"a", i}})},
                     Any::list(in_worker.dict<std::string, int>({{"a", i}})));
  };
  auto inside = pool.apply_async(make_inside, 7);
  auto many = pool.map_async(make_inside, std::vector{8, 8});
  for ([[maybe_unused]] const char* time : {"once", "again"}) {
    auto all = many.get();
    all.push_back(inside.get());
    for (const auto& [counts, any] : all) CHECK(counts.at(0).at("a") == any.at(0).as<Counts>().at("a"));
    CHECK(all.back().first.at(0).at("a") == 7);
    all.clear();
    manager.dict<int, int>();  // what nobody refers to goes now at the latest
    std::this_thread::sleep_for(20ms);
  }
  inside = pool.apply_async(make_inside, 9);
  many = pool.map_async(make_inside, std::vector<int>());
  inside.wait();
  result = pool.apply_async(make, 6);
  CHECK(eventually([&] { return manager.objects().size() <= 3; }));
  CHECK(result.get().at("a") == 6);
  pool.close();
  pool.join();
  manager.shutdown();
}

TEST_CASE("a connection that was a task's argument ends with the task, also when nobody took it") {
  Pool pool(1);
  (void)pool.apply_async([] {
    for (;;) pause();
  });
  Pipe pipe;
  auto result = pool.apply_async([](Connection connection) { connection.send(1); }, pipe.first);
  pipe.first.close();
  CHECK_FALSE(pipe.second.poll());
  pool.terminate();
  pool.join();
  CHECK_THROWS_AS(result.get(), PoolTerminated);
  REQUIRE(pipe.second.poll_for(10s));
  CHECK_THROWS_AS(pipe.second.recv<int>(), EndOfFile);
}

TEST_CASE("a task's connections, alone or in another value, end where the task closes them, though it goes on") {
  ManagerHome home;
  Manager manager;
  auto go_on = manager.event();
  Pool pool(1);
  Pipe one, two;
  std::vector<Connection> ends;
  ends.push_back(std::move(one.first));
  auto result = pool.apply_async(
      [](std::vector<Connection> taken, Connection other, Event event) {
        taken.clear();
        other.close();
        event.wait();
      },
      ends, two.first, go_on);
  ends.clear();
  two.first.close();
  for (Connection* end : {&one.second, &two.second}) {
    REQUIRE(end->poll_for(10s));
    CHECK_THROWS_AS(end->recv<int>(), EndOfFile);
  }
  go_on.set();
  result.get();
}

TEST_CASE("a task that is run again after its worker's death has its connections again") {
  ManagerHome home;
  Manager manager;
  auto tries = manager.value<int>(0);
  Pool pool(1);
  Pipe pipe;
  const auto dies_once = [](Connection connection, Value<int> count) {
    if ((count += 1) == 1) kill(getpid(), SIGKILL);
    connection.send(5);
  };
  pool.apply(retried(1), dies_once, pipe.first, tries);
  CHECK(pipe.second.recv<int>() == 5);
  CHECK(tries == 2);
}

TEST_CASE("a child that is forked while a connection is offered does not keep it open, nor its sender's place") {
  ManagerHome home;
  Manager manager;
  auto offers = manager.queue<Connection>();
  auto inner = manager.value(0);
  Pipe pipe;
  Process sender([&] {
    offers.put(pipe.first);
    pipe.first.close();
    // All that the child has of the pipe now is what the sender offers.
    if (fork() == 0) {
      inner = getpid();
      for (;;) pause();
    }
    for (;;) pause();
  });
  sender.start();
  pipe.first.close();
  REQUIRE(eventually([&] { return inner != 0; }));
  sender.kill();
  sender.join();
  REQUIRE(pipe.second.poll_for(10s));
  CHECK_THROWS_AS(pipe.second.recv<int>(), EndOfFile);
  CHECK_THROWS_WITH(offers.get(), Catch::Contains("has ended"));
  CHECK(offers.empty());
  kill(inner, SIGKILL);
}

TEST_CASE("a connection in a pool's result that nobody reads ends with the result, not with the worker") {
  Pool pool(1);
  const auto give_back = [](Connection connection) { return connection; };
  const auto ends_after = [&](auto&& task_and_drop) {
    Pipe pipe;
    task_and_drop(pipe.first);
    REQUIRE(pipe.second.poll_for(10s));
    CHECK_THROWS_AS(pipe.second.recv<int>(), EndOfFile);
  };
  ends_after([&](Connection& connection) {
    auto result = pool.apply_async(give_back, connection);
    connection.close();
    result.wait();
    std::this_thread::sleep_for(20ms);
    CHECK(result.get().writable());  // one that is read works
  });
  ends_after([&](Connection& connection) {
    auto result = pool.apply_async(give_back, connection);
    connection.close();
    result.wait();
  });
  ends_after([&](Connection& connection) {
    (void)pool.apply_async(give_back, connection);  // dropped before it comes
    connection.close();
  });
  // The result cannot be sent: a part of it is not to be had.
  ends_after([&](Connection& connection) {
    auto result = pool.apply_async(
        [](Connection one) {
          Pipe other;
          other.first.close();
          return std::pair(std::move(one), std::move(other.first));
        },
        connection);
    connection.close();
    CHECK_THROWS_AS(result.get(), Error);
  });
  CHECK(pool.apply([] { return 1; }) == 1);
}

TEST_CASE("a connection that is offered is taken while another client of its sender says nothing") {
  Pipe pipe;
  const std::string ticket = detail::offer_connection(pipe.first);
  pipe.first.close();
  Client silent(Address(ticket.substr(ticket.find(':', ticket.find(':') + 1) + 1)),
                {.authkey = detail::identity().authkey});
  Connection taken = detail::redeem_connection(ticket);
  CHECK_FALSE(silent.poll());  // the sender waits for its word still
  taken.send(7);
  CHECK(pipe.second.recv<int>() == 7);
  detail::redeem_connection(ticket).send(8);
  CHECK(pipe.second.recv<int>() == 8);
  detail::withdraw_offer(ticket);
  CHECK_THROWS_AS(detail::redeem_connection(ticket), SystemError);
  for (const char* wrong : {"", "connection:", "connection::x", "connection:1", "connection:-1:x", "connection:1x:y",
                            "connection:99999999999999999999:x", "parcel:1:x"}) {
    CHECK_THROWS_AS(detail::redeem_connection(wrong), ValueError);
  }
}
