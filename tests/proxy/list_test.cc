// What each call of List does.
#include <commonhold/manager.h>

#include <catch2/catch.hpp>
#include <deque>
#include <sstream>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using Numbers = std::vector<int>;

TEST_CASE("a list is made empty, from a list or from a range") {
  ManagerHome home;
  Manager manager;
  CHECK(manager.list<int>().empty());
  CHECK(manager.list<int>({3, 1, 2}) == Numbers{3, 1, 2});
  CHECK(manager.list<std::string>({"a", "b"}).size() == 2);
  CHECK(manager.list<int>(std::deque<int>{4, 5}) == Numbers{4, 5});
  CHECK(manager.list<std::vector<bool>>({{true, false}}).at(0) == std::vector<bool>{true, false});
  CHECK(manager.list<bool>({true, false}) == std::vector<bool>{true, false});
}

TEST_CASE("elements are read and stored by index") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.list<int>({10, 20, 30});
  CHECK(numbers[0] == 10);
  CHECK(numbers.at(2) == 30);
  CHECK(numbers.at(-1) == 30);
  CHECK(numbers.at(-3) == 10);
  CHECK(numbers.front() == 10);
  CHECK(numbers.back() == 30);
  numbers[1] = 21;
  numbers.set(-1, 31);
  numbers[0] = numbers[1];
  CHECK(numbers == Numbers{21, 21, 31});
  CHECK_THROWS_AS(numbers.at(3), IndexError);
  CHECK_THROWS_AS(numbers.at(-4), IndexError);
  CHECK_THROWS_AS(numbers.set(3, 1), IndexError);
  CHECK_THROWS_AS(numbers[3] = 1, IndexError);
  CHECK_THROWS_AS(manager.list<int>().front(), IndexError);
  CHECK_THROWS_AS(manager.list<int>().back(), IndexError);
}

TEST_CASE("an element is counted in one step") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.list<int>({10, 20});
  CHECK((numbers[0] += 5) == 15);
  CHECK((numbers[0] *= 2) == 30);
  CHECK(++numbers[1] == 21);
  CHECK(numbers[1]-- == 21);
  CHECK(numbers.fetch_add(-1, 2) == 20);
  CHECK(numbers.fetch_sub(0, 1) == 30);
  CHECK(numbers == Numbers{29, 22});
  CHECK_THROWS_AS(numbers[2] += 1, IndexError);
  auto texts = manager.list<std::string>({"a"});
  CHECK((texts[0] += "b") == "ab");
  CHECK(texts[0] == "ab");
  std::string expected = "x";
  CHECK(!texts.compare_exchange(0, expected, "c"));
  CHECK(expected == "ab");
  CHECK(texts.compare_exchange(0, expected, "c"));
  CHECK(texts.update(-1, [](std::string text) { return text + "!"; }) == "c!");
  CHECK_THROWS_AS(texts.compare_exchange(1, expected, "c"), IndexError);
  CHECK_THROWS_AS(texts.update(1, [](std::string text) { return text; }), IndexError);
}

TEST_CASE("a list grows and shrinks at both ends and inside") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.list<int>();
  numbers.push_back(2);
  numbers.append(3);
  numbers.push_front(1);
  numbers.insert(1, 9);
  numbers.insert(-1, 8);
  numbers.insert(5, 7);
  CHECK(numbers == Numbers{1, 9, 2, 8, 3, 7});
  CHECK_THROWS_AS(numbers.insert(7, 0), IndexError);
  numbers.erase(1);
  numbers.erase(-1);
  CHECK_THROWS_AS(numbers.erase(4), IndexError);
  CHECK(numbers == Numbers{1, 2, 8, 3});
  CHECK(numbers.pop() == 3);
  CHECK(numbers.pop(1) == 2);
  CHECK(numbers.pop(-2) == 1);
  CHECK(numbers.pop_back() == 8);
  CHECK_THROWS_AS(numbers.pop(), IndexError);
  CHECK_THROWS_AS(numbers.pop_back(), IndexError);
  CHECK_THROWS_AS(numbers.pop_front(), IndexError);
  CHECK(numbers.try_pop_back() == std::nullopt);
  numbers.extend({1, 2, 3});
  numbers += Numbers{4};
  CHECK(numbers.pop_front() == 1);
  CHECK(numbers.try_pop_front() == std::optional<int>(2));
  numbers.assign({7, 7});
  CHECK(numbers == Numbers{7, 7});
  numbers.clear();
  CHECK(numbers.empty());
}

TEST_CASE("slices are clipped as in Python") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.list<int>({0, 1, 2, 3, 4});
  CHECK(numbers.slice(1, 3) == Numbers{1, 2});
  CHECK(numbers.slice(3) == Numbers{3, 4});
  CHECK(numbers.slice(-2) == Numbers{3, 4});
  CHECK(numbers.slice(0, -1) == Numbers{0, 1, 2, 3});
  CHECK(numbers.slice(-100, 100) == Numbers{0, 1, 2, 3, 4});
  CHECK(numbers.slice(3, 1).empty());
  CHECK(numbers.slice(9).empty());
  numbers.set_slice(1, 3, {7, 8, 9});
  CHECK(numbers == Numbers{0, 7, 8, 9, 3, 4});
  numbers.set_slice(-1, List<int>::kEnd, Numbers{});
  CHECK(numbers == Numbers{0, 7, 8, 9, 3});
  numbers.set_slice(2, 2, {1});
  CHECK(numbers == Numbers{0, 7, 1, 8, 9, 3});
  numbers.erase_slice(1, -2);
  CHECK(numbers == Numbers{0, 9, 3});
  numbers.set_slice(100, 200, {5});
  CHECK(numbers == Numbers{0, 9, 3, 5});
}

TEST_CASE("searching finds the first equal element") {
  ManagerHome home;
  Manager manager;
  auto texts = manager.list<std::string>({"a", "b", "a", "c"});
  CHECK(texts.find("a") == std::optional<std::size_t>(0));
  CHECK(texts.find("a", 1) == std::optional<std::size_t>(2));
  CHECK(texts.find("a", 1, 2) == std::nullopt);
  CHECK(texts.contains("c"));
  CHECK(!texts.contains("x"));
  CHECK(texts.count("a") == 2);
  CHECK(texts.index("c") == 3);
  CHECK_THROWS_AS(texts.index("x"), ValueError);
  texts.remove("a");
  CHECK(texts == std::vector<std::string>{"b", "a", "c"});
  CHECK_THROWS_AS(texts.remove("x"), ValueError);
}

TEST_CASE("a list is reversed and sorted") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.list<int>({3, 1, 2});
  numbers.reverse();
  CHECK(numbers == Numbers{2, 1, 3});
  numbers.sort();
  CHECK(numbers == Numbers{1, 2, 3});
  numbers.sort(std::greater<>());
  CHECK(numbers == Numbers{3, 2, 1});
  int calls = 0;
  numbers.sort([&](int a, int b) {
    if (++calls == 1) numbers.push_back(0);  // somebody changes it: sorted again
    return a < b;
  });
  CHECK(numbers == Numbers{0, 1, 2, 3});
  CHECK_THROWS_AS(numbers.sort([](int, int) -> bool { throw 5; }), int);
  CHECK(numbers == Numbers{0, 1, 2, 3});
}

TEST_CASE("iterating, comparing and printing see one moment") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.list<int>({1, 2, 3});
  Numbers seen;
  for (int number : numbers) {
    numbers.push_back(number);
    seen.push_back(number);
  }
  CHECK(seen == Numbers{1, 2, 3});
  CHECK(numbers == Numbers{1, 2, 3, 1, 2, 3});
  CHECK(numbers != Numbers{1});
  CHECK(numbers == manager.list<int>(numbers.items()));
  CHECK(numbers == numbers);
  std::ostringstream out;
  out << numbers << manager.list<std::string>({"a"}) << manager.list<int>();
  CHECK(out.str() == R"([1, 2, 3, 1, 2, 3]["a"][])");
}

TEST_CASE("pushes and pops of many threads lose and double nothing") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.list<int>();
  auto sum = manager.list<std::int64_t>({0});
  constexpr int kThreads = 4, kEach = 500;
  std::vector<std::thread> threads;
  std::atomic<int> popped{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        (t + i) % 2 == 0 ? numbers.push_back(i) : numbers.push_front(i);
        if (i % 3 == 0 && (i % 2 == 0 ? numbers.try_pop_back() : numbers.try_pop_front())) ++popped;
        sum[0] += 1;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(numbers.size() == static_cast<std::size_t>(kThreads * kEach - popped));
  CHECK(sum.at(0) == kThreads * kEach);
}

TEST_CASE("an index from the end names the same place while others make the list longer and shorter") {
  ManagerHome home;
  Manager manager;
  // The two first elements stay, -1 is one of 2 and 3 at any moment.
  auto numbers = manager.list<int>({1, 2});
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) {
      numbers.append(3);
      (void)numbers.pop();
    }
  });
  for (int i = 0; i < 30'000; ++i) {
    const int last = numbers.at(-1);
    REQUIRE((last == 2 || last == 3));
    const int first = numbers.at(-2);
    REQUIRE((first == 1 || first == 2));
    int expected = 7;
    REQUIRE_FALSE(numbers.compare_exchange(-1, expected, 8));
    REQUIRE((expected == 2 || expected == 3));
    REQUIRE_NOTHROW(numbers.update(-2, [](int value) { return value; }));
  }
  done = true;
  other.join();
  CHECK(numbers == Numbers{1, 2});
  CHECK_THROWS_AS(numbers.at(-3), IndexError);
  CHECK_THROWS_AS(numbers.set(-3, 0), IndexError);
  CHECK_THROWS_AS(numbers.pop(-3), IndexError);
  CHECK_THROWS_AS(numbers.insert(-3, 0), IndexError);
  numbers.insert(-1, 5);
  CHECK(numbers == Numbers{1, 5, 2});
}
