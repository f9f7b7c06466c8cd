// Shared objects as keys of a program's own containers, and as text.
#include <commonhold/commonhold.h>
#include <fmt/ranges.h>

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <sstream>
#include <unordered_map>
#include <unordered_set>

#include <commonhold/format.h>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

template <typename T>
std::string streamed(const T& object) {
  std::ostringstream out;
  out << object;
  return out.str();
}

template <typename T>
void check_identity(const T& a, const T& b) {
  const T again = attach<T>(a.token());
  CHECK(ObjectEqual()(a, again));
  CHECK(!ObjectEqual()(a, b));
  CHECK(a.same_as(again));
  CHECK(!a.same_as(b));
  CHECK(ObjectHash()(a) == ObjectHash()(again));
  CHECK((ObjectLess()(a, b) != ObjectLess()(b, a)));
  CHECK(!ObjectLess()(a, again));
  std::set<T, ObjectLess> ordered{a, b, again};
  std::unordered_map<T, int, ObjectHash, ObjectEqual> counts;
  ++counts[a], ++counts[again], ++counts[b];
  CHECK(ordered.size() == 2);
  CHECK(counts.at(a) == 2);
  CHECK(fmt::format("{}", a) == streamed(a));
}

template <typename T>
void check_hash(const T& a, const T& b) {
  check_identity(a, b);
  const T again = attach<T>(a.token());
  CHECK((std::unordered_set<T>{a, again, b}.size() == 2));
  CHECK((std::set<T>{a, again, b}.size() == 2));
  CHECK((a < b) != (b < a));
}

}  // namespace

TEST_CASE("every shared object can be a key of a program's own containers, by its identity") {
  ManagerHome home;
  Manager m;
  check_identity(m.dict<std::string, int>(), m.dict<std::string, int>());
  check_identity(m.list<int>(), m.list<int>());
  check_identity(m.set<int>(), m.set<int>());
  check_identity(m.value<int>(1), m.value<int>(1));
  check_identity(m.array<int>(2), m.array<int>(2));
  check_identity(m.ns(), m.ns());
}

TEST_CASE("objects that are equal when they are the same one have std::hash and an order") {
  ManagerHome home;
  Manager m;
  check_hash(m.lock(), m.lock());
  check_hash(m.rlock(), m.rlock());
  check_hash(m.rwlock(), m.rwlock());
  check_hash(m.semaphore(1), m.semaphore(1));
  check_hash(m.bounded_semaphore(1), m.bounded_semaphore(1));
  check_hash(m.condition(), m.condition());
  check_hash(m.event(), m.event());
  check_hash(m.barrier(2), m.barrier(2));
  check_hash(m.queue<int>(), m.queue<int>());
  check_hash(m.lifo_queue<int>(), m.lifo_queue<int>());
  check_hash(m.simple_queue<int>(), m.simple_queue<int>());
  check_hash(m.priority_queue<int>(), m.priority_queue<int>());
}

TEST_CASE("objects, elements and Any are formatted as they are printed, with fmt/ranges.h included, too") {
  ManagerHome home;
  Manager m;
  auto dict = m.dict<std::string, int>({{"a", 1}});
  CHECK(fmt::format("{}", dict) == "{\"a\": 1}");
  CHECK(fmt::format("{:>10}|", dict["a"]) == "         1|");
  CHECK(fmt::format("{:.<12}|", m.list<int>({1, 2})) == "[1, 2]......|");
  CHECK(fmt::format("{}", Any::list(1, "a", nullptr)) == "[1, \"a\", null]");
}
