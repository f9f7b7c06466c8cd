// How servers end as a program sees it: shutdown, detach, signals, threads that do several of these at once, and calls
// that meet a server's end.
#include <commonhold/commonhold.h>
#include <signal.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>
#include <vector>

#include "proxy/server_link.h"
#include "shm/lock_file.h"
#include "shm/object_table.h"
#include "shm/references.h"
#include "shm/segment.h"
#include "support/process_shared.h"
#include "support/server_ground.h"

using namespace commonhold;
using test::ServerGround;

namespace {

int server_of(const Manager& manager) {
  return test::server_pid(rpc::existing_address(manager.folder()));
}

using Words = Dict<std::string, int>;

}  // namespace

TEST_CASE("the name of a manager is free when shutdown() returns") {
  ServerGround ground;
  const std::string name = GENERATE(as<std::string>(), "again", "a folder");
  const std::string place = name == "again" ? name : ground.root() + "/given";
  for (int round = 0; round < 5; ++round) {
    auto manager = Manager::start({.name = place});
    auto words = manager.dict<std::string, int>(named("words"));
    REQUIRE(words.empty());
    words["a"] = 1;
    manager.shutdown();
    REQUIRE_FALSE(std::filesystem::exists(manager.folder()));
    CHECK(words.at("a") == 1);
  }
  CHECK(ground.leftovers() == "");
}

TEST_CASE("the objects of a named manager survive SIGTERM, SIGINT and SIGKILL of its server") {
  ServerGround ground;
  const int number = GENERATE(SIGTERM, SIGINT, SIGKILL);
  auto manager = Manager::start({.name = "stock"});
  auto words = manager.dict<std::string, int>(named("words"));
  words["a"] = 1;
  const int server = server_of(manager);
  kill(server, number);
  REQUIRE(test::eventually([&] { return server_of(manager) != server; }));
  words["b"] = 2;
  auto again = Manager::start({.name = "stock"});
  CHECK(again.open<Words>("words").size() == 2);
  CHECK(manager.open<Words>("words").same_as(words));
  again.shutdown();
  CHECK(ground.leftovers() == "");
}

TEST_CASE("detach() ends a named manager's server and leaves its objects to the next one, which can start at once") {
  ServerGround ground;
  for (int round = 0; round < 5; ++round) {
    auto manager = Manager::start({.name = "stock"});
    auto words = manager.dict<std::string, int>(named("words"));
    CHECK(words.size() == static_cast<std::size_t>(round));
    words["round " + std::to_string(round)] = round;
    manager.detach();
    CHECK(server_of(manager) == 0);
  }
  CHECK_THROWS_AS(Manager().detach(), UsageError);
  Manager::start({.name = "stock"}).shutdown();
  CHECK(ground.leftovers() == "");
}

TEST_CASE("detach() returns also where somebody starts the next server at once") {
  ServerGround ground;
  auto manager = Manager::start({.name = "stock"});
  manager.list<int>(named("numbers"), {1});
  test::Shared<std::atomic<bool>> looks;
  // A server that has the byte the moment that it is free.
  const pid_t next = test::spawn([&] {
    const auto segment = shm::Segment::open(manager.folder());
    *looks = true;
    while (!shm::try_lock_byte(segment->lock_fd(), shm::kServerByte)) {
    }
    segment->header().server_starts.fetch_add(1);
    for (;;) pause();
  });
  REQUIRE(test::eventually([&] { return looks->load(); }));
  manager.detach();
  CHECK(test::eventually([&] { return server_of(manager) == next; }));
  kill(next, SIGKILL);
  test::wait_for(next);
  auto again = Manager::start({.name = "stock"});
  CHECK(again.open<List<int>>("numbers").size() == 1);
  again.shutdown();
  CHECK(ground.leftovers() == "");
}

TEST_CASE("several threads may shut one manager down at once, and none of them is told of an error") {
  ServerGround ground;
  const bool is_named = GENERATE(false, true);
  for (int round = 0; round < 5; ++round) {
    auto manager = Manager::start({.name = is_named ? "stock" : ""});
    auto numbers = manager.list<int>({1});
    std::atomic<int> ready{0}, errors{0}, there{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        ++ready;
        while (ready < 4) std::this_thread::yield();
        try {
          manager.shutdown();
          if (std::filesystem::exists(manager.folder())) ++there;
        } catch (const std::exception& error) {
          std::fprintf(stderr, "%s\n", error.what());
          ++errors;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(errors == 0);
    CHECK(there == 0);
    CHECK_THROWS_AS(manager.list<int>(), UsageError);
  }
  CHECK(ground.leftovers() == "");
}

TEST_CASE("a server that is started again while its manager is shut down ends as well") {
  ServerGround ground;
  for (int round = 0; round < 6; ++round) {
    Manager manager;
    auto numbers = manager.list<int>({1});
    test::kill_server(rpc::existing_address(manager.folder()));
    std::vector<std::thread> threads;
    std::atomic<int> strange{0};
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        try {
          if (t == 2) return manager.shutdown();
          for (int k = 0; k < 3; ++k) manager.list<int>({1, 2}).push_back(3);
        } catch (const ServerGone&) {  // ended before
        } catch (const UsageError&) {  // likewise
        } catch (const ObjectGone&) {  // shut down between the making of the object and its use
        } catch (const std::exception& error) {
          std::fprintf(stderr, "%s\n", error.what());
          ++strange;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(strange == 0);
    numbers.push_back(2);
    CHECK(numbers.size() == 2);
  }
  CHECK(ground.leftovers() == "");
}

TEST_CASE("an object whose server dies before the client has noted it is made by the next server") {
  ServerGround ground;
  auto manager = Manager::start({.name = "stock"});
  const auto segment = shm::Segment::open(manager.folder());
  detail::ServerLink link({rpc::existing_address("stock"), std::nullopt, std::chrono::milliseconds(2000), {}});
  int answers = 0;
  bool created = false;
  link.open(detail::Opening::kAnonymous, {}, Lock::request(), [&](const detail::OpenedObject& opened) {
    if (++answers == 1) {
      // The client sleeps here, with the server's answer before it.
      test::kill_server(rpc::existing_address("stock"));
      REQUIRE(test::run_command({"serve", "--name", "stock"}).status == 0);
      REQUIRE(test::eventually([&] { return shm::object_control(*segment, opened.id) == 0; }));
    }
    if (shm::add_reference(*segment, opened.id) != shm::Status::kOk) throw ObjectGone("it was destroyed");
    created = opened.created;
  });
  CHECK(answers == 2);
  CHECK(created);
  manager.shutdown();
}

TEST_CASE("a start that fails leaves no folder") {
  ServerGround ground;
  CHECK_THROWS_AS(Manager::start({.memory_limit = 1}), ValueError);
  CHECK_THROWS_AS(Manager::start({.name = "small", .memory_limit = 1}), ValueError);
  CHECK(test::run_command({"serve", "--name", "small", "--memory-limit", "1"}).err.find("65536 is the least") !=
        std::string::npos);
  CHECK_THROWS_AS(Manager::start({.name = "keyed", .authkey = std::string(5000, 'k')}), Error);
  CHECK_THROWS_AS(Manager::start({.authkey = std::string(5000, 'k')}), Error);
  CHECK(ground.leftovers() == "");
}

TEST_CASE("the next start removes what a server and its clients left that were all killed at once") {
  ServerGround ground;
  const bool is_named = GENERATE(false, true);
  test::Shared<std::atomic<int>> ready;
  std::vector<pid_t> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(test::spawn([&] {
      Manager manager;
      auto bytes = manager.array<char>(1 << 20);
      ++*ready;
      pause();
    }));
  }
  const std::vector<pid_t> programs = all;
  REQUIRE(test::eventually([&] { return *ready == 3; }));
  for (const rpc::ManagerAddress& address : rpc::managers_of_user()) all.push_back(test::server_pid(address));
  REQUIRE(all.size() == 6);
  for (int number : {SIGSTOP, SIGKILL}) {
    for (pid_t pid : all) kill(pid, number);
  }
  for (pid_t pid : programs) REQUIRE(test::wait_for(pid) == -SIGKILL);
  for (const rpc::ManagerAddress& address : rpc::managers_of_user()) {
    REQUIRE(test::eventually([&] { return test::server_pid(address) == 0; }));
  }
  const auto folders = [&] {
    return std::distance(std::filesystem::directory_iterator(ground.root()), std::filesystem::directory_iterator());
  };
  REQUIRE(folders() == 3);
  auto manager = Manager::start({.name = is_named ? "stock" : ""});
  CHECK(test::eventually([&] { return folders() == 1; }));
  manager.shutdown();
  CHECK(ground.leftovers() == "");
}
