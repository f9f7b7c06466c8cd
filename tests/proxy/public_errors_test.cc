// What leaves the library is a commonhold::Error, wherever the reason lies.
#include <commonhold/commonhold.h>
#include <commonhold/server.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <vector>

#include "support/children.h"
#include "support/manager_home.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

TEST_CASE("a key file that others can read is a system error at connect") {
  ManagerHome home;
  auto manager = Manager::start({.name = "stock"});
  const std::string key = manager.folder() + "/authkey";
  REQUIRE(chmod(key.c_str(), 0644) == 0);
  CHECK(system_code([] { (void)Manager::connect("stock"); }) == EACCES);
  CHECK_THAT(refusal<Error>([] { (void)Manager::connect("stock"); }), Contains("authkey") && Contains("0644"));
  REQUIRE(chmod(key.c_str(), 0600) == 0);
  CHECK_THAT(refusal<ValueError>([] { (void)Manager::connect("stock", {.authkey = std::string(5000, 'k')}); }),
             Contains("5000 bytes"));
  manager.shutdown();
}

TEST_CASE("what a server in this program cannot start with is a commonhold error") {
  ManagerHome home;
  Server server({.name = "no good name"});
  CHECK_THAT(refusal<Error>([&] { server.start(); }), Contains("no good name"));
  CHECK_THROWS_AS(server.start(), ServerError);
  Server relative({.name = std::string(100, 'x')});
  CHECK_THROWS_AS(relative.start(), Error);
}

TEST_CASE("a program without a free descriptor is told so when it connects") {
  ManagerHome home;
  auto manager = Manager::start({.name = "stock"});
  const auto code = run([] {
    rlimit few{32, 32};
    setrlimit(RLIMIT_NOFILE, &few);
    std::vector<int> held;
    for (int fd = open("/dev/null", O_RDONLY); fd >= 0; fd = open("/dev/null", O_RDONLY)) held.push_back(fd);
    const int seen = system_code([] { (void)Manager::connect("stock"); });
    throw Exit(seen == EMFILE ? 0 : 1);
  });
  CHECK(code == 0);
  manager.shutdown();
}

TEST_CASE("a manager or a watch that was moved from is a usage error") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, int>({{"a", 1}});
  Manager other = std::move(manager);
  CHECK_THAT(refusal<UsageError>([&] { (void)manager.dict<std::string, int>(); }),
             Contains("Manager") && Contains("moved"));
  CHECK_THROWS_AS(manager.name(), UsageError);
  CHECK_THROWS_AS(manager.objects(), UsageError);
  CHECK_THROWS_AS(manager.shutdown(), UsageError);
  CHECK_THROWS_AS(manager.condition(other.lock()), UsageError);
  manager = other;
  CHECK(manager.name() == other.name());
  auto watch = counts.watch();
  auto kept = std::move(watch);
  CHECK_THROWS_AS(watch.wait(0s), UsageError);
  CHECK_THROWS_AS(watch.fd(), UsageError);
  CHECK_FALSE(kept.wait(0s));
}

TEST_CASE("an Any that was moved from is null, and a pinned value is a usage error") {
  ManagerHome home;
  Manager manager;
  Any list = Any::list(1, 2), map = Any::map({{"k", 1}});
  const Any kept = std::move(list);
  Any& same = map;
  map = std::move(same);
  CHECK(map.size() == 1);
  CHECK(list.is_null());
  CHECK_THROWS_AS(list.size(), TypeMismatch);
  CHECK(kept.size() == 2);
  struct Point {
    double x, y;
  };
  auto places = manager.dict<std::string, Point>({{"home", {1, 2}}});
  auto pin = places.pin("home");
  const auto other = std::move(pin);
  CHECK(other->y == 2);
  CHECK_THROWS_AS(pin->x, UsageError);
  CHECK_THROWS_AS(pin.bytes(), UsageError);
}

TEST_CASE("an element's place keeps its object when the proxy it came from is gone") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, int>({{"a", 1}});
  const auto place = [&] {
    auto copy = manager.dict<std::string, int>({{"a", 5}});
    return copy["a"];
  }();
  counts["b"] = 2;
  CHECK(place == 5);
  place += 1;
  CHECK(place == 6);
  const auto first = [&] { return manager.list<std::string>({"x"})[0]; }();
  CHECK(first == "x");
  const auto attribute = [&] { return manager.ns({{"x", 3}})["x"]; }();
  CHECK(Any(attribute).as<int>() == 3);
}

TEST_CASE("long keys are shortened, and control characters escaped, in error messages") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, int>(named("a\x1b[31m\nname"));
  const std::string missing = refusal<KeyError>([&] { (void)counts.at(std::string(1 << 20, 'k')); });
  CHECK(missing.size() < 1000);
  CHECK_THAT(missing, Contains("kkkk... (") && Contains("bytes)"));
  CHECK_THAT(missing, Contains("a\\x1b[31m\\x0aname"));
  CHECK_THAT(refusal<KeyError>([&] { (void)counts.at("\x1b]0;title\x07"); }), Contains("\\u001b]0;title\\u0007"));
  const std::string attribute = refusal<AttributeError>([&] {
    (void)manager.ns().get(
        "\xc2\x9b"
        "2J\xff");
  });
  CHECK_THAT(attribute, Contains("\\x9b2J\\xff"));
  const std::string type = refusal<TypeMismatch>([&] { (void)manager.list<int>(named("a\x1b[31m\nname")); });
  CHECK_THAT(type, Contains("a\\x1b[31m\\x0aname"));
  CHECK_THAT(refusal<NameError>([&] { (void)manager.open<Lock>("no\x07ne"); }), Contains("no\\x07ne"));
  CHECK_THAT(refusal<NameError>([] { (void)Manager::connect("no\x07ne"); }), Contains("no\\x07ne"));
  CHECK_THAT(refusal<ValueError>([] { (void)attach<Lock>("tok\ren"); }), Contains("tok\\x0den"));
  CHECK_THAT(refusal<ValueError>([&] { (void)manager.list<std::string>().index(std::string(100000, 'v')); }),
             Contains("... (100002 bytes)"));
}
