// What each call of Dict does.
#include <commonhold/manager.h>

#include <catch2/catch.hpp>
#include <map>
#include <ranges>
#include <sstream>
#include <unordered_map>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using Counts = Dict<std::string, std::int64_t>;

namespace {

struct Stock {
  std::int32_t amount;
  double price;
  bool operator==(const Stock&) const = default;
};

struct Wide {
  alignas(64) std::int64_t words[16];
};

template <typename T>
std::string shown(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

using Entries = std::vector<std::pair<std::string, std::int64_t>>;

}  // namespace

TEST_CASE("a dict is made empty, from a list, from a range or from a map") {
  ManagerHome home;
  Manager manager;
  CHECK(manager.dict<std::string, std::int64_t>().empty());
  CHECK(manager.dict<std::string, std::int64_t>({{"a", 1}}).items() == Entries{{"a", 1}});
  CHECK(manager.dict<std::string, std::int64_t>({{"a", 1}, {"b", 2}, {"a", 3}}).items() == Entries{{"a", 3}, {"b", 2}});
  const std::map<std::string, std::int64_t> ordered{{"x", 1}, {"y", 2}};
  CHECK(manager.dict(ordered) == ordered);
  CHECK(manager.dict<std::string, std::int64_t>(ordered) == ordered);
  const std::unordered_map<std::string, int> narrow{{"x", 1}};
  CHECK(manager.dict<std::string, std::int64_t>(narrow) == narrow);
  auto made = std::views::iota(0, 100) | std::views::transform([](int i) { return std::pair(i, i * i); });
  auto squares = manager.dict<int, int>(made);
  CHECK(squares.size() == 100);
  CHECK(squares.at(9) == 81);
}

TEST_CASE("looking up gives values, nothing, a default or a KeyError") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}});
  CHECK(counts.at("a") == 1);
  CHECK(counts.find("a") == std::optional<std::int64_t>(1));
  CHECK(counts.find("b") == std::nullopt);
  CHECK(counts.get("a", 7) == 1);
  CHECK(counts.get("b", 7) == 7);
  CHECK(counts.contains("a"));
  CHECK(!counts.contains("b"));
  CHECK(counts.count("a") == 1);
  CHECK(counts.size() == 1);
  CHECK(!counts.empty());
  CHECK_THROWS_AS(counts.at("b"), KeyError);
  CHECK_THROWS_AS(static_cast<std::int64_t>(counts["b"]), KeyError);
  const std::string key = "a";
  CHECK(counts.at(key) == 1);
  CHECK(counts[std::string("a")] == 1);
  CHECK(counts.at(std::string_view("ab").substr(0, 1)) == 1);
}

TEST_CASE("storing says what was there") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>();
  counts.put("a", 1);
  CHECK(!counts.insert("a", 2));
  CHECK(counts.insert("b", 2));
  CHECK(counts.insert({"c", 3}));
  CHECK(!counts.insert_or_assign("a", 4));
  CHECK(counts.insert_or_assign("d", 5));
  CHECK(counts.replace("a", 6));
  CHECK(!counts.replace("x", 6));
  CHECK(counts.try_emplace("e", 7));
  CHECK(!counts.emplace("e", 8));
  CHECK(counts.setdefault("e", 9) == 7);
  CHECK(counts.setdefault("f", 9) == 9);
  CHECK(counts.exchange("f", 10) == std::optional<std::int64_t>(9));
  CHECK(counts.exchange("g", 11) == std::nullopt);
  CHECK(counts.items() == Entries{{"a", 6}, {"b", 2}, {"c", 3}, {"d", 5}, {"e", 7}, {"f", 10}, {"g", 11}});
}

TEST_CASE("removing gives what was there") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}});
  CHECK(counts.erase("a") == 1);
  CHECK(counts.erase("a") == 0);
  CHECK(counts.pop("b") == 2);
  CHECK(counts.pop("b", 9) == 9);
  CHECK_THROWS_AS(counts.pop("b"), KeyError);
  CHECK(counts.try_pop("b") == std::nullopt);
  CHECK(counts.popitem() == std::pair<std::string, std::int64_t>("d", 4));
  CHECK(counts.popitem() == std::pair<std::string, std::int64_t>("c", 3));
  CHECK_THROWS_AS(counts.popitem(), KeyError);
  counts.update({{"x", 1}, {"y", 2}});
  counts.clear();
  CHECK(counts.empty());
}

TEST_CASE("an element is read, assigned and counted in place") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"a", 10}});
  CHECK((counts["a"] += 5) == 15);
  CHECK((counts["a"] -= 3) == 12);
  CHECK((counts["a"] *= 2) == 24);
  CHECK((counts["a"] |= 1) == 25);
  CHECK((counts["a"] &= 0x19) == 25);
  CHECK((counts["a"] ^= 1) == 24);
  CHECK(++counts["a"] == 25);
  CHECK(counts["a"]++ == 25);
  CHECK(counts["a"]-- == 26);
  CHECK(--counts["a"] == 24);
  counts["b"] = counts["a"];
  CHECK(counts.at("b") == 24);
  counts["c"] = counts["d"] = 4;
  CHECK(counts["c"] == 4);
  CHECK(counts.fetch_add("a", 6) == 24);
  CHECK(counts.fetch_sub("a", 5) == 30);
  CHECK(shown(counts["a"]) == "25");
}

TEST_CASE("arithmetic on an absent key starts from zero") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>();
  CHECK((counts["new"] += 3) == 3);
  CHECK(counts.fetch_add("other", 2) == 0);
  CHECK(--counts["third"] == -1);
  auto sums = manager.dict<int, double>();
  CHECK((sums[1] += 1.5) == 1.5);
  CHECK((sums[1] *= 3) == 4.5);
  auto texts = manager.dict<int, std::string>();
  texts[1] += "ab";
  texts[1] += "cd";
  CHECK(texts[1] == "abcd");
}

TEST_CASE("integers wrap around at their own width") {
  ManagerHome home;
  Manager manager;
  auto small = manager.dict<int, std::uint8_t>({{1, 250}});
  CHECK((small[1] += 10) == 4);
  CHECK(small.at(1) == 4);
  auto narrow = manager.dict<int, std::int32_t>({{1, INT32_MAX}});
  CHECK(++narrow[1] == INT32_MIN);
  CHECK(narrow.at(1) == INT32_MIN);
}

TEST_CASE("compare_exchange stores or tells") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}});
  std::int64_t expected = 1;
  CHECK(counts.compare_exchange("a", expected, 2));
  CHECK(!counts.compare_exchange("a", expected, 3));
  CHECK(expected == 2);
  CHECK_THROWS_AS(counts.compare_exchange("b", expected, 3), KeyError);
  auto texts = manager.dict<int, std::string>({{1, "old"}});
  std::string seen = "other";
  CHECK(!texts.compare_exchange(1, seen, "new"));
  CHECK(texts.compare_exchange(1, seen, "new"));
  CHECK(texts.at(1) == "new");
}

TEST_CASE("update applies a function, again when somebody came in between") {
  ManagerHome home;
  Manager manager;
  auto lists = manager.dict<std::string, std::vector<int>>();
  CHECK_THROWS_AS(lists.update("a", [](std::vector<int> all) { return all; }), KeyError);
  const auto grow = [](std::vector<int> all) {
    all.push_back(static_cast<int>(all.size()));
    return all;
  };
  CHECK(lists.update("a", {}, grow) == std::vector<int>{0});
  CHECK(lists.update("a", grow) == std::vector<int>{0, 1});
  int calls = 0;
  lists.update("a", [&](std::vector<int> all) {
    if (++calls == 1) lists.put("a", {7});
    all.push_back(8);
    return all;
  });
  CHECK(calls == 2);
  CHECK(lists.at("a") == std::vector<int>{7, 8});
  calls = 0;
  CHECK_THROWS_AS(lists.update("a",
                               [&](std::vector<int> all) {
                                 if (++calls == 1) lists.erase("a");
                                 return all;
                               }),
                  KeyError);
  CHECK_THROWS_AS(lists.update("b", {}, [](std::vector<int>) -> std::vector<int> { throw 5; }), int);
  CHECK(!lists.contains("b"));
}

TEST_CASE("many keys are stored and read in one step") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}, {"b", 2}});
  counts.put_many({{"b", 3}, {"c", 4}});
  const auto found = counts.get_many({"a", "x", "c"});
  REQUIRE(found.size() == 3);
  CHECK(found[0] == std::optional<std::int64_t>(1));
  CHECK(found[1] == std::nullopt);
  CHECK(found[2] == std::optional<std::int64_t>(4));
  counts.update(std::map<std::string, int>{{"d", 5}});
  CHECK(counts.items() == Entries{{"a", 1}, {"b", 3}, {"c", 4}, {"d", 5}});
  counts.assign({{"z", 1}, {"y", 2}});
  CHECK(counts.items() == Entries{{"z", 1}, {"y", 2}});
  counts.assign(Entries{});
  CHECK(counts.empty());
}

TEST_CASE("keys, values, items and iteration keep the order of insertion") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>();
  for (const char* key : {"z", "a", "m"}) counts[key] = static_cast<std::int64_t>(counts.size());
  counts["a"] = 9;
  counts.erase("z");
  counts["z"] = 7;
  CHECK(counts.keys() == std::vector<std::string>{"a", "m", "z"});
  CHECK(counts.values() == std::vector<std::int64_t>{9, 2, 7});
  Entries seen;
  for (auto [key, value] : counts) {
    counts.erase(key);  // what happens meanwhile does not show
    seen.emplace_back(key, value);
  }
  CHECK(seen == Entries{{"a", 9}, {"m", 2}, {"z", 7}});
  CHECK(counts.begin() == counts.end());
  CHECK((counts.to<std::map<std::string, std::int64_t>>().empty()));
}

TEST_CASE("dicts equal dicts and maps with the same entries") {
  ManagerHome home;
  Manager manager;
  auto a = manager.dict<std::string, std::int64_t>({{"x", 1}, {"y", 2}});
  auto b = manager.dict<std::string, std::int64_t>({{"y", 2}, {"x", 1}});
  CHECK(a == a);
  CHECK(a == b);
  CHECK(a == std::map<std::string, std::int64_t>{{"x", 1}, {"y", 2}});
  CHECK(std::unordered_map<std::string, int>{{"x", 1}, {"y", 2}} == a);
  b["y"] = 3;
  CHECK(!(a == b));
  CHECK(a != std::map<std::string, std::int64_t>{{"x", 1}});
  CHECK(a != std::map<std::string, std::int64_t>{{"x", 1}, {"z", 2}});
}

TEST_CASE("a dict prints like JSON") {
  ManagerHome home;
  Manager manager;
  CHECK(shown(manager.dict<std::string, std::int64_t>({{"count", 0}})) == R"({"count": 0})");
  CHECK(shown(manager.dict<int, bool>()) == "{}");
  CHECK(shown(manager.dict<int, std::string>({{1, "a"}, {2, "b\""}})) == R"({1: "a", 2: "b\""})");
  CHECK(shown(manager.dict<std::string, double>({{"x", 0.1}})) == R"({"x": 0.1})");
}

TEST_CASE("values are read in place") {
  ManagerHome home;
  Manager manager;
  auto texts = manager.dict<std::string, std::string>({{"a", "first"}});
  CHECK(texts.read("a", [](std::string_view text) { return text.size(); }) == 5);
  CHECK_THROWS_AS(texts.read("b", [](std::string_view) { return 0; }), KeyError);
  {
    auto pinned = texts.pin("a");
    CHECK(pinned.in_place());
    texts["a"] = "second";
    for (int i = 0; i < 1000; ++i) texts["other"] = std::to_string(i);
    CHECK(*pinned == "first");
  }
  auto stock = manager.dict<int, Stock>({{1, {3, 2.5}}});
  CHECK(stock.read(1, [](const Stock& item) { return item.price; }) == 2.5);
  CHECK(stock.pin(1)->amount == 3);
  auto counts = manager.dict<int, std::int64_t>({{1, 5}});
  CHECK(counts.read(1, [](std::int64_t count) { return count; }) == 5);
  auto pinned_count = counts.pin(1);
  counts[1] += 1;
  CHECK(*pinned_count == 5);
  CHECK(counts.at(1) == 6);
  auto wide = manager.dict<int, Wide>();
  wide.put(1, Wide{{1, 2, 3}});
  wide.read(1, [](const Wide& value) {
    CHECK(reinterpret_cast<std::uintptr_t>(&value) % alignof(Wide) == 0);
    CHECK(value.words[2] == 3);
  });
}

TEST_CASE("more pins than a thread has are copies") {
  ManagerHome home;
  Manager manager;
  auto texts = manager.dict<int, std::string>({{1, std::string(500, 'x')}});
  std::vector<Pinned<std::string>> pins;
  for (int i = 0; i < 10; ++i) pins.push_back(texts.pin(1));
  int in_place = 0;
  for (const auto& pin : pins) {
    CHECK(*pin == std::string(500, 'x'));
    in_place += pin.in_place();
  }
  CHECK(in_place == 4);
  pins.clear();
  CHECK(texts.pin(1).in_place());
  CHECK_THROWS_AS(texts.pin(2), KeyError);
}

TEST_CASE("a text is read into a buffer of the caller's") {
  ManagerHome home;
  Manager manager;
  auto texts = manager.dict<int, std::string>({{1, std::string(100, 'a')}, {2, "b"}});
  std::string buffer;
  CHECK(texts.get_into(1, buffer));
  const void* memory = buffer.data();
  CHECK(texts.get_into(2, buffer));
  CHECK(buffer == "b");
  CHECK(buffer.data() == memory);
  CHECK(!texts.get_into(3, buffer));
}

TEST_CASE("keys of every kind find their values") {
  ManagerHome home;
  Manager manager;
  auto by_double = manager.dict<double, int>({{0.5, 1}});
  by_double[-0.0] = 2;
  CHECK(by_double.at(0.0) == 2);
  auto by_pair = manager.dict<std::pair<int, std::string>, int>();
  by_pair[{1, "a"}] = 5;
  CHECK(by_pair.at({1, "a"}) == 5);
  CHECK(!by_pair.contains({2, "a"}));
  auto by_struct = manager.dict<Stock, std::string>();
  by_struct[Stock{1, 2.0}] = "x";
  CHECK(by_struct.at(Stock{1, 2.0}) == "x");
  auto by_bytes = manager.dict<std::vector<std::byte>, int>();
  by_bytes.put({std::byte{1}}, 1);
  CHECK(by_bytes.contains({std::byte{1}}));
  auto by_bool = manager.dict<bool, int>({{true, 1}});
  CHECK(!by_bool.contains(false));
  auto by_empty_text = manager.dict<std::string, int>({{"", 1}});
  CHECK(by_empty_text.at("") == 1);
}

TEST_CASE("a dict takes everything that a test program may throw at its size") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<int, std::string>();
  for (int i = 0; i < 20'000; ++i) counts.put(i, std::string(static_cast<std::size_t>(i % 300), 'x'));
  counts.put(-1, std::string(3'000'000, 'y'));
  CHECK(counts.size() == 20'001);
  CHECK(counts.at(-1).size() == 3'000'000);
  for (int i = 0; i < 20'000; ++i) REQUIRE(counts.at(i).size() == static_cast<std::size_t>(i % 300));
}

TEST_CASE("copies of a proxy, and proxies opened twice, are one dict") {
  ManagerHome home;
  Manager manager;
  auto first = manager.dict<std::string, int>(named("scores"));
  auto second = first;
  auto third = manager.dict<std::string, int>(named("scores"));
  second["a"] = 1;
  CHECK(third.at("a") == 1);
  CHECK(first.same_as(second));
  CHECK(first.same_as(third));
  CHECK(!first.same_as(manager.dict<std::string, int>()));
  CHECK(first.name() == "scores");
  const auto constant = first;
  constant["b"] = 2;
  CHECK(first.size() == 2);
}
