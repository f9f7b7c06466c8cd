// Every error says what it is about.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using Catch::Contains;

TEST_CASE("errors of containers name the key, the index or the value, and the object") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>(named("scores"));
  CHECK_THROWS_WITH(counts.at("anna"), Contains("\"anna\"") && Contains("\"scores\"") && Contains("dict<text,int64>"));
  CHECK_THROWS_WITH(counts.pop("bert"), Contains("\"bert\""));
  CHECK_THROWS_WITH(counts.popitem(), Contains("popitem") && Contains("\"scores\"") && Contains("empty"));
  CHECK_THROWS_WITH((manager.dict<std::pair<int, double>, int>().at({1, 2.5})), Contains("(1, 2.5)"));
  auto numbers = manager.list<int>({1, 2});
  CHECK_THROWS_WITH(numbers.at(7), Contains("7") && Contains("2 elements") && Contains("anonymous list<int32>"));
  CHECK_THROWS_WITH(numbers.at(-3), Contains("-3"));
  CHECK_THROWS_WITH(numbers.remove(9), Contains("9"));
  CHECK_THROWS_WITH(manager.list<int>().pop_front(), Contains("pop_front") && Contains("empty"));
  CHECK_THROWS_WITH(manager.array<double>(1).at(1), Contains("index 1") && Contains("1 element"));
}

TEST_CASE("errors of managers name the name and say what to do") {
  ManagerHome home;
  CHECK_THROWS_WITH(Manager::connect("nowhere"), Contains("nowhere") && Contains("commonhold serve"));
  CHECK_THROWS_WITH(Manager::connect("not a name"), Contains("not a name"));
  CHECK_THROWS_AS(Manager::connect("not a name"), NameError);
  Manager manager;
  CHECK_THROWS_WITH(manager.open<Lock>("door"), Contains("door"));
  manager.create<Lock>("door");
  CHECK_THROWS_WITH(manager.create<Lock>("door"), Contains("door"));
  CHECK_THROWS_WITH(manager.remove("gate"), Contains("gate"));
  CHECK_THROWS_WITH(manager.create<Lock>(std::string(96, 'n')), Contains("95"));
}

TEST_CASE("errors of locks name the lock") {
  ManagerHome home;
  Manager manager;
  CHECK_THROWS_WITH(manager.lock(named("door")).unlock(), Contains("\"door\"") && Contains("free"));
  CHECK_THROWS_WITH(manager.value<int>(named("v")).lock().unlock(), Contains("\"v\"") && Contains("free"));
}

TEST_CASE("each error is a commonhold::Error and a std::exception; a missing key or index is a std::out_of_range") {
  ManagerHome home;
  Manager manager;
  CHECK_THROWS_AS(manager.lock().unlock(), LockError);
  CHECK_THROWS_AS(manager.lock().unlock(), Error);
  CHECK_THROWS_AS(manager.lock().unlock(), std::runtime_error);
  CHECK_THROWS_AS(manager.lock().unlock(), std::exception);
  CHECK_THROWS_AS(manager.list<int>().at(0), LookupError);
  CHECK_THROWS_AS(manager.list<int>().at(0), std::out_of_range);
  auto dict = manager.dict<std::string, int>();
  CHECK_THROWS_AS(dict.at("a"), std::out_of_range);
  CHECK_THROWS_AS(dict.at("a"), std::exception);
  try {
    (void)dict.at("a");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("\"a\"") != std::string::npos);
    CHECK(dynamic_cast<const std::exception*>(&error)->what() == error.what());
  }
}
