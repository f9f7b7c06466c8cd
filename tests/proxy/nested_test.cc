// Objects inside of objects: `Dict<std::string, List<Dict<std::string, int>>>` and the like.
#include <catch2/catch.hpp>
#include <random>
#include <sstream>
#include <thread>

#include <commonhold/manager.h>
#include <commonhold/process.h>

#include "support/managers.h"
#include "support/process_shared.h"

using namespace commonhold;

namespace {

using Row = Dict<std::string, int>;
using Table = List<Row>;

// How many objects the manager has once it has noticed what went; waits until there are `expected`.
std::size_t objects_left(const Manager& manager, std::size_t expected) {
  std::size_t found = 0;
  for (int i = 0; i < 500; ++i) {
    found = manager.objects().size();
    if (found == expected) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return found;
}

}  // namespace

TEST_CASE("a nested object that is read is a proxy of the one that was stored") {
  Manager manager;
  auto tables = manager.dict<std::string, Table>();
  auto table = manager.list<Row>();
  table.push_back(manager.dict<std::string, int>({{"x", 0}}));
  tables.put("a", table);
  tables.at("a").at(0)["x"] = 1;
  REQUIRE(table.at(0).at("x") == 1);
  REQUIRE(tables.at("a").same_as(table));
  REQUIRE(tables.find("b") == std::nullopt);
  tables["a"]->push_back(manager.dict<std::string, int>({{"y", 2}}));
  REQUIRE(table.size() == 2);
  int total = 0;
  for (const auto& [name, rows] : tables) {
    for (const auto& row : rows) {
      for (const auto& [key, value] : row) total += value;
    }
  }
  REQUIRE(total == 3);
  std::ostringstream text;
  text << tables;
  REQUIRE(text.str() == R"({"a": [{"x": 1}, {"y": 2}]})");
}

TEST_CASE("what another process stores in a nested object is seen by all, and outlives it") {
  Manager manager;
  auto tables = manager.dict<std::string, Table>();
  Process maker([=] {
    auto table = manager.list<Row>();
    for (int i = 0; i < 10; ++i) table.push_back(manager.dict<std::string, int>({{"i", i}}));
    tables.put("made", table);
  });
  maker.start();
  maker.join();
  REQUIRE(maker.exitcode() == 0);
  REQUIRE(tables.at("made").size() == 10);
  REQUIRE(tables.at("made").at(7).at("i") == 7);
  Process changer([=] { tables.at("made").at(7)["i"] += 100; });
  changer.start();
  changer.join();
  REQUIRE(tables.at("made").at(7).at("i") == 107);
  REQUIRE(objects_left(manager, 12) == 12);
}

TEST_CASE("nested objects go with the last that contains them") {
  Manager manager;
  auto tables = manager.dict<std::string, Table>();
  auto add = [&](const std::string& name) {
    auto table = manager.list<Row>();
    table.push_back(manager.dict<std::string, int>());
    tables.put(name, table);
  };
  add("a");
  add("b");
  REQUIRE(objects_left(manager, 5) == 5);
  SECTION("erased") {
    tables.erase("a");
  }
  SECTION("overwritten with another") {
    tables.put("a", tables.at("b"));
  }
  SECTION("popped") {
    REQUIRE(tables.pop("a").size() == 1);
  }
  SECTION("popped last") {
    REQUIRE(tables.popitem().first == "b");
  }
  SECTION("assigned") {
    tables.assign({{"b", tables.at("b")}});
  }
  SECTION("exchanged") {
    REQUIRE(tables.exchange("a", tables.at("b")));
  }
  REQUIRE(objects_left(manager, 3) == 3);
  tables.clear();
  REQUIRE(objects_left(manager, 1) == 1);
}

TEST_CASE("a list's nested objects go with the last that contains them") {
  Manager manager;
  auto rows = manager.list<Row>();
  for (int i = 0; i < 3; ++i) rows.push_back(manager.dict<std::string, int>({{"i", i}}));
  REQUIRE(objects_left(manager, 4) == 4);
  std::size_t left = 3;
  SECTION("erased") {
    rows.erase(1);
  }
  SECTION("popped at the back") {
    REQUIRE(rows.pop_back().at("i") == 2);
  }
  SECTION("popped at the front") {
    REQUIRE(rows.pop_front().at("i") == 0);
  }
  SECTION("popped in the middle") {
    REQUIRE(rows.pop(-2).at("i") == 1);
  }
  SECTION("overwritten") {
    rows.set(0, rows.at(1));
  }
  SECTION("removed") {
    rows.remove(rows.at(2));
  }
  SECTION("cut out") {
    rows.erase_slice(0, 2);
    left = 2;
  }
  SECTION("only turned round") {
    rows.reverse();
    left = 4;
  }
  SECTION("only sorted") {
    rows.sort([](const Row& a, const Row& b) { return a.at("i") > b.at("i"); });
    REQUIRE(rows.at(0).at("i") == 2);
    left = 4;
  }
  REQUIRE(objects_left(manager, left) == left);
}

TEST_CASE("a popped object lives on with the proxy that pop gave") {
  Manager manager;
  auto rows = manager.list<Row>({manager.dict<std::string, int>({{"x", 1}})});
  Row row = rows.pop();
  REQUIRE(objects_left(manager, 2) == 2);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  row["x"] = 2;
  rows.push_back(row);
  REQUIRE(rows.at(0).at("x") == 2);
}

TEST_CASE("every kind of object can be contained") {
  Manager manager;
  auto locks = manager.dict<std::string, Lock>();
  locks.put("a", manager.lock());
  locks.at("a").lock();
  REQUIRE(locks.at("a").locked());
  locks.at("a").unlock();
  auto values = manager.list<Value<int>>({manager.value(5)});
  ++values.at(0);
  REQUIRE(values.at(0).load() == 6);
  auto arrays = manager.dict<int, Array<double>>();
  arrays.put(1, manager.array<double>({1.5, 2.5}));
  REQUIRE(arrays.at(1)[1] == 2.5);
}

TEST_CASE("values may contain objects anywhere inside") {
  Manager manager;
  using Pair = std::pair<std::string, List<int>>;
  using Many = std::vector<std::optional<List<int>>>;
  auto pairs = manager.list<Pair>();
  pairs.push_back({"one", manager.list<int>({1})});
  pairs.at(0).second.push_back(2);
  REQUIRE(pairs.at(0).second == std::vector<int>{1, 2});
  auto many = manager.dict<std::string, Many>();
  many.put("m", Many{manager.list<int>({7}), std::nullopt});
  REQUIRE(objects_left(manager, 4) == 4);
  REQUIRE(many.at("m").size() == 2);
  REQUIRE(many.at("m")[0]->at(0) == 7);
  REQUIRE_FALSE(many.at("m")[1].has_value());
  many.clear();
  REQUIRE(objects_left(manager, 3) == 3);
}

TEST_CASE("queues of every order pass objects on, and keep them meanwhile") {
  Manager manager;
  auto fifo = manager.queue<List<int>>();
  auto lifo = manager.lifo_queue<std::pair<std::string, List<int>>>();
  auto by_priority = manager.priority_queue<Any>();
  auto again = manager.queue<List<int>>(QueueOptions{.redeliver = true});
  Process maker([=] {
    fifo.put(manager.list<int>({1}));
    fifo.put_many({manager.list<int>({2}), manager.list<int>({3})});
    lifo.put({"name", manager.list<int>({4})});
    by_priority.put(1, Any::list("x", manager.list<int>({5})));
    by_priority.put(0, 7);
    again.put(manager.list<int>({6}));
  });
  maker.start();
  maker.join();
  REQUIRE(maker.exitcode() == 0);
  REQUIRE(objects_left(manager, 10) == 10);
  REQUIRE(fifo.get() == std::vector<int>{1});
  REQUIRE(fifo.get_many(5).at(1) == std::vector<int>{3});
  REQUIRE(lifo.get().second == std::vector<int>{4});
  REQUIRE(by_priority.get().value == 7);
  REQUIRE(by_priority.get().value.at(1).as<List<int>>() == std::vector<int>{5});
  REQUIRE(again.get() == std::vector<int>{6});
  again.task_done();
  REQUIRE(objects_left(manager, 4) == 4);
}

TEST_CASE("objects that processes pass through queues without a pause are never lost and never leak") {
  Manager manager;
  auto there = manager.queue<Row>(), back = manager.queue<Row>();
  auto ordered = manager.lifo_queue<Row>();
  constexpr int kRows = 20;
  for (int i = 0; i < kRows; ++i) there.put(manager.dict<std::string, int>({{"passed", 0}}));
  std::vector<Process> movers;
  for (int m = 0; m < 3; ++m) {
    movers.emplace_back([=] {
      for (int i = 0; i < 400; ++i) {
        auto row = there.get();
        row["passed"] += 1;
        if (i % 2 == 0) {
          ordered.put(std::move(row));
          there.put(ordered.get());
        } else {
          back.put(std::move(row));
          there.put(back.get());
        }
        auto other = manager.list<int>({i});  // something to sweep
      }
    });
  }
  for (auto& mover : movers) mover.start();
  for (auto& mover : movers) mover.join();
  for (auto& mover : movers) REQUIRE(mover.exitcode() == 0);
  int passed = 0;
  for (int i = 0; i < kRows; ++i) passed += there.get().at("passed");
  REQUIRE(passed == 1200);
  REQUIRE(objects_left(manager, 3) == 3);
}

TEST_CASE("an object of another manager is refused with the names of both") {
  Manager one, other;
  auto rows = one.list<Row>();
  try {
    rows.push_back(other.dict<std::string, int>());
    FAIL("it was stored");
  } catch (const UsageError& error) {
    REQUIRE(std::string(error.what()).find(one.folder()) != std::string::npos);
    REQUIRE(std::string(error.what()).find(other.folder()) != std::string::npos);
  }
  REQUIRE(rows.empty());
}

TEST_CASE("the contained type is part of the signature") {
  Manager manager;
  manager.create<Dict<std::string, List<int>>>("d");
  REQUIRE_THROWS_AS((manager.open<Dict<std::string, List<double>>>("d")), TypeMismatch);
  REQUIRE(manager.objects().at(0).type == "dict<text,list<int32>>");
}

TEST_CASE("nested changes that several processes make in one step are all done") {
  Manager manager;
  auto rows = manager.dict<std::string, Row>();
  rows.put("shared", manager.dict<std::string, int>({{"n", 0}}));
  std::vector<Process> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([=] {
      for (int k = 0; k < 500; ++k) rows.at("shared")["n"] += 1;
    });
  }
  for (auto& worker : workers) worker.start();
  for (auto& worker : workers) worker.join();
  REQUIRE(rows.at("shared").at("n") == 2000);
}

TEST_CASE("processes that are killed while they pass nested objects around lose none and leak none") {
  INFO("seed " << Catch::rngSeed());
  std::mt19937 random(Catch::rngSeed());
  Manager manager;
  constexpr int kRows = 12;
  auto here = manager.list<Row>(), there = manager.list<Row>();
  for (int i = 0; i < kRows; ++i) here.push_back(manager.dict<std::string, int>({{"id", i}}));
  for (int round = 0; round < 15; ++round) {
    std::vector<pid_t> children;
    for (int c = 0; c < 3; ++c) {
      children.push_back(test::spawn([=] {
        for (unsigned i = 0;; ++i) {
          const auto& from = (i + static_cast<unsigned>(c)) % 2 == 0 ? here : there;
          const auto& to = i % 3 == 0 ? here : there;
          if (from.empty()) continue;
          auto rows = from.items();
          if (rows.empty()) continue;
          to.push_back(rows.front());
          from.try_pop_front();
          if (here.size() + there.size() > 60) {
            here.erase_slice(40);
            there.erase_slice(40);
          }
        }
      }));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + random() % 20));
    for (pid_t child : children) ::kill(child, SIGKILL);
    for (pid_t child : children) REQUIRE(test::wait_for(child) == -SIGKILL);
    for (const auto& list : {here, there}) {
      for (const auto& row : list.items()) REQUIRE(row.at("id") < kRows);
    }
  }
  std::vector<std::string> tokens;
  for (const auto& list : {here, there}) {
    for (const auto& row : list.items()) tokens.push_back(row.token());
  }
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  REQUIRE(objects_left(manager, tokens.size() + 2) == tokens.size() + 2);
  here.clear();
  there.clear();
  REQUIRE(objects_left(manager, 2) == 2);
}
