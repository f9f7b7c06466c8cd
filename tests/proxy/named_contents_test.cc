// A named object and its first contents appear together, whoever dies or comes at the same time.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "support/manager_home.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using Catch::Contains;
using Eight = std::array<double, 8>;
constexpr Eight kOnes{1, 1, 1, 1, 1, 1, 1, 1};

namespace {

// Kills a process that makes an object named "x" as soon as the name is there.
template <typename Make>
void kill_maker(const Manager& manager, Make&& make) {
  const pid_t child = fork();
  if (child == 0) {
    make();
    for (;;) pause();
  }
  REQUIRE(child > 0);
  const auto is_there = [&] {
    for (const auto& object : manager.objects()) {
      if (object.name == "x") return true;
    }
    return false;
  };
  const bool seen = eventually(is_there);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  REQUIRE(seen);
}

template <typename Make, typename Look>
void keeps_contents_of_killed_maker(const Manager& manager, Make&& make, Look&& look) {
  for (int round = 0; round < 40; ++round) {
    kill_maker(manager, make);
    REQUIRE(look());
    manager.remove("x");
  }
}

}  // namespace

TEST_CASE("the maker of a named object is killed and its first contents are there") {
  ManagerHome home;
  Manager manager;
  SECTION("a value above eight bytes") {
    keeps_contents_of_killed_maker(
        manager, [&] { (void)manager.value<Eight>(named("x"), kOnes); },
        [&] { return manager.open<Value<Eight>>("x").load() == kOnes; });
  }
  SECTION("a list") {
    keeps_contents_of_killed_maker(
        manager,
        [&] {
          (void)manager.list<int>(named("x"), {1, 2, 3});
        },
        [&] {
          return manager.open<List<int>>("x") == std::vector{1, 2, 3};
        });
  }
  SECTION("a dict") {
    keeps_contents_of_killed_maker(
        manager,
        [&] {
          (void)manager.dict<std::string, int>(named("x"), {{"a", 1}, {"b", 2}});
        },
        [&] { return manager.open<Dict<std::string, int>>("x").items().size() == 2; });
  }
  SECTION("a set") {
    keeps_contents_of_killed_maker(
        manager,
        [&] {
          (void)manager.set<int>(named("x"), {1, 2, 3});
        },
        [&] { return manager.open<Set<int>>("x").size() == 3; });
  }
  SECTION("an array") {
    keeps_contents_of_killed_maker(
        manager,
        [&] {
          (void)manager.array<int>(named("x"), {1, 2, 3});
        },
        [&] {
          return manager.open<Array<int>>("x") == std::vector{1, 2, 3};
        });
  }
  SECTION("a namespace") {
    keeps_contents_of_killed_maker(
        manager,
        [&] {
          (void)manager.ns(named("x"), {{"a", 1}});
        },
        [&] { return manager.open<Namespace>("x").get<int>("a") == 1; });
  }
}

TEST_CASE("first contents of a named object are those of one maker for all who ask at once") {
  ManagerHome home;
  Manager manager;
  for (int round = 0; round < 20; ++round) {
    constexpr int kThreads = 4;
    std::vector<Eight> seen(kThreads);
    std::vector<std::size_t> sizes(kThreads);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        Eight own;
        own.fill(i + 1);
        seen[i] = manager.value<Eight>(named("value"), own).load();
        sizes[i] = manager.list<int>(named("list"), std::vector<int>(i + 1, 7)).size();
      });
    }
    for (auto& thread : threads) thread.join();
    REQUIRE(seen[0][0] != 0);
    REQUIRE(sizes[0] != 0);
    for (int i = 1; i < kThreads; ++i) {
      REQUIRE(seen[i] == seen[0]);
      REQUIRE(sizes[i] == sizes[0]);
    }
    manager.remove("value");
    manager.remove("list");
  }
}

TEST_CASE("create with first contents refuses a name that is taken and leaves the object as it is") {
  ManagerHome home;
  Manager manager;
  const auto first = manager.create<Value<Eight>>("v", kOnes);
  CHECK_THAT(refusal<NameError>([&] { (void)manager.create<Value<Eight>>("v", Eight{2}); }), Contains("\"v\" exists"));
  CHECK(manager.value<Eight>(named("v"), Eight{3}).same_as(first));
  CHECK(first.load() == kOnes);
}

TEST_CASE("a name that was taken off an object can be given again, to another one with contents") {
  ManagerHome home;
  Manager manager;
  const auto first = manager.list<int>(named("a name of more than eight bytes"), {1});
  manager.remove("a name of more than eight bytes");
  CHECK(first.name().empty());
  const auto second = manager.list<int>(named("a name of more than eight bytes"), {2, 3});
  CHECK(first == std::vector{1});
  CHECK(second == std::vector{2, 3});
}

TEST_CASE("an object's name has at least one byte") {
  ManagerHome home;
  Manager manager;
  CHECK_THAT(refusal<NameError>([&] { (void)manager.list<int>(named("")); }), Contains("at least one byte"));
  CHECK_THAT(refusal<NameError>([&] { (void)manager.create<Lock>(""); }), Contains("at least one byte"));
  CHECK_THAT(refusal<NameError>([&] { (void)manager.value<Eight>(named(""), kOnes); }), Contains("at least one byte"));
}
