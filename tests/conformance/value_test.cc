// Value and Array, rule by rule.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <mutex>
#include <sstream>
#include <vector>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

TEST_CASE("a value without an argument is zero, also in memory that was used before") {
  ManagerHome home;
  Manager manager;
  for (int round = 0; round < 50; ++round) {
    auto value = manager.value<std::int64_t>();
    auto array = manager.array<std::int64_t>(200);
    REQUIRE(value == 0);
    REQUIRE(array == std::vector<std::int64_t>(200, 0));
    value = -1;
    array.fill(-1);
  }
}

TEST_CASE("integers wrap at their own width, silently") {
  ManagerHome home;
  Manager manager;
  auto small = manager.value<std::int8_t>(127);
  CHECK(++small == -128);
  auto bytes = manager.array<std::uint8_t>({255, 0});
  CHECK((bytes[0] += 1) == 0);
  CHECK((bytes[1] -= 1) == 255);
}

TEST_CASE("counting in a value is one step, without its lock") {
  ManagerHome home;
  Manager manager;
  auto total = manager.value<int>();
  std::vector<Process> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) total += 1;
    });
    workers.back().start();
  }
  for (auto& worker : workers) worker.join();
  CHECK(total == 4000);
}

TEST_CASE("an array is made of zeros by its length, or of the values given, and keeps its length") {
  ManagerHome home;
  Manager manager;
  CHECK(manager.array<int>(3) == std::vector<int>{0, 0, 0});
  CHECK(manager.array<int>(0).empty());
  CHECK(manager.array<double>({0.5, 2.0}).size() == 2);
  CHECK(manager.array<char>(std::string("abc")) == std::string("abc"));
  CHECK_THROWS_AS(manager.array<int>(static_cast<std::uint64_t>(-1)), Error);
}

TEST_CASE("negative indexes count from the end, and one outside is an IndexError that names it and the length") {
  ManagerHome home;
  Manager manager;
  auto array = manager.array<int>({1, 2, 3});
  CHECK(array.at(-1) == 3);
  array.set(-3, 7);
  CHECK(array.at(0) == 7);
  CHECK_THROWS_AS(array.at(3), IndexError);
  CHECK_THROWS_AS(array.set(-4, 0), IndexError);
  try {
    array.at(5);
    FAIL("there is no element 5");
  } catch (const IndexError& error) {
    CHECK(std::string(error.what()).find('5') != std::string::npos);
    CHECK(std::string(error.what()).find('3') != std::string::npos);
  }
}

TEST_CASE("a slice is a copy, clipped; what is written over a slice must fit") {
  ManagerHome home;
  Manager manager;
  auto array = manager.array<int>({1, 2, 3, 4});
  CHECK(array.slice(1, 3) == std::vector<int>{2, 3});
  CHECK(array.slice(-2) == std::vector<int>{3, 4});
  CHECK(array.slice(2, 100) == std::vector<int>{3, 4});
  CHECK(array.slice(3, 1).empty());
  array.write(1, {8, 9});
  CHECK(array == std::vector<int>{1, 8, 9, 4});
  CHECK_THROWS_AS(array.write(3, {0, 0}), IndexError);
  CHECK(array == std::vector<int>{1, 8, 9, 4});
}

TEST_CASE("every value and array has a lock of its own, which keeps out those who use it too") {
  ManagerHome home;
  Manager manager;
  auto value = manager.value<int>(1);
  auto other = manager.value<int>(1);
  std::scoped_lock guard(value.lock());
  Process second([&] {
    if (value.lock().try_lock() || !other.lock().try_lock()) std::exit(1);
    other.lock().unlock();
    value = 5;  // a plain store asks nobody
  });
  second.start();
  second.join();
  CHECK(second.exitcode() == 0);
  CHECK(value == 5);
}

TEST_CASE("an array's characters and a named array of bytes serve where a shared memory block did") {
  ManagerHome home;
  Manager manager;
  auto block = manager.create<Array<std::byte>>("block", 4096);
  CHECK_THROWS_AS(manager.create<Array<std::byte>>("block", 4096), NameError);
  CHECK_THROWS_AS(manager.open<Array<std::byte>>("absent"), NameError);
  auto seen = manager.open<Array<std::byte>>("block");
  block.span()[17] = std::byte{42};
  CHECK(seen.span()[17] == std::byte{42});
  manager.remove("block");
  CHECK_THROWS_AS(manager.remove("block"), NameError);
  CHECK(seen.span()[17] == std::byte{42});  // lives as long as it is referred to
}
