// Attributes that processes share.
#include <commonhold/name_space.h>

#include <catch2/catch.hpp>
#include <sstream>

#include <commonhold/attach.h>
#include <commonhold/manager.h>
#include <commonhold/process.h>

using namespace commonhold;

TEST_CASE("attributes are set, read, deleted and printed in order, without those that begin with an underscore") {
  Manager manager;
  auto space = manager.ns({{"b", 2}, {"a", 1}});
  space["c"] = "three";
  space.set("_hidden", 4);
  std::ostringstream out;
  out << space;
  REQUIRE(out.str() == R"(Namespace(a=1, b=2, c="three"))");
  REQUIRE(space.get<int>("_hidden") == 4);
  REQUIRE(space.at("c") == "three");
  REQUIRE(Any(space["a"]) == 1);
  REQUIRE(space.has("a"));
  space.del("a");
  REQUIRE_FALSE(space.has("a"));
  space["b"] += 5;
  REQUIRE(space.get<int>("b") == 7);
  REQUIRE(space.update("b", [](Any value) { return Any(value.as<int>() * 2); }) == 14);
  REQUIRE(space.items().size() == 3);
  std::ostringstream empty;
  empty << manager.ns();
  REQUIRE(empty.str() == "Namespace()");
}

TEST_CASE("an attribute that is missing is an error that names it") {
  Manager manager;
  auto space = manager.ns();
  REQUIRE_THROWS_AS(space.get("count"), AttributeError);
  REQUIRE_THROWS_AS(space.get("count"), KeyError);
  REQUIRE_THROWS_AS(space.del("count"), AttributeError);
  REQUIRE_THROWS_AS(space["count"] += 1, AttributeError);
  REQUIRE(space.find("count") == std::nullopt);
  try {
    space.get("count");
  } catch (const AttributeError& error) {
    REQUIRE(std::string(error.what()).find("no attribute \"count\" in anonymous namespace") == 0);
  }
  space["text"] = "x";
  REQUIRE_THROWS_AS(space.get<int>("text"), TypeMismatch);
}

TEST_CASE("attributes set in one process are read in another, objects among them") {
  Manager manager;
  auto space = manager.ns({{"n", 0}});
  Process setter([=] {
    space["x"] = 10;
    space["log"] = manager.list<std::string>({"made by the child"});
    for (int i = 0; i < 1000; ++i) space["n"] += 1;
  });
  setter.start();
  for (int i = 0; i < 1000; ++i) space["n"] += 1;
  setter.join();
  REQUIRE(setter.exitcode() == 0);
  REQUIRE(space.get<int>("x") == 10);
  REQUIRE(space.get<int>("n") == 2000);
  REQUIRE(space.get<List<std::string>>("log").at(0) == "made by the child");
}

TEST_CASE("a namespace is found by its name and its token, and contained in others") {
  Manager manager;
  manager.ns(named("global"))["x"] = 1;
  REQUIRE(manager.open<Namespace>("global").get<int>("x") == 1);
  auto space = manager.ns(named("global"));
  REQUIRE(attach<Namespace>(space.token()).same_as(space));
  REQUIRE_THROWS_AS((manager.open<Dict<std::string, Any>>("global")), TypeMismatch);
  auto all = manager.dict<std::string, Namespace>();
  all.put("g", space);
  all.at("g")["x"] = 2;
  REQUIRE(space.get<int>("x") == 2);
}
