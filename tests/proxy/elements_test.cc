// Elements on their way from one container into another: from a shared one, from a stream, from a view.
#include <commonhold/manager.h>

#include <catch2/catch.hpp>
#include <map>
#include <ranges>
#include <sstream>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

// Longer than what a string holds in itself, and different.
std::vector<std::string> texts(int count) {
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i)
    texts.push_back("a text that is too long for a small buffer, number " + std::to_string(i));
  return texts;
}

struct Reading {
  long values[4];
  bool operator==(const Reading&) const = default;
};

}  // namespace

TEST_CASE("a shared list is stored in other containers, whatever its elements are") {
  ManagerHome home;
  Manager manager;
  const auto words = texts(50);
  const auto shared = manager.list<std::string>(words);
  auto other = manager.list<std::string>();
  other.extend(shared);
  CHECK(other == words);
  other.extend(other);
  CHECK(other.size() == 100);
  CHECK(other.at(99) == words[49]);
  other.assign(shared);
  CHECK(other == words);
  CHECK(manager.list<std::string>(shared) == words);
  auto queue = manager.queue<std::string>();
  queue.put_many(shared);
  for (const auto& word : words) CHECK(queue.get() == word);
  auto set = manager.set<std::string>();
  set.update(shared);
  CHECK(set.size() == 50);
  for (const auto& word : words) CHECK(set.contains(word));

  std::vector<Reading> readings;
  for (long i = 0; i < 40; ++i) readings.push_back({{i, i + 1, i + 2, i + 3}});
  CHECK(manager.list<Reading>(manager.list<Reading>(readings)) == readings);
}

TEST_CASE("a shared dict is stored in another one") {
  ManagerHome home;
  Manager manager;
  std::map<std::string, std::string> pairs;
  for (const auto& word : texts(50)) pairs.emplace(word, word + "!");
  const auto shared = manager.dict<std::string, std::string>(pairs);
  auto other = manager.dict<std::string, std::string>();
  other.update(shared);
  CHECK(other == pairs);
  other.clear();
  other.assign(shared);
  CHECK(other == pairs);
}

TEST_CASE("elements that a stream or a view makes are stored as they came") {
  ManagerHome home;
  Manager manager;
  std::istringstream stream("one two three and-one-that-is-too-long-for-a-small-buffer");
  auto words = manager.list<std::string>();
  words.assign(std::views::istream<std::string>(stream));
  CHECK(words == std::vector<std::string>{"one", "two", "three", "and-one-that-is-too-long-for-a-small-buffer"});
  const auto all = texts(9);
  auto long_ones = all | std::views::filter([](const std::string& text) { return text.back() > '4'; });
  words.assign(long_ones);
  CHECK(words == std::vector<std::string>(all.begin() + 5, all.end()));
}

TEST_CASE("keys of one spelling and several kinds are compared each with its own") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<Any, int>({{Any(nullptr), 1}, {Any(""), 2}, {Any("a"), 3}});
  CHECK(dict == std::map<Any, int>{{Any(nullptr), 1}, {Any(""), 2}, {Any("a"), 3}});
  CHECK_FALSE(dict == std::map<Any, int>{{Any(nullptr), 2}, {Any(""), 1}, {Any("a"), 3}});
}

TEST_CASE("a proxy that was moved from goes on to name its object") {
  ManagerHome home;
  Manager manager;
  auto list = manager.list<int>({1});
  auto same = std::move(list);
  list.append(2);  // NOLINT(bugprone-use-after-move): what is tested
  CHECK(same == std::vector<int>{1, 2});
}

TEST_CASE("an element of a temporary proxy keeps the object") {
  ManagerHome home;
  Manager manager;
  const auto count = manager.dict<std::string, int>({{"a", 1}})["a"];
  const auto text = manager.dict<std::string, std::string>({{"a", "b"}})[std::string("a")];
  const auto first = manager.list<int>({1})[0];
  const auto cell = manager.array<int>({1})[0];
  const auto space = [&] {
    auto made = manager.ns();
    made["n"] = 1;
    return made;
  };
  const auto attribute = space()["n"];
  (void)manager.dict<int, int>();  // what nobody refers to goes now at the latest
  std::this_thread::sleep_for(20ms);
  count += 1;
  first += 1;
  cell += 1;
  attribute += 1;
  CHECK(count == 2);
  CHECK(first == 2);
  CHECK(cell == 2);
  CHECK(Any(attribute) == Any(2));
  const auto named_dict = manager.dict<std::string, std::string>({{"a", "b"}});
  CHECK(named_dict["a"] == text);
  CHECK(manager.objects().size() == 6);
}
