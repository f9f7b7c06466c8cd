// Values of whatever type, and containers of shared objects, on their way through pipes, pools and fresh processes.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <vector>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

using Counts = Dict<std::string, int>;

TEST_CASE("an Any goes through a pipe as what it holds") {
  ManagerHome home;
  Manager manager;
  Pipe pipe;
  const std::vector<Any> values{nullptr,
                                true,
                                66,
                                2.5,
                                "text",
                                Any::Bytes{std::byte{1}},
                                Any::list(1, "a", Any::list()),
                                Any::map({{"k", nullptr}})};
  for (const Any& value : values) {
    pipe.first.send(value);
    CHECK(pipe.second.recv<Any>() == value);
  }
  pipe.first.send(5);
  CHECK(pipe.second.recv<Any>() == 5);
  pipe.first.send(Any(5));
  CHECK(pipe.second.recv<int>() == 5);
  pipe.first.send(Any::list(1, 2));
  CHECK(pipe.second.recv<std::vector<int>>() == std::vector{1, 2});
  pipe.first.send(std::map<std::string, Any>{{"a", 1}});
  CHECK(pipe.second.recv<std::map<std::string, Any>>().at("a") == 1);
  pipe.first.send_descriptor(2);
  CHECK_THROWS_AS(pipe.second.recv<Any>(), TypeMismatch);
}

TEST_CASE("containers of shared objects go through a pipe and mean the same objects") {
  ManagerHome home;
  Manager manager;
  auto first = manager.dict<std::string, int>({{"n", 1}}), second = manager.dict<std::string, int>();
  Pipe pipe;
  Process child([&] {
    auto received = pipe.second.recv<std::vector<Counts>>();
    received.at(0)["n"] += 1;
    received.at(1)["m"] = 5;
    auto list = pipe.second.recv<Any>();
    pipe.second.send(list.at(1).as<Counts>().at("n") + list.at(0).as<int>());
    pipe.second.send(std::optional(received.at(1)));
    (void)pipe.second.recv<int>();
  });
  child.start();
  pipe.first.send(std::vector{first, second});
  pipe.first.send(Any::list(40, first));
  CHECK(pipe.first.recv<int>() == 42);
  CHECK(pipe.first.recv<std::optional<Counts>>() == std::optional(second));
  pipe.first.send(0);
  child.join();
  CHECK(second.at("m") == 5);
  pipe.first.send(std::vector{first});
  CHECK_THROWS_AS(pipe.second.recv<std::vector<List<int>>>(), TypeMismatch);
}

TEST_CASE("a connection is an argument and a result of a pool") {
  ManagerHome home;
  Pool pool(2);
  Listener listener;
  for (int round = 0; round < 3; ++round) {
    Client client(listener.address());
    auto done = pool.apply_async(
        [](Connection connection) {
          connection.send(connection.recv<int>() + 1);
          return connection;
        },
        listener.accept());
    client.send(41);
    CHECK(client.recv<int>() == 42);
    Connection back = done.get();
    back.send(7);
    CHECK(client.recv<int>() == 7);
  }
}

TEST_CASE("an Any, and containers of shared objects, are arguments and results of a pool") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, int>({{"n", 1}});
  Pool pool(1);
  CHECK(pool.apply([](Any value) { return value; }, Any::list(1, "a")) == Any::list(1, "a"));
  const auto results = pool.map([](const Any& value) { return value.is_text(); }, std::vector<Any>{1, "a"});
  CHECK(results == std::vector{false, true});
  const auto same = pool.apply(
      [](std::vector<Counts> all) {
        all.at(0)["n"] += 1;
        return all;
      },
      std::vector{counts});
  CHECK(same.at(0) == counts);
  CHECK(counts.at("n") == 2);
}
