// What people write first.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

TEST_CASE("a text by itself names an object of every type") {
  ManagerHome home;
  Manager manager;
  const std::string scores = "scores";
  manager.dict<std::string, int>(scores)["a"] = 1;
  CHECK(manager.dict<std::string, int>("scores")["a"] == 1);
  CHECK(manager.dict<std::string, int>("scores", {{"b", 2}}).size() == 1);
  CHECK(manager.list<int>("numbers", {1, 2}) == std::vector{1, 2});
  CHECK(manager.list<int>("numbers") == std::vector{1, 2});
  CHECK(manager.list<std::string>({"numbers"}) == std::vector<std::string>{"numbers"});
  CHECK(manager.set<std::string>("words", {"a"}).same_as(manager.set<std::string>("words")));
  CHECK(manager.value<int>("hits", 3) == 3);
  CHECK(manager.value<bool>("open") == false);
  CHECK(manager.array<int>("cells", 4).size() == 4);
  CHECK(manager.array<int>("filled", {1, 2})[1] == 2);
  CHECK(manager.ns("settings", {{"n", 1}}).name() == "settings");
  CHECK(manager.ns("settings")["n"] == 1);
  CHECK(manager.lock("till").name() == "till");
  CHECK(manager.lock("other", LockOptions{}).name() == "other");
  CHECK(manager.rlock("till again").name() == "till again");
  CHECK(manager.condition("changed").name() == "changed");
  CHECK(manager.event("ready").name() == "ready");
  CHECK(manager.barrier("line", 2).parties() == 2);
  CHECK(manager.queue<int>("orders").name() == "orders");
  CHECK(manager.queue<int>("orders of two", {.maxsize = 2}).name() == "orders of two");
  CHECK(manager.simple_queue<int>("simple").name() == "simple");
  CHECK(manager.lifo_queue<int>("stack").name() == "stack");
  CHECK(manager.priority_queue<int>("by priority").name() == "by priority");
  CHECK(manager.semaphore("seats", 4).name() == "seats");
  CHECK(manager.bounded_semaphore("bounded", 4).name() == "bounded");
  CHECK(manager.rwlock("book").name() == "book");
  // Of chars a text is the contents.
  CHECK(manager.array<char>(std::string("abc")).size() == 3);
}

TEST_CASE("a list, a set and a dict take the types of what they are filled with") {
  ManagerHome home;
  Manager manager;
  const auto numbers = manager.list({1, 2, 3});
  static_assert(std::is_same_v<decltype(numbers), const List<int>>);
  CHECK(numbers == std::vector{1, 2, 3});
  CHECK(manager.list(std::vector<std::string>{"a"}) == std::vector<std::string>{"a"});
  CHECK(manager.set(std::vector{1, 1, 2}).size() == 2);
  const auto scores = manager.dict({{"anna", 3}, {"bert", 4}});
  static_assert(std::is_same_v<decltype(scores), const Dict<std::string, int>>);
  CHECK(scores["bert"] == 4);
  static_assert(std::is_same_v<decltype(manager.dict({{1, 2.5}})), Dict<int, double>>);
  CHECK(manager.dict({{1, "one"}, {2, "two"}})[2] == "two");
  CHECK(manager.dict({{std::string("on"), true}}).at("on"));
  CHECK(manager.list({"a", "b"}).items() == std::vector<std::string>{"a", "b"});
  CHECK(manager.set({1, 2, 1}).size() == 2);
  CHECK(manager.set({"a", "b"}).contains("b"));
}

TEST_CASE("a manager is joined where it is served, and started where it is not, by whoever comes first") {
  ManagerHome home;
  {
    const auto first = Manager::connect_or_start("stock", {.memory_limit = 64 << 20});
    first.value<int>("count", 5);
    CHECK(Manager::connect_or_start("stock").value<int>("count") == 5);
    first.detach();
    CHECK(Manager::connect_or_start("stock").value<int>("count") == 5);
    Manager::connect("stock").shutdown();
  }
  CHECK_THROWS_AS(Manager::connect_or_start(""), ValueError);
  std::vector<Process> programs;
  for (int i = 0; i < 4; ++i) {
    programs.emplace_back([] { Manager::connect_or_start("race").value<int>("count") += 1; });
    programs.back().start();
  }
  for (Process& program : programs) {
    program.join();
    CHECK(program.exitcode() == 0);
  }
  const auto manager = Manager::connect("race");
  CHECK(manager.value<int>("count") == 4);
  manager.shutdown();
}

namespace {

template <typename Place>
concept Readable = requires(Place& place) {
  static_cast<int>(place);
};

}  // namespace

TEST_CASE("elements are exchanged, and no variable is a place that can be read") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, int>({{"a", 1}, {"b", 2}});
  swap(dict["a"], dict["b"]);
  CHECK(dict == std::map<std::string, int>{{"a", 2}, {"b", 1}});
  using Place = decltype(dict["a"]);
  STATIC_REQUIRE_FALSE(Readable<Place>);
  STATIC_REQUIRE(Readable<const Place>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Place>);
  const int before = dict["a"];
  dict["a"] += 10;
  CHECK(before == 2);
}

TEST_CASE("division, remainder and shifts of elements and values are atomic, and refuse what has no result") {
  ManagerHome home;
  Manager manager;
  auto value = manager.value<int>(100);
  auto list = manager.list<std::int8_t>({-128, 7, 1});
  auto dict = manager.dict<std::string, double>({{"a", 1.0}});
  auto array = manager.array<std::uint16_t>({40'000});
  CHECK((value /= 3) == 33);
  CHECK((value %= 8) == 1);
  CHECK((value <<= 5) == 32);
  CHECK((value >>= 1) == 16);
  CHECK((list[0] /= std::int8_t{-1}) == -128);  // the least number wraps around
  CHECK((list[0] %= std::int8_t{-1}) == 0);
  CHECK((list[1] /= std::int8_t{2}) == 3);
  CHECK((list[2] <<= std::int8_t{7}) == -128);
  CHECK((list[2] >>= std::int8_t{7}) == -1);
  CHECK((dict["a"] /= 4) == 0.25);
  CHECK((dict["a"] /= 0) == std::numeric_limits<double>::infinity());
  CHECK((array[0] >>= 3) == 5'000);
  CHECK_THROWS_AS(value /= 0, ValueError);
  CHECK_THROWS_AS(list[1] %= std::int8_t{0}, ValueError);
  CHECK_THROWS_AS(value <<= 32, ValueError);
  CHECK_THROWS_AS(value >>= -1, ValueError);
  CHECK(value == 16);
  CHECK(list[1] == 3);

  auto product = manager.value<std::uint64_t>(std::uint64_t{1} << 60);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 20; ++n) product /= 2;
      });
    }
  }
  CHECK(product == 1);
}
