// Event as the reference's users know it: each test is a row of docs/semantics/sync.md.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <sstream>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("an event starts unset; set and clear may be repeated") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event();
  CHECK(!event.is_set());
  event.clear();
  CHECK(!event.is_set());
  event.set();
  event.set();
  CHECK(event.is_set());
  event.clear();
  CHECK(!event.is_set());
}

TEST_CASE("a wait for an event is true when it is set, and false when the time has passed") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event();
  CHECK(!event.wait(0s));
  CHECK(!event.wait(-1s));
  const auto start = std::chrono::steady_clock::now();
  CHECK(!event.wait(20ms));
  CHECK(std::chrono::steady_clock::now() - start >= 20ms);
  CHECK(!event.wait_for(1ms));
  CHECK(!event.wait_until(std::chrono::system_clock::now() + 1ms));
  event.set();
  CHECK(event.wait());
  CHECK(event.wait(0s));
  CHECK(event.wait(-1s));
  CHECK(event.wait_for(std::chrono::hours::max()));
  CHECK(event.wait_until(std::chrono::steady_clock::now()));
}

TEST_CASE("setting an event wakes every waiter, even when it is cleared at once") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event();
  auto waiting = manager.value(0), woken = manager.value(0);
  std::vector<Process> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&] {
      ++waiting;
      if (event.wait()) ++woken;
    });
    waiters.back().start();
  }
  CHECK(eventually([&] { return waiting == 4; }));
  std::this_thread::sleep_for(50ms);  // until they sleep
  event.set();
  event.clear();
  for (auto& waiter : waiters) waiter.join();
  CHECK(woken == 4);
}

TEST_CASE("a waiter of an event that is killed keeps nobody from setting it") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event();
  Process doomed([&] { event.wait(); }), other([&] { event.wait(); });
  doomed.start();
  other.start();
  std::this_thread::sleep_for(20ms);
  doomed.kill();
  doomed.join();
  event.set();
  other.join();
  CHECK(other.exitcode() == 0);
}

TEST_CASE("an event has a name, a token, and prints its state") {
  ManagerHome home;
  Manager manager;
  auto event = manager.event(named("ready"));
  CHECK(manager.open<Event>("ready") == event);
  CHECK(attach<Event>(event.token()) == event);
  std::ostringstream out;
  out << event;
  event.set();
  out << event;
  CHECK(out.str() == "<event \"ready\" unset><event \"ready\" set>");
}
