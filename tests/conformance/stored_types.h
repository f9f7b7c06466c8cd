// One table of types, one of places: every type goes through every place that takes it, and comes out as it went in.
//
//   check_types<bool, std::string, ...>(places);       // Samples<T>::values() gives three values, in their order
#pragma once

#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <concepts>
#include <string>
#include <vector>

namespace commonhold::test {

template <typename T>
struct Samples;

template <typename T>
bool same(const T& a, const T& b) {
  if constexpr (detail::Proxy<T>) {
    return a.same_as(b);
  } else {
    return a == b;
  }
}
template <typename T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!same<T>(a[i], b[i])) return false;
  }
  return true;
}

template <typename T>
T returned(T value) {
  return value;
}

struct Places {
  Manager manager;
  Pool pool{1};
  Pipe pipe;
};

template <typename T>
void check_dict_values(const Manager& manager, const std::vector<T>& v) {
  auto dict = manager.dict<std::string, T>();
  dict.put("a", v[0]);
  CHECK(same<T>(dict.at("a"), v[0]));
  CHECK(same<T>(dict.exchange("a", v[1]).value(), v[0]));
  CHECK(same<T>(dict.get("none", v[2]), v[2]));
  dict["b"] = v[2];
  CHECK(same<T>(T(dict["b"]), v[2]));
  CHECK(same<T>(dict.items().at(0).second, v[1]));
  CHECK(same<T>(dict.get_many(std::vector<std::string>{"b"}).at(0).value(), v[2]));
  std::size_t seen = 0;
  for (const auto& [key, value] : dict) seen += same<T>(value, key == "a" ? v[1] : v[2]) ? 1u : 0u;
  CHECK(seen == 2);
  CHECK(same<T>(dict.update("a", [&](const T&) { return v[0]; }), v[0]));
  CHECK(same<T>(dict.pop("a"), v[0]));
  CHECK(same<T>(dict.popitem().second, v[2]));
}

template <typename T>
void check_dict_keys(const Manager& manager, const std::vector<T>& v) {
  if constexpr (detail::StorableKey<T>) {
    auto dict = manager.dict<T, int>();
    for (int i = 0; i < 3; ++i) dict.put(v[static_cast<std::size_t>(i)], i);
    CHECK(dict.at(v[1]) == 1);
    CHECK(dict.keys() == v);
    CHECK(dict.erase(v[0]));
    CHECK(!dict.contains(v[0]));
    auto set = manager.set<T>();
    CHECK(set.add(v[0]));
    CHECK(!set.add(v[0]));
    CHECK(set.contains(v[0]));
    CHECK(!set.contains(v[1]));
    CHECK(same<T>(set.pop(), v[0]));
  }
}

template <typename T>
void check_list(const Manager& manager, const std::vector<T>& v) {
  auto list = manager.list<T>();
  list.push_back(v[1]);
  list.insert(0, v[0]);
  list.extend(std::vector<T>{v[2]});
  CHECK(same<T>(list.items(), v));
  CHECK(same<T>(list.at(-1), v[2]));
  list.set(0, v[2]);
  CHECK(same<T>(list.front(), v[2]));
  CHECK(same<T>(list.slice(1), {v[1], v[2]}));
  CHECK(same<T>(list.pop(), v[2]));
  list.assign(v);
  std::size_t at = 0;
  for (const auto& element : list) at += same<T>(element, v[at]) ? 1u : 0u;
  CHECK(at == 3);
}

template <typename T>
void check_plain(const Manager& manager, const std::vector<T>& v) {
  if constexpr (detail::Plain<T>) {
    auto value = manager.value<T>(v[0]);
    CHECK(value.load() == v[0]);
    value.store(v[1]);
    CHECK(value.exchange(v[2]) == v[1]);
    T expected = v[2];
    CHECK(value.compare_exchange(expected, v[0]));
    auto array = manager.array<T>(v);
    CHECK(array.at(1) == v[1]);
    array.set(0, v[2]);
    CHECK(array.slice(0) == std::vector<T>{v[2], v[1], v[2]});
    array.fill(v[0]);
    CHECK(array.at(2) == v[0]);
  }
}

template <typename Queue, typename T>
void check_queue(const Queue& queue, const std::vector<T>& v) {
  queue.put(v[0]);
  CHECK(same<T>(queue.get(), v[0]));
  CHECK(!queue.try_get());
  queue.put(v[1]);
  CHECK(same<T>(queue.try_get().value(), v[1]));
  queue.put_many(v);
  CHECK(queue.size() == 3);
  CHECK(queue.get_many(9).size() == 3);
}

template <typename T>
void check_queues(const Manager& manager, const std::vector<T>& v) {
  check_queue(manager.queue<T>(), v);
  check_queue(manager.queue<T>(QueueOptions{.redeliver = true}), v);
  check_queue(manager.lifo_queue<T>(), v);
  auto simple = manager.simple_queue<T>();
  simple.put(v[0]);
  CHECK(same<T>(simple.get(), v[0]));
  auto priority = manager.priority_queue<T>();
  priority.put(2, v[0]);
  priority.put(1, v[1]);
  CHECK(same<T>(priority.get().value, v[1]));
}

template <typename T>
void check_channels(Places& places, const std::vector<T>& v) {
  places.pipe.first.send(v[0]);
  CHECK(same<T>(places.pipe.second.recv<T>(), v[0]));
  CHECK(same<T>(places.pool.apply(returned<T>, v[1]), v[1]));
  CHECK(same<T>(places.pool.map(returned<T>, v), v));
}

// As an attribute, and as an element of a dict of Any.
template <typename T>
void check_any(const Manager& manager, const std::vector<T>& v) {
  if constexpr (std::constructible_from<Any, const T&>) {
    auto space = manager.ns();
    space.set("a", v[0]);
    CHECK(same<T>(space.at("a").template as<T>(), v[0]));
    auto list = manager.list<Any>();
    list.push_back(v[1]);
    CHECK(same<T>(list.at(0).template as<T>(), v[1]));
  }
}

// In containers of its own program, one in another.
template <typename T>
void check_inside(const Manager& manager, const std::vector<T>& v) {
  auto rows = manager.list<std::vector<T>>();
  rows.push_back(v);
  CHECK(same<T>(rows.at(0), v));
  auto maybe = manager.dict<int, std::optional<T>>();
  maybe.put(1, v[0]);
  maybe.put(2, std::nullopt);
  CHECK(same<T>(maybe.at(1).value(), v[0]));
  CHECK(!maybe.at(2));
  auto pairs = manager.list<std::map<std::string, std::pair<int, T>>>();
  pairs.push_back({{"k", {5, v[2]}}});
  CHECK(same<T>(pairs.at(0).at("k").second, v[2]));
}

template <typename T>
void check_type(Places& places) {
  const std::vector<T> v = Samples<T>::values(places.manager);
  INFO("the type " << detail::type_name<T>());
  REQUIRE(v.size() == 3);
  check_dict_values<T>(places.manager, v);
  check_dict_keys<T>(places.manager, v);
  check_list<T>(places.manager, v);
  check_plain<T>(places.manager, v);
  check_queues<T>(places.manager, v);
  check_channels<T>(places, v);
  check_any<T>(places.manager, v);
  check_inside<T>(places.manager, v);
}
template <typename... T>
void check_types(Places& places) {
  (check_type<T>(places), ...);
}

}  // namespace commonhold::test
