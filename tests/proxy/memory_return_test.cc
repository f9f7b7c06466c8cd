// Memory of what nobody refers to any more serves the next call that needs it.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

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

TEST_CASE("what a dropped object had can be put into queues, and into slices of arrays, by the next call") {
  ManagerHome home;
  Manager manager = Manager::start({.name = "returns", .memory_limit = 16u << 20});
  const std::string large(60'000, 'x');
  const std::vector<std::string> many(20, large);
  auto ring = manager.queue<std::string>();
  auto redelivering = manager.queue<std::string>({.redeliver = true});
  auto lifo = manager.lifo_queue<std::string>();
  auto priorities = manager.priority_queue<std::string, int>();
  auto array = manager.array<char>(2u << 20);
  const std::vector<char> slice(2u << 20, 'y');
  const auto empty = [](auto& queue) {
    while (queue.try_get()) queue.task_done();
  };
  const std::vector<std::pair<std::string, std::function<void()>>> calls{
      {"put",
       [&] {
         for (auto& item : many) ring.put(item);
       }},
      {"put_many", [&] { ring.put_many(many); }},
      {"redelivering put",
       [&] {
         for (auto& item : many) redelivering.put(item);
       }},
      {"lifo put",
       [&] {
         for (auto& item : many) lifo.put(item);
       }},
      {"lifo put_many", [&] { lifo.put_many(many); }},
      {"priority put",
       [&] {
         for (auto& item : many) priorities.put(1, item);
       }},
      {"slice", [&] { array.write(0, slice); }},
  };
  for (int round = 0; round < 3; ++round) {
    for (auto& [name, call] : calls) {
      {
        auto filler = manager.dict<int, std::string>();
        try {
          for (int i = 0;; ++i) filler.put(i, large);
        } catch (const OutOfMemory&) {
        }
      }
      INFO(name);
      CHECK_NOTHROW(call());
      empty(ring);
      empty(lifo);
    }
    empty(redelivering);
    empty(priorities);
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
