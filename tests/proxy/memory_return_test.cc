// Memory of what nobody refers to any more serves the next call that needs it.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

TEST_CASE("what a dropped object had can be written by the next call in a full manager") {
  ManagerHome home;
  Manager manager = Manager::start({.name = "returns", .memory_limit = 16u << 20});
  auto list = manager.list<std::string>();
  auto counts = manager.dict<int, std::string>();
  const std::string large(60'000, 'x');
  for (int round = 0; round < 10; ++round) {
    {
      auto filler = manager.dict<int, std::string>();
      try {
        for (int i = 0;; ++i) filler.put(i, large);
      } catch (const OutOfMemory&) {
      }
    }
    for (int i = 0; i < 20; ++i) {
      round % 2 == 0 ? list.push_back(large) : counts.put(i, large);
    }
    list.clear();
    counts.clear();
  }
  manager.shutdown();
}

TEST_CASE("a manager that is full of what is in use says so") {
  ManagerHome home;
  Manager manager = Manager::start({.name = "full", .memory_limit = 8u << 20});
  auto list = manager.list<std::string>();
  const std::string large(60'000, 'x');
  CHECK_THROWS_AS(
      [&] {
        for (int i = 0; i < 1000; ++i) list.push_back(large);
      }(),
      OutOfMemory);
  manager.value(1);  // something to sweep, which is not enough
  CHECK_THROWS_AS(
      [&] {
        for (int i = 0; i < 1000; ++i) list.push_back(large);
      }(),
      OutOfMemory);
  manager.shutdown();
}
