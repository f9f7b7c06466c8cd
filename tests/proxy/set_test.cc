// Sets that processes share, against std::set.
#include <commonhold/set.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <sstream>

#include <commonhold/attach.h>
#include <commonhold/manager.h>
#include <commonhold/process.h>

#include "support/process_shared.h"

using namespace commonhold;

TEST_CASE("adding and discarding say in one step what there was") {
  Manager manager;
  auto set = manager.set<std::string>({"a"});
  REQUIRE(set.add("b"));
  REQUIRE_FALSE(set.add("b"));
  REQUIRE(set.contains("b"));
  REQUIRE(set.count("c") == 0);
  REQUIRE(set.discard("b"));
  REQUIRE_FALSE(set.discard("b"));
  REQUIRE(set.erase("a") == 1);
  REQUIRE(set.empty());
  REQUIRE_THROWS_AS(set.remove("a"), KeyError);
  REQUIRE_THROWS_AS(set.pop(), KeyError);
  set.add("x");
  set.add("y");
  REQUIRE(set.pop() == "y");
  set.remove("x");
  REQUIRE(set.try_pop() == std::nullopt);
}

TEST_CASE("elements come in insertion order and print so") {
  Manager manager;
  auto set = manager.set<int>({3, 1, 2, 1});
  REQUIRE(set.items() == std::vector<int>{3, 1, 2});
  set.add(3);
  set.update({0, 1});
  std::ostringstream out;
  out << set << ' ' << manager.set<int>();
  REQUIRE(out.str() == "{3, 1, 2, 0} {}");
  int sum = 0;
  for (int element : set) sum += element;
  REQUIRE(sum == 6);
}

TEST_CASE("sets are combined and compared with sets and with ranges") {
  Manager manager;
  auto a = manager.set<int>({1, 2, 3}), b = manager.set<int>({3, 4});
  REQUIRE((a | b) == std::vector<int>{1, 2, 3, 4});
  REQUIRE((a & b) == std::vector<int>{3});
  REQUIRE((a - b) == std::vector<int>{1, 2});
  REQUIRE((a ^ b) == std::vector<int>{1, 2, 4});
  REQUIRE(a.union_with({9}) == std::vector<int>{1, 2, 3, 9});
  REQUIRE(a.intersection(std::vector<int>{2, 3, 3}) == std::vector<int>{2, 3});
  REQUIRE(a.is_superset({1, 2}));
  REQUIRE(a.is_subset({1, 2, 3, 4}));
  REQUIRE_FALSE(a.is_disjoint(b));
  REQUIRE(a == std::set<int>{1, 2, 3});
  REQUIRE(a == manager.set<int>({3, 2, 1}));
  REQUIRE(a != b);
  REQUIRE(manager.set<int>({1}) < a);
  REQUIRE(a <= a);
  REQUIRE_FALSE(a < a);
  REQUIRE(a >= manager.set<int>());
  a.difference_update({1});
  REQUIRE(a == std::set<int>{2, 3});
  a.symmetric_difference_update({3, 5, 5});
  REQUIRE(a == std::set<int>{2, 5});
  a.intersection_update({5, 6});
  REQUIRE(a == std::set<int>{5});
  a |= b;
  REQUIRE(a == std::set<int>{5, 3, 4});
  a.assign({7});
  REQUIRE(a.items() == std::vector<int>{7});
  a.clear();
  REQUIRE(a.size() == 0);
}

TEST_CASE("of several processes that add an element exactly one is told that it was new") {
  Manager manager;
  auto set = manager.set<int>();
  test::Shared<std::atomic<int>> added;
  std::vector<Process> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([=, &added] {
      for (int k = 0; k < 500; ++k) *added += set.add(k);
    });
  }
  for (auto& worker : workers) worker.start();
  for (auto& worker : workers) worker.join();
  REQUIRE(*added == 500);
  REQUIRE(set.size() == 500);
}

TEST_CASE("random operations leave what std::set holds") {
  INFO("seed " << Catch::rngSeed());
  std::mt19937 random(Catch::rngSeed());
  Manager manager;
  auto set = manager.set<std::uint16_t>();
  std::set<std::uint16_t> model;
  for (int step = 0; step < 5000; ++step) {
    auto element = static_cast<std::uint16_t>(random() % 200);
    switch (random() % 4) {
      case 0:
        REQUIRE(set.discard(element) == (model.erase(element) != 0));
        break;
      case 1:
        if (auto popped = set.try_pop()) REQUIRE(model.erase(*popped) == 1);
        break;
      default:
        REQUIRE(set.add(element) == model.insert(element).second);
    }
    REQUIRE(set.size() == model.size());
  }
  REQUIRE(set == model);
}

TEST_CASE("a set is found by its name, and one of other elements is another type") {
  Manager manager;
  manager.set<int>(named("seen")).add(1);
  REQUIRE(manager.open<Set<int>>("seen").contains(1));
  REQUIRE_THROWS_AS(manager.open<Set<std::string>>("seen"), TypeMismatch);
  auto sets = manager.dict<std::string, Set<int>>();
  sets.put("s", manager.set<int>(named("seen")));
  sets.at("s").add(2);
  REQUIRE(manager.set<int>(named("seen")).size() == 2);
  auto mixed = manager.set<Any>({1, "one", nullptr});
  REQUIRE(mixed.contains("one"));
  REQUIRE_FALSE(mixed.contains("two"));
}
