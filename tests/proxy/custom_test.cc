// Objects of the program's own classes, which live in the server.
#include <commonhold/custom.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <commonhold/attach.h>
#include <commonhold/manager.h>
#include <commonhold/process.h>
#include <commonhold/server.h>
#include <commonhold/type.h>

#include "support/process_shared.h"
#include "support/server_ground.h"

using namespace commonhold;

namespace {

class Counter {
 public:
  explicit Counter(int start) : value_(start) {
    if (start < 0) throw std::invalid_argument("it starts at 0 or above, not at " + std::to_string(start));
  }
  int add(int n) { return value_ += n; }
  int get() const { return value_; }
  void fail(const std::string& text) const { throw std::out_of_range(text); }
  double scaled(double factor) const { return value_ * factor; }

 private:
  std::atomic<int> value_;
};

// Waits for a word from another caller.
class Gate {
 public:
  void wait() {
    std::unique_lock hold(mutex_);
    changed_.wait(hold, [&] { return open_; });
  }
  void open() {
    std::lock_guard hold(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// Keeps and makes objects of the manager.
class Shelf {
 public:
  void keep(List<int> list) { list_ = std::move(list); }
  List<int> kept() const { return list_.value(); }
  Dict<std::string, int> make() const { return Manager::serving().dict<std::string, int>({{"made", 1}}); }
  std::pair<std::string, List<int>> both() const { return {"kept", list_.value()}; }

 private:
  std::optional<List<int>> list_;
};

std::atomic<int>* living = nullptr;  // of Mortal, shared with the server

struct Mortal {
  Mortal() { ++*living; }
  ~Mortal() { --*living; }
};

// Not safe for several threads, so exclusive.
struct Careless {
  int step() {
    const int seen = value;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    return value = seen + 1;
  }
  int value = 0;
};

void register_types() {
  static test::Shared<std::atomic<int>> count;
  living = &*count;
  Type<Counter>("Counter")
      .constructor<int>()
      .method("add", &Counter::add)
      .method("get", &Counter::get)
      .method("fail", &Counter::fail)
      .method("scaled", &Counter::scaled)
      .method("twice", [](Counter& counter, int n) { return counter.add(2 * n); });
  Type<Gate>("Gate").constructor<>().method("wait", &Gate::wait).method("open", &Gate::open);
  Type<Shelf>("Shelf")
      .constructor<>()
      .method("keep", &Shelf::keep)
      .method("kept", &Shelf::kept)
      .method("make", &Shelf::make)
      .method("both", &Shelf::both);
  Type<Mortal>("Mortal").constructor<>();
  Type<Careless>("Careless").constructor<>().method("step", &Careless::step).exclusive();
  Type<Gate> single("SingleGate");
  single
      .constructor_with([] {
        static auto only = std::make_shared<Gate>();
        return only;
      })
      .method("open", &Gate::open)
      .method("wait", &Gate::wait);
}

const bool registered = (register_types(), true);

bool comes_true(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace

TEST_CASE("an object of a registered class lives in the server, and every process calls its methods") {
  Manager manager;
  auto counter = manager.custom("Counter", 5);
  REQUIRE(counter.call<int>("add", 3) == 8);
  REQUIRE(counter.call<double>("scaled", 2) == 16.0);
  REQUIRE(counter.call<int>("twice", 1) == 10);
  REQUIRE(counter.methods() == std::vector<std::string>{"add", "fail", "get", "scaled", "twice"});
  std::vector<Process> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([=] {
      for (int k = 0; k < 100; ++k) counter.call("add", 1);
    });
  }
  for (auto& worker : workers) worker.start();
  for (auto& worker : workers) worker.join();
  REQUIRE(counter.call<int>("get") == 410);
  std::ostringstream out;
  out << counter;
  REQUIRE(out.str() == "<anonymous custom<Counter>>");
}

TEST_CASE("a class that the client knows is called by its members") {
  Manager manager;
  auto counter = manager.make<Counter>(5);
  REQUIRE(counter.call<&Counter::add>(3) == 8);
  REQUIRE(counter.call<&Counter::get>() == 8);
  auto kept = manager.list<Remote<Counter>>({counter});
  REQUIRE(kept.at(0).call<&Counter::add>(1) == 9);
  auto untyped = manager.list<Custom>({counter.untyped()});
  REQUIRE(untyped.at(0).call<int>("get") == 9);
}

TEST_CASE("what a constructor or method throws comes back with its type and text") {
  Manager manager;
  auto counter = manager.custom("Counter", 0);
  try {
    counter.call("fail", "too far");
    FAIL("no error");
  } catch (const RemoteError& error) {
    REQUIRE(error.type() == "std::out_of_range");
    REQUIRE(std::string(error.what()) == "Counter.fail raised std::out_of_range: too far");
  }
  try {
    manager.custom("Counter", -1);
    FAIL("no error");
  } catch (const RemoteError& error) {
    REQUIRE(std::string(error.what()) ==
            "the constructor of Counter raised std::invalid_argument: it starts at 0 or above, not at -1");
  }
  REQUIRE(counter.call<int>("get") == 0);
}

TEST_CASE("unknown types, methods, and other arguments than a method takes are errors that say so") {
  Manager manager;
  REQUIRE_THROWS_WITH(manager.custom("Unknown"), Catch::Contains("has registered no type for \"custom<Unknown>\""));
  auto counter = manager.custom("Counter", 0);
  REQUIRE_THROWS_WITH(counter.call("none"), "Counter has no method \"none\"; it has add, fail, get, scaled, twice");
  REQUIRE_THROWS_WITH(counter.call("add"), Catch::Contains("Counter.add takes 1 argument, and was called with 0"));
  REQUIRE_THROWS_WITH(counter.call("add", "x"), Catch::Contains("Counter.add was called with other types"));
  REQUIRE_THROWS_WITH(manager.custom("Counter"), Catch::Contains("Counter has no constructor that takes 0 arguments"));
  REQUIRE_THROWS_AS(counter.call<std::string>("get"), TypeMismatch);
}

TEST_CASE("a method that waits holds up its caller alone") {
  Manager manager;
  auto gate = manager.custom("Gate");
  auto other = manager.custom("Counter", 1);
  std::atomic<bool> passed{false};
  std::thread waiter([&] {
    gate.call("wait");
    passed = true;
  });
  Process process([=] { gate.call("wait"); });
  // The same process, the same object and other ones go on.
  for (int i = 0; i < 20; ++i) REQUIRE(other.call<int>("get") == 1);
  REQUIRE(manager.dict<std::string, int>().empty());
  REQUIRE_FALSE(passed);
  gate.call("open");
  waiter.join();
  REQUIRE(passed);
  process.start();
  process.join();
  REQUIRE(process.exitcode() == 0);
}

TEST_CASE("a caller that is killed in a call leaves the server and the object to others") {
  Manager manager;
  auto gate = manager.custom("Gate");
  pid_t child = test::spawn([&] { gate.call("wait"); });
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  ::kill(child, SIGKILL);
  REQUIRE(test::wait_for(child) == -SIGKILL);
  gate.call("open");
  gate.call("wait");
}

TEST_CASE("methods take and give proxies, which refer to the same objects") {
  Manager manager;
  auto shelf = manager.custom("Shelf");
  shelf.call("keep", manager.list<int>({1}));
  auto list = shelf.call<List<int>>("kept");
  list.push_back(2);
  REQUIRE(shelf.call<std::pair<std::string, List<int>>>("both").second == std::vector<int>{1, 2});
  auto made = shelf.call<Dict<std::string, int>>("make");
  made["made"] += 1;
  REQUIRE(made.at("made") == 2);
  REQUIRE_THROWS_AS(shelf.call<List<double>>("kept"), TypeMismatch);
  Manager other;
  REQUIRE_THROWS_AS(shelf.call("keep", other.list<int>()), UsageError);
}

TEST_CASE("one method at a time of an exclusive class") {
  Manager manager;
  auto careless = manager.custom("Careless");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 50; ++k) careless.call("step");
    });
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(careless.call<int>("step") == 201);
}

TEST_CASE("a factory that gives an object again gives the same one") {
  Manager manager;
  auto one = manager.custom("SingleGate"), same = manager.custom("SingleGate");
  REQUIRE(one.same_as(same));
  one.call("open");
  same.call("wait");
}

TEST_CASE("an object ends with the last that refers to it, be it a process or a container") {
  Manager manager;
  auto all = manager.dict<std::string, Custom>();
  {
    auto mortal = manager.custom("Mortal");
    all.put("m", mortal);
    REQUIRE(*living == 1);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  REQUIRE(*living == 1);
  all.clear();
  REQUIRE(comes_true([] { return *living == 0; }));
  pid_t child = test::spawn([&] {
    auto mortal = manager.custom("Mortal");
    pause();
  });
  REQUIRE(comes_true([] { return *living == 1; }));
  ::kill(child, SIGKILL);
  REQUIRE(test::wait_for(child) == -SIGKILL);
  REQUIRE(comes_true([] { return *living == 0; }));
}

TEST_CASE("a program that embeds the server registers there, and others find objects by name and token") {
  test::ServerGround ground;
  Server server({.name = "stock"});
  server.start();
  auto manager = Manager::connect("stock");
  auto counter = manager.custom(named("hits"), "Counter", 1);
  REQUIRE(manager.custom(named("hits"), "Counter", 100).call<int>("get") == 1);
  REQUIRE_THROWS_AS((manager.dict<std::string, int>(named("hits"))), TypeMismatch);
  REQUIRE(attach<Custom>(counter.token()).call<int>("add", 1) == 2);
  REQUIRE(manager.open<Custom>("hits").call<int>("add", 1) == 3);
  Process client([] {
    auto joined = Manager::connect("stock");
    joined.custom(named("hits"), "Counter", 0).call("add", 10);
  });
  client.start();
  client.join();
  REQUIRE(client.exitcode() == 0);
  REQUIRE(counter.call<int>("get") == 13);
  server.shutdown();
}

TEST_CASE("an object of a custom type ends with its server, and a call says so when another one has taken over") {
  test::ServerGround ground;
  Server first({.name = "stock"});
  first.start();
  auto manager = Manager::connect("stock");
  auto counter = manager.custom(named("hits"), "Counter", 1);
  auto plain = manager.dict<std::string, int>({{"x", 1}});
  first.detach();
  Server second({.name = "stock"});
  second.start();
  REQUIRE_THROWS_AS(counter.call("add", 1), ObjectGone);
  REQUIRE(plain.at("x") == 1);
  // Its name is free for another one.
  REQUIRE(manager.custom(named("hits"), "Counter", 7).call<int>("get") == 7);
  second.shutdown();
}
