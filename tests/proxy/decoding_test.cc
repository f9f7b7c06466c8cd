// A value that cannot be decoded: the calls that would take it out of an object throw, and it stays where it was.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <compare>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

struct Brittle {
  int number = 0;
  auto operator<=>(const Brittle&) const = default;
};

bool breaks = false;

}  // namespace

template <>
struct commonhold::Codec<Brittle> {
  static constexpr std::string_view name = "brittle";
  static std::string encode(const Brittle& value) { return std::to_string(value.number); }
  static Brittle decode(std::string_view bytes) {
    if (breaks && bytes == "2") throw std::domain_error("it is broken");
    return {std::stoi(std::string(bytes))};
  }
};

TEST_CASE("an element whose decoding fails stays in its list, whichever call would have removed it") {
  ManagerHome home;
  Manager manager;
  auto list = manager.list<Brittle>({{2}, {1}, {2}});
  auto nested = manager.list<std::vector<Brittle>>();
  nested.append({{1}, {2}});
  breaks = true;
  CHECK_THROWS_AS(list.pop(), std::domain_error);
  CHECK_THROWS_AS(list.pop_back(), std::domain_error);
  CHECK_THROWS_AS(list.try_pop_back(), std::domain_error);
  CHECK_THROWS_AS(list.pop_front(), std::domain_error);
  CHECK_THROWS_AS(list.pop(0), std::domain_error);
  CHECK_THROWS_AS(nested.pop(), std::domain_error);
  CHECK(list.pop(1) == Brittle{1});
  breaks = false;
  CHECK(list.items() == std::vector<Brittle>{{2}, {2}});
  CHECK(list.pop_front() == Brittle{2});
  CHECK(list.pop() == Brittle{2});
  CHECK(nested.pop() == std::vector<Brittle>{{1}, {2}});
}

TEST_CASE("a value or element whose decoding fails stays in its dict or set, and is not replaced by exchange") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, Brittle>();
  auto set = manager.set<Brittle>();
  dict.put("a", {2});
  set.add({1});
  set.add({2});
  breaks = true;
  CHECK_THROWS_AS(dict.pop("a"), std::domain_error);
  CHECK_THROWS_AS(dict.try_pop("a"), std::domain_error);
  CHECK_THROWS_AS(dict.popitem(), std::domain_error);
  CHECK_THROWS_AS(dict.exchange("a", {3}), std::domain_error);
  CHECK_THROWS_AS(set.pop(), std::domain_error);
  CHECK_THROWS_AS(set.try_pop(), std::domain_error);
  breaks = false;
  CHECK(dict.size() == 1);
  CHECK(dict.popitem() == std::pair<std::string, Brittle>{"a", {2}});
  CHECK(set.pop() == Brittle{2});
  CHECK(set.pop() == Brittle{1});
  CHECK(set.empty());
}

TEST_CASE("an item whose decoding fails stays in its queue, for others who wait") {
  ManagerHome home;
  Manager manager;
  for (auto& queue : {manager.queue<Brittle>(), manager.queue<Brittle>(QueueOptions{.redeliver = true})}) {
    queue.put({2});
    breaks = true;
    CHECK_THROWS_AS(queue.get(), std::domain_error);
    CHECK_THROWS_AS(queue.get_many(5), std::domain_error);
    breaks = false;
    CHECK(queue.size() == 1);
    CHECK(queue.get() == Brittle{2});
  }
}
