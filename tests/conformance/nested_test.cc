// What users of Python's managers rely on: how long objects live, objects inside of objects, and the containers' calls.
// docs/semantics/nested.md names the test of each rule.
#include <catch2/catch.hpp>
#include <numeric>
#include <sstream>

#include <commonhold/commonhold.h>

#include "support/manager_home.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

template <typename T>
std::string shown(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

bool comes_to(const Manager& manager, std::size_t objects) {
  return eventually([&] { return manager.objects().size() == objects; });
}

}  // namespace

// ---- 14: proxies in general

TEST_CASE("printing a proxy prints its object, and results are copies") {
  ManagerHome home;
  Manager manager;
  auto list = manager.list<int>({1, 2, 3});
  REQUIRE(shown(list) == "[1, 2, 3]");
  auto copy = list.items();
  copy[0] = 100;
  REQUIRE(list.at(0) == 1);
  auto shallow = list;
  shallow.append(4);
  REQUIRE(list.size() == 4);
  REQUIRE(list == manager.list<int>({1, 2, 3, 4}));
  REQUIRE_FALSE(list.same_as(manager.list<int>({1, 2, 3, 4})));
}

TEST_CASE("a deep copy keeps proxies for what is nested, and a clean program leaves nothing") {
  ManagerHome home;
  Manager manager;
  {
    auto outer = manager.dict<std::string, List<int>>();
    outer.put("a", manager.list<int>({1}));
    auto copy = outer.to<std::map<std::string, List<int>>>();
    copy.at("a").append(2);
    REQUIRE(outer.at("a") == std::vector<int>{1, 2});
  }
  REQUIRE(comes_to(manager, 0));
}

// ---- 16: how long referents live

TEST_CASE("a proxy keeps its object: made, from a token, inherited by a fork") {
  ManagerHome home;
  Manager manager;
  std::optional<List<int>> made = manager.list<int>({1});
  auto from_token = attach<List<int>>(made->token());
  made.reset();
  REQUIRE(from_token.at(0) == 1);
  Process heir([=] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (from_token.at(0) != 1) throw std::runtime_error("it is gone");
  });
  heir.start();
  heir.join();
  REQUIRE(heir.exitcode() == 0);
}

TEST_CASE("the last proxy takes its object with it, and so does a process that ends or is killed") {
  ManagerHome home;
  Manager manager;
  auto go = manager.event();
  {
    auto list = manager.list<int>({1});
    REQUIRE(manager.objects().size() == 2);
  }
  REQUIRE(comes_to(manager, 1));
  for (const int signal : {0, SIGKILL}) {
    INFO("signal " << signal);
    const pid_t child = spawn([&] {
      auto list = manager.list<int>({1});
      go.wait();
      if (signal != 0) raise(signal);
    });
    REQUIRE(comes_to(manager, 2));  // the child has it
    go.set();
    REQUIRE(wait_for(child) == -signal);
    REQUIRE(comes_to(manager, 1));
    go.clear();
  }
}

TEST_CASE("what is stored inside lives on when every process has let go of it, and is the same object when fetched") {
  ManagerHome home;
  Manager manager;
  auto outer = manager.dict<std::string, List<int>>();
  pid_t child = spawn([&] {
    auto inner = manager.list<int>({1});
    outer.put("inner", inner);
    inner.append(2);
    raise(SIGKILL);
  });
  REQUIRE(wait_for(child) == -SIGKILL);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  auto first = outer.at("inner"), again = outer.at("inner");
  REQUIRE(first == std::vector<int>{1, 2});
  REQUIRE(first.same_as(again));
}

TEST_CASE("what was stored once is freed when it is taken out again") {
  ManagerHome home;
  Manager manager;
  auto outer = manager.list<List<int>>({manager.list<int>({1})});
  REQUIRE(comes_to(manager, 2));
  outer.clear();
  REQUIRE(comes_to(manager, 1));
}

TEST_CASE("a proxy that is sent through a pipe is kept until the other side has it, when the sender keeps it") {
  ManagerHome home;
  Manager manager;
  std::string token;
  {
    auto list = manager.list<int>({1});
    token = list.token();
    REQUIRE(attach<List<int>>(token).at(0) == 1);
  }
  REQUIRE(comes_to(manager, 0));
  REQUIRE_THROWS_AS(attach<List<int>>(token), ObjectGone);
}

TEST_CASE("a list may contain itself; printing it shows the inner one by its type") {
  ManagerHome home;
  Manager manager;
  auto list = manager.list<Any>({1});
  list.append(list);
  REQUIRE(list.at(1).as<List<Any>>().at(1).as<List<Any>>().at(0) == 1);
  REQUIRE(shown(list).find("[1, <list<any> ") == 0);
}

TEST_CASE("a plain container that is stored is a copy: change it and store it again") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, std::vector<int>>();
  std::vector<int> plain{1};
  dict["a"] = plain;
  plain.push_back(2);
  REQUIRE(dict.at("a") == std::vector<int>{1});
  auto copy = dict.at("a");
  copy.push_back(3);
  REQUIRE(dict.at("a").size() == 1);
  dict["a"] = copy;
  REQUIRE(dict.at("a") == std::vector<int>{1, 3});
}

TEST_CASE("an assignment to a part of what is nested is seen by all") {
  ManagerHome home;
  Manager manager;
  auto outer = manager.dict<std::string, Dict<std::string, int>>();
  outer.put("a", manager.dict<std::string, int>());
  Process other([=] { outer.at("a")["b"] = 5; });
  other.start();
  other.join();
  REQUIRE(outer.at("a").at("b") == 5);
  REQUIRE(outer["a"]->at("b") == 5);
}

TEST_CASE("references are equal when they mean the same object") {
  ManagerHome home;
  Manager manager;
  auto a = manager.lock(), b = manager.lock();
  auto list = manager.list<Lock>({a, b, a});
  REQUIRE(list.count(a) == 2);
  REQUIRE(list.index(b) == 1);
  list.remove(a);
  REQUIRE(list.size() == 2);
  REQUIRE(list.at(0) == b);
}

// ---- 17: the containers

TEST_CASE("a list has the calls of Python's list proxy") {
  ManagerHome home;
  Manager manager;
  auto list = manager.list<int>({3, 1, 2});
  list.append(4);
  list += std::vector<int>{5, 6};
  list.extend({7});
  list.insert(0, 0);
  REQUIRE(list == std::vector<int>{0, 3, 1, 2, 4, 5, 6, 7});
  REQUIRE(list.pop() == 7);
  REQUIRE(list.pop(1) == 3);
  REQUIRE(list.at(-1) == 6);
  REQUIRE(list.index(2) == 2);
  REQUIRE(list.index(5, 3) == 4);
  REQUIRE_THROWS_AS(list.index(5, 0, 2), ValueError);
  REQUIRE(list.count(1) == 1);
  REQUIRE(list.contains(4));
  list.remove(4);
  REQUIRE_THROWS_AS(list.remove(4), ValueError);
  list.reverse();
  REQUIRE(list == std::vector<int>{6, 5, 2, 1, 0});
  list.sort();
  list.sort(std::greater<>());
  REQUIRE(list.slice(1, 3) == std::vector<int>{5, 2});
  REQUIRE(list.slice(-2) == std::vector<int>{1, 0});
  REQUIRE(list.slice(50).empty());
  list.set_slice(0, 3, {9});
  list[0] = 8;
  list.erase(-1);
  list.erase_slice(1, 2);
  REQUIRE(list == std::vector<int>{8});
  REQUIRE_THROWS_AS(list.at(1), IndexError);
  REQUIRE_THROWS_AS(list.pop(5), IndexError);
  REQUIRE(list.size() == 1);
}

TEST_CASE("a dict has the calls of Python's dict proxy, in insertion order") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, int>({{"b", 1}, {"a", 2}});
  REQUIRE(dict.keys() == std::vector<std::string>{"b", "a"});
  REQUIRE(dict.values() == std::vector<int>{1, 2});
  REQUIRE(dict.items().at(0) == std::pair<std::string, int>("b", 1));
  REQUIRE(dict.setdefault("c", 3) == 3);
  REQUIRE(dict.setdefault("c", 4) == 3);
  dict.update({{"b", 5}, {"d", 6}});
  REQUIRE(shown(dict) == R"({"b": 5, "a": 2, "c": 3, "d": 6})");
  REQUIRE(dict.popitem() == std::pair<std::string, int>("d", 6));
  REQUIRE(dict.pop("c") == 3);
  REQUIRE(dict.pop("c", -1) == -1);
  REQUIRE_THROWS_AS(dict.pop("c"), KeyError);
  REQUIRE(dict.get("a", 0) == 2);
  REQUIRE(dict.find("none") == std::nullopt);
  REQUIRE_THROWS_AS(dict.at("none"), KeyError);
  REQUIRE(dict.contains("a"));
  REQUIRE(dict.to<std::map<std::string, int>>().size() == 2);
  dict.clear();
  REQUIRE(dict.empty());
  REQUIRE_THROWS_AS(dict.popitem(), KeyError);
}

TEST_CASE("iterating goes over one moment's copy: changes meanwhile neither show nor break it") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<int, int>({{1, 1}, {2, 2}});
  int seen = 0;
  for (const auto& [key, value] : dict) {
    dict.put(key + 10, value);
    ++seen;
  }
  REQUIRE(seen == 2);
  REQUIRE(dict.size() == 4);
  auto list = manager.list<int>({1, 2});
  for (int value : list) list.append(value);
  REQUIRE(list == std::vector<int>{1, 2, 1, 2});
}

TEST_CASE("a namespace has attributes that are set, read and deleted, and prints them sorted") {
  ManagerHome home;
  Manager manager;
  auto space = manager.ns({{"b", 2}, {"a", 1}, {"_private", 0}});
  REQUIRE(shown(space) == "Namespace(a=1, b=2)");
  space["c"] = "x";
  REQUIRE(space.get<std::string>("c") == "x");
  space.del("c");
  REQUIRE_FALSE(space.has("c"));
  REQUIRE_THROWS_AS(space.get("c"), AttributeError);
}

TEST_CASE("objects of every kind can be put into containers and taken out in another process") {
  ManagerHome home;
  Manager manager;
  auto all = manager.dict<std::string, Any>();
  all["dict"] = manager.dict<std::string, int>({{"x", 1}});
  all["list"] = manager.list<int>({1});
  all["set"] = manager.set<int>({1});
  all["namespace"] = manager.ns({{"x", 1}});
  all["value"] = manager.value(5);
  all["array"] = manager.array<double>({1.5});
  all["lock"] = manager.lock();
  REQUIRE(comes_to(manager, 8));
  Process other([=] {
    all.at("dict").as<Dict<std::string, int>>()["x"] += 1;
    all.at("list").as<List<int>>().append(2);
    all.at("set").as<Set<int>>().add(2);
    all.at("namespace").as<Namespace>()["x"] += 1;
    ++all.at("value").as<Value<int>>();
    all.at("array").as<Array<double>>()[0] = 2.5;
    all.at("lock").as<Lock>().lock();
    all.at("lock").as<Lock>().unlock();
  });
  other.start();
  other.join();
  REQUIRE(other.exitcode() == 0);
  REQUIRE(all.at("dict").as<Dict<std::string, int>>().at("x") == 2);
  REQUIRE(all.at("list").as<List<int>>().size() == 2);
  REQUIRE(all.at("set").as<Set<int>>().size() == 2);
  REQUIRE(all.at("namespace").as<Namespace>().get<int>("x") == 2);
  REQUIRE(all.at("value").as<Value<int>>().load() == 6);
  REQUIRE(all.at("array").as<Array<double>>()[0] == 2.5);
  all.clear();
  REQUIRE(comes_to(manager, 1));
}
