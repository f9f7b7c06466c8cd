// A dict that grows from nothing to a million entries: how fast, how long the slowest insert takes, how large it gets.
#include <commonhold/dict.h>
#include <commonhold/manager.h>

#include <algorithm>
#include <unordered_map>

#include "bench/dict_data.h"
#include "bench/ground.h"
#include "bench/workers.h"
#include "shm/dict.h"
#include "shm/extents.h"

namespace commonhold::bench {

namespace {

constexpr std::size_t kGrown = 1'000'000;

const std::vector<Key>& many_keys() {
  static const std::vector<Key> keys = keys_in_random_order(kGrown, 4);
  return keys;
}

// Seconds for all of `count` calls of insert(i).
template <typename Insert>
double time_all(Insert&& insert) {
  std::int64_t start = now_ns();
  for (std::size_t i = 0; i < kGrown; ++i) insert(i);
  return seconds_since(start);
}

// The longest time between two looks at the clock, in microseconds; one call of insert(i) lies between them.
template <typename Insert>
double slowest(Insert&& insert) {
  std::int64_t longest = 0, before = now_ns();
  for (std::size_t i = 0; i < kGrown; ++i) {
    insert(i);
    std::int64_t now = now_ns();
    longest = std::max(longest, now - before);
    before = now;
  }
  return static_cast<double>(longest) * 1e-3;
}

// Each time a new, empty dict of a new server.
template <typename Measure>
std::vector<double> with_dict(Measure&& measure) {
  (void)many_keys();
  return in_own_process([&]() -> std::vector<double> {
    Manager manager;
    pin_to_core(0);
    auto dict = manager.dict<std::string, Payload>();
    return {measure([&](std::size_t i) { dict.put(many_keys()[i].text(), make_payload(i)); })};
  });
}

template <typename Measure>
std::vector<double> with_map(Measure&& measure) {
  (void)many_keys();
  return in_own_process([&]() -> std::vector<double> {
    pin_to_core(0);
    std::unordered_map<Key, Payload, KeyHash> map;
    return {measure([&](std::size_t i) { map[many_keys()[i]] = make_payload(i); })};
  });
}

std::vector<double> insert_rate(const Plan&) {
  return with_dict([](auto&& insert) { return kGrown / time_all(insert) * 1e-6; });
}
std::vector<double> map_insert_rate(const Plan&) {
  return with_map([](auto&& insert) { return kGrown / time_all(insert) * 1e-6; });
}

std::vector<double> slowest_insert(const Plan&) {
  return with_dict([](auto&& insert) { return slowest(insert); });
}
std::vector<double> map_slowest_insert(const Plan&) {
  return with_map([](auto&& insert) { return slowest(insert); });
}

// As long as the inserts take, and nothing to do: what the machine alone makes a program wait.
std::vector<double> idle_gap(const Plan&) {
  return in_own_process([]() -> std::vector<double> {
    pin_to_core(0);
    std::int64_t start = now_ns(), before = start, longest = 0;
    while (before - start < 300'000'000) {
      std::int64_t now = now_ns();
      longest = std::max(longest, now - before);
      before = now;
    }
    return {static_cast<double>(longest) * 1e-3};
  });
}

// What belongs to the dict in the segment, so without a server here.
std::vector<double> bytes_an_entry(const Plan&) {
  (void)many_keys();
  return in_own_process([]() -> std::vector<double> {
    Ground ground(1u << 30);
    shm::ObjectAddress where = ground.make_dict();
    shm::Dict dict(where);
    for (std::size_t i = 0; i < kGrown; ++i) {
      expect_ok(dict.put(ground.me(), item(many_keys()[i]), item(make_payload(i))), "put");
    }
    return {static_cast<double>(shm::bytes_owned_by(*ground, where.object)) / kGrown};
  });
}

// The key and the value alone.
std::vector<double> bytes_of_data(const Plan&) {
  return {static_cast<double>(sizeof(Key) + sizeof(Payload))};
}

}  // namespace

void add_dict_growth_rows(Rows& rows) {
  rows.push_back({.family = "dict growth",
                  .name = "insert, 0 to 1,000,000 entries",
                  .unit = "M/s",
                  .target = 2,
                  .ours = {"", insert_rate},
                  .beside = {{"std::unordered_map, unlocked, private", map_insert_rate}},
                  .in_new_program = true});
  rows.push_back({.family = "dict growth",
                  .name = "slowest of these inserts",
                  .unit = "us",
                  .better = Better::kLower,
                  .target = 1000,
                  .ours = {"", slowest_insert},
                  .beside = {{"nothing but the clock, for 300 ms", idle_gap},
                             {"std::unordered_map, unlocked, private", map_slowest_insert}},
                  .in_new_program = true});
  rows.push_back({.family = "dict growth",
                  .name = "bytes an entry, at 1,000,000",
                  .unit = "bytes",
                  .better = Better::kLower,
                  .target = 125,
                  .ours = {"", bytes_an_entry},
                  .beside = {{"key and value alone", bytes_of_data}}});
}

}  // namespace commonhold::bench
