// What each call of Value and Array does.
#include <commonhold/manager.h>
#include <commonhold/process.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <sstream>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

struct Pair {
  std::int32_t a, b;
  bool operator==(const Pair&) const = default;
};
struct Padded {
  char a;
  std::int32_t b;
  bool operator==(const Padded&) const = default;
};
struct Large {
  std::int64_t words[9];
  bool operator==(const Large&) const = default;
};
struct Three {
  std::uint8_t bytes[3];
  bool operator==(const Three&) const = default;
};
enum class Light { kRed, kGreen };

Large all(std::int64_t word) {
  Large large{};
  std::fill(std::begin(large.words), std::end(large.words), word);
  return large;
}

template <typename T>
void check_value(const T& first, const T& second) {
  ManagerHome home;
  Manager manager;
  auto value = manager.value<T>(first);
  CHECK(value.load() == first);
  value = second;
  CHECK(static_cast<T>(value) == second);
  CHECK(value.exchange(first) == second);
  T expected = second;
  CHECK(!value.compare_exchange(expected, second));
  CHECK(expected == first);
  CHECK(value.compare_exchange(expected, second));
  CHECK(value.update([&](T seen) { return seen == second ? first : second; }) == first);
  CHECK(!value.wait_for(first, 1ms));
  CHECK(value.wait_for(second, 1h));
  CHECK(value.with_lock([&](T& inside) {
    inside = second;
    return 7;
  }) == 7);
  CHECK(value.load() == second);
  CHECK_THROWS_AS(value.with_lock([&](T& inside) {
    inside = first;
    throw 5;
  }),
                  int);
  CHECK(value.load() == second);
}

template <typename T>
void check_array(const T& first, const T& second) {
  ManagerHome home;
  Manager manager;
  auto array = manager.array<T>(100);
  CHECK(array.size() == 100);
  array.fill(first);
  array[3] = second;
  array.set(-1, second);
  CHECK(array.at(0) == first);
  CHECK(array.at(3) == second);
  CHECK(array.at(-1) == second);
  CHECK(array.slice(2, 5) == std::vector<T>{first, second, first});
  array.write(97, {second, first, first});
  CHECK(array.slice(-3) == std::vector<T>{second, first, first});
  array.fill(-2, Array<T>::kEnd, second);
  CHECK(array.slice(97) == std::vector<T>{second, second, second});
  CHECK(array.span().size() == 100);
  CHECK(array.span()[3] == second);
  std::size_t count = 0;
  for (const T& element : array) count += element == second;
  CHECK(count == 4);
  CHECK_THROWS_AS(array.at(100), IndexError);
  CHECK_THROWS_AS(array.at(-101), IndexError);
  CHECK_THROWS_AS(array[100] = first, IndexError);
  CHECK_THROWS_AS(array.write(98, {first, first, first}), IndexError);
}

}  // namespace

TEST_CASE("values of every size are loaded, stored and exchanged whole") {
  check_value<std::int64_t>(INT64_MIN, INT64_MAX);
  check_value<std::int32_t>(-1, 5);
  check_value<std::uint8_t>(255, 0);
  check_value<double>(1.5, -0.25);
  check_value<float>(1.5f, 0.25f);
  check_value<bool>(true, false);
  check_value<Light>(Light::kRed, Light::kGreen);
  check_value<Pair>({1, 2}, {3, 4});
  check_value<Padded>({'a', 2}, {'b', 4});
  check_value<Three>({{1, 2, 3}}, {{4, 5, 6}});
  check_value<Large>(all(1), all(2));
}

TEST_CASE("numbers are counted in one step") {
  ManagerHome home;
  Manager manager;
  auto number = manager.value(10);
  CHECK(++number == 11);
  CHECK(number++ == 11);
  CHECK(--number == 11);
  CHECK(number-- == 11);
  CHECK((number += 5) == 15);
  CHECK((number -= 1) == 14);
  CHECK((number *= 3) == 42);
  CHECK((number |= 1) == 43);
  CHECK((number &= 0xf) == 11);
  CHECK((number ^= 2) == 9);
  CHECK(number.fetch_add(1) == 9);
  CHECK(number.fetch_sub(2) == 10);
  CHECK(number.fetch_or(4) == 8);
  CHECK(number.fetch_and(4) == 12);
  CHECK(number.fetch_xor(5) == 4);
  CHECK(number == 1);
  auto small = manager.value<std::uint8_t>(250);
  CHECK((small += 10) == 4);
  auto real = manager.value(0.5);
  CHECK((real += 0.25) == 0.75);
  CHECK((real *= 2) == 1.5);
  std::ostringstream out;
  out << number << ' ' << real << ' ' << manager.value(true);
  CHECK(out.str() == "1 1.5 true");
}

TEST_CASE("a value that is waited for wakes the waiter when it changes") {
  ManagerHome home;
  Manager manager;
  auto number = manager.value(0);
  auto answer = manager.value(0);
  Process waiter([&] { answer = number.wait(0); });
  waiter.start();
  CHECK(!waiter.join_for(20ms));
  number.fetch_add(7);
  waiter.join();
  CHECK(answer == 7);
  auto large = manager.value(all(1));
  std::thread thread([&] { large.wait(all(1)); });
  std::this_thread::sleep_for(5ms);
  large = all(2);
  thread.join();
  const auto start = std::chrono::steady_clock::now();
  CHECK(!number.wait_until(7, start + 30ms));
  CHECK(std::chrono::steady_clock::now() - start >= 30ms);
  CHECK(!number.wait_for(7, -5s));
}

TEST_CASE("a large value is never seen torn") {
  ManagerHome home;
  Manager manager;
  auto value = manager.value(all(0));
  auto stop = manager.value(false);
  std::vector<Process> writers;
  for (int w = 1; w <= 2; ++w) {
    writers.emplace_back([&, w] {
      for (std::int64_t i = 0; !stop; ++i) value = all(i * 2 + w);
    });
    writers.back().start();
  }
  for (int i = 0; i < 50'000; ++i) {
    const Large seen = value;
    REQUIRE(seen == all(seen.words[0]));
  }
  stop = true;
}

TEST_CASE("counting of many threads and processes all counts") {
  ManagerHome home;
  Manager manager;
  auto number = manager.value<std::int64_t>(0);
  auto real = manager.value(0.0);
  auto guarded = manager.value<std::int64_t>(0);
  auto cells = manager.array<std::int32_t>(4);
  constexpr int kRounds = 5000;
  const auto work = [&] {
    for (int i = 0; i < kRounds; ++i) {
      ++number;
      real += 0.5;
      cells[static_cast<std::size_t>(i) % 4] += 1;
      if (i % 10 == 0) guarded.with_lock([](std::int64_t& inside) { inside = inside + 1; });
    }
  };
  std::vector<Process> processes;
  for (int i = 0; i < 2; ++i) {
    processes.emplace_back([&] {
      std::thread other(work);
      work();
      other.join();
    });
    processes.back().start();
  }
  for (auto& process : processes) process.join();
  CHECK(number == 4 * kRounds);
  CHECK(real == 2.0 * kRounds);
  CHECK(guarded == 4 * kRounds / 10);
  CHECK(cells == std::vector<std::int32_t>(4, kRounds));
}

TEST_CASE("arrays of every element size do what they say") {
  check_array<std::int64_t>(1, 2);
  check_array<std::int16_t>(1, 2);
  check_array<double>(1.5, 2.5);
  check_array<bool>(false, true);
  check_array<Pair>({1, 2}, {3, 4});
  check_array<Three>({{1, 2, 3}}, {{4, 5, 6}});
  check_array<Large>(all(1), all(2));
}

TEST_CASE("an array is made of zeros, of values or of a range") {
  ManagerHome home;
  Manager manager;
  CHECK(manager.array<int>(3) == std::vector<int>{0, 0, 0});
  CHECK(manager.array<int>({1, 2}) == std::vector<int>{1, 2});
  CHECK(manager.array<double>(std::vector<int>{1, 2}) == std::vector<double>{1, 2});
  CHECK(manager.array<int>(0).empty());
  auto named_array = manager.array<float>(named("grid"), 10);
  named_array[3] = 2.5f;
  CHECK(manager.open<Array<float>>("grid").at(3) == 2.5f);
  std::ostringstream out;
  out << manager.array<int>({1, 2});
  CHECK(out.str() == "[1, 2]");
}

TEST_CASE("array elements are counted in one step") {
  ManagerHome home;
  Manager manager;
  auto array = manager.array<int>({10, 20});
  CHECK((array[0] += 5) == 15);
  CHECK(++array[1] == 21);
  CHECK((array[1] *= 2) == 42);
  CHECK(array.fetch_add(-1, 1) == 42);
  int expected = 0;
  CHECK(!array.compare_exchange(0, expected, 1));
  CHECK(array.compare_exchange(0, expected, 1));
  CHECK(array[0] == 1);
  auto reals = manager.array<double>({1.5});
  CHECK((reals[0] -= 0.5) == 1.0);
}

TEST_CASE("an array's memory is used in place under its lock") {
  ManagerHome home;
  Manager manager;
  auto array = manager.array<std::int64_t>(1000);
  std::vector<Process> processes;
  for (int i = 0; i < 4; ++i) {
    processes.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        std::scoped_lock guard(array.lock());
        for (auto& element : array.span()) element += 1;
      }
    });
    processes.back().start();
  }
  for (auto& process : processes) process.join();
  CHECK(array == std::vector<std::int64_t>(1000, 80));
  CHECK(array.lock().try_lock());
  CHECK(!array.lock().try_lock());
  array.lock().unlock();
  CHECK_THROWS_AS(array.lock().unlock(), NotHeld);
}

TEST_CASE("a value with padding is compared by its value alone") {
  ManagerHome home;
  Manager manager;
  auto wide = manager.value<long double>(1.5L);
  wide.store(2.5L);
  unsigned char junk[sizeof(long double)];
  std::memset(junk, 0x5a, sizeof junk);
  long double expected;
  std::memcpy(&expected, junk, sizeof expected);
  expected = 2.5L;
  CHECK(wide.compare_exchange(expected, 3.5L));
  CHECK(wide.load() == 3.5L);
  CHECK(!wide.wait_for(3.5L, 1ms));
  expected = wide.load();
  CHECK(wide.compare_exchange(expected, 1.5L));
  auto padded = manager.value<Padded>({'a', 1});
  Padded same;
  std::memset(static_cast<void*>(&same), 0x5a, sizeof same);
  same.a = 'a', same.b = 1;
  CHECK(padded.compare_exchange(same, {'b', 2}));
  std::memset(static_cast<void*>(&same), 0x5a, sizeof same);
  same.a = 'c', same.b = 3;
  auto filled = manager.value<Padded>(same);
  CHECK(filled.compare_exchange(same, {'d', 4}));
}

TEST_CASE("bools are kept in arrays, lists and sets, and iterated there") {
  ManagerHome home;
  Manager manager;
  const std::vector<bool> bools{true, false, true};
  const auto count = [](const auto& container) {
    int all = 0, set = 0;
    for (const bool element : container) ++all, set += element;
    return std::pair(all, set);
  };
  auto array = manager.array<bool>(bools);
  CHECK(array == bools);
  CHECK(count(array) == std::pair(3, 2));
  CHECK(manager.array<bool>({false, true}).at(1));
  auto list = manager.list<bool>({true, false, true});
  CHECK(count(list) == std::pair(3, 2));
  CHECK(list.index(false) == 1);
  CHECK(count(manager.set<bool>({true, false})) == std::pair(2, 1));
}

TEST_CASE("a negative count of an array's elements is refused by that number") {
  ManagerHome home;
  Manager manager;
  const auto why = [&](auto make) -> std::string {
    try {
      make();
    } catch (const ValueError& error) {
      return error.what();
    }
    return "";
  };
  for (const std::string& message : {why([&] { (void)manager.array<int>(static_cast<std::uint64_t>(-1)); }), why([&] {
                                       (void)manager.array<int>(named("numbers"), static_cast<std::uint64_t>(-1));
                                     })}) {
    CHECK(message.find("-1 elements") != std::string::npos);
    CHECK(message.find("18446744073709551615") == std::string::npos);
  }
}
