// Random steps on a Dict and a List, held against standard containers after each.
#include <commonhold/manager.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

using Random = std::mt19937_64;

std::int64_t any(Random& random, std::int64_t) {
  return static_cast<std::int64_t>(random() % 5);
}
std::string any(Random& random, const std::string&) {
  return std::string(random() % (random() % 20 == 0 ? 3000 : 20), static_cast<char>('a' + random() % 3));
}
std::vector<std::string> any(Random& random, const std::vector<std::string>&) {
  std::vector<std::string> all(random() % 4);
  for (auto& text : all) text = any(random, text);
  return all;
}
std::pair<int, double> any(Random& random, const std::pair<int, double>&) {
  return {static_cast<int>(random() % 10), static_cast<double>(random() % 4) / 2};
}

// A dict as Python has it: entries in the order of insertion.
template <typename K, typename V>
struct OrderedModel {
  std::vector<std::pair<K, V>> entries;

  auto find(const K& key) {
    return std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.first == key; });
  }
  bool contains(const K& key) { return find(key) != entries.end(); }
  bool put(const K& key, const V& value) {
    auto at = find(key);
    if (at != entries.end()) {
      at->second = value;
      return false;
    }
    entries.emplace_back(key, value);
    return true;
  }
};

template <typename K, typename V>
void check_dict(std::size_t keys, int steps) {
  ManagerHome home;
  Manager manager;
  Random random(Catch::rngSeed());
  auto dict = manager.dict<K, V>();
  OrderedModel<K, V> model;
  std::vector<K> pool;
  for (std::size_t i = 0; i < keys; ++i) pool.push_back(any(random, K()));
  for (int step = 0; step < steps; ++step) {
    INFO("seed " << Catch::rngSeed() << ", step " << step);
    const K& key = pool[random() % keys];
    const V value = any(random, V());
    const auto at = model.find(key);
    const bool present = at != model.entries.end();
    switch (random() % 18) {
      case 0:
        dict.put(key, value), model.put(key, value);
        break;
      case 1:
        dict[key] = value, model.put(key, value);
        break;
      case 2:
        REQUIRE(dict.insert(key, value) == !present);
        if (!present) model.put(key, value);
        break;
      case 3:
        REQUIRE(dict.insert_or_assign(key, value) == model.put(key, value));
        break;
      case 4:
        REQUIRE(dict.setdefault(key, value) == (present ? at->second : value));
        if (!present) model.put(key, value);
        break;
      case 5:
        REQUIRE(dict.erase(key) == (present ? 1 : 0));
        if (present) model.entries.erase(at);
        break;
      case 6:
        if (present) {
          REQUIRE(dict.pop(key) == at->second);
          model.entries.erase(at);
        } else {
          REQUIRE_THROWS_AS(dict.pop(key), KeyError);
        }
        break;
      case 7:
        if (model.entries.empty()) {
          REQUIRE_THROWS_AS(dict.popitem(), KeyError);
        } else {
          REQUIRE(dict.popitem() == model.entries.back());
          model.entries.pop_back();
        }
        break;
      case 8:
        REQUIRE(dict.find(key) == (present ? std::optional<V>(at->second) : std::nullopt));
        break;
      case 9:
        REQUIRE(dict.exchange(key, value) == (present ? std::optional<V>(at->second) : std::nullopt));
        model.put(key, value);
        break;
      case 10:
        if (present) {
          V expected = random() % 2 == 0 ? at->second : any(random, V());
          const bool same = expected == at->second;
          REQUIRE(dict.compare_exchange(key, expected, value) == same);
          REQUIRE(expected == at->second);
          if (same) at->second = value;
        }
        break;
      case 11:
        REQUIRE(dict.update(key, value, [](V seen) { return seen; }) == (present ? at->second : value));
        if (!present) model.put(key, value);
        break;
      case 12: {
        std::vector<std::pair<K, V>> batch;
        for (auto i = random() % 10; i > 0; --i) batch.emplace_back(pool[random() % keys], any(random, V()));
        dict.update(batch);
        for (const auto& entry : batch) model.put(entry.first, entry.second);
        break;
      }
      case 13: {
        std::vector<K> asked;
        for (auto i = random() % 10; i > 0; --i) asked.push_back(pool[random() % keys]);
        const auto found = dict.get_many(asked);
        REQUIRE(found.size() == asked.size());
        for (std::size_t i = 0; i < asked.size(); ++i) {
          const auto there = model.find(asked[i]);
          REQUIRE(found[i] == (there == model.entries.end() ? std::nullopt : std::optional<V>(there->second)));
        }
        break;
      }
      case 14:
        REQUIRE(dict.replace(key, value) == present);
        if (present) at->second = value;
        break;
      case 15:
        REQUIRE(dict.size() == model.entries.size());
        break;
      case 16:
        if (random() % 50 == 0) dict.clear(), model.entries.clear();
        break;
      case 17:
        if (random() % 50 == 0) {
          OrderedModel<K, V> other;
          for (auto i = random() % 30; i > 0; --i) other.put(pool[random() % keys], any(random, V()));
          dict.assign(other.entries);
          model = other;
        }
        break;
    }
    if (step % 50 == 0) REQUIRE(dict.items() == model.entries);
  }
  REQUIRE(dict.items() == model.entries);
}

template <typename T>
void check_list(int steps) {
  ManagerHome home;
  Manager manager;
  Random random(Catch::rngSeed());
  auto list = manager.list<T>();
  std::vector<T> model;
  const auto some = [&] {
    std::vector<T> values;
    for (auto i = random() % 8; i > 0; --i) values.push_back(any(random, T()));
    return values;
  };
  // Python's clipping of [first, last).
  const auto clip = [&](std::ptrdiff_t& first, std::ptrdiff_t& last) {
    const auto size = static_cast<std::ptrdiff_t>(model.size());
    for (auto* end : {&first, &last}) *end = std::clamp<std::ptrdiff_t>(*end < 0 ? *end + size : *end, 0, size);
    last = std::max(first, last);
  };
  for (int step = 0; step < steps; ++step) {
    INFO("seed " << Catch::rngSeed() << ", step " << step);
    const auto size = static_cast<std::ptrdiff_t>(model.size());
    // Anywhere in the list, or a little outside of it.
    const auto index = static_cast<std::ptrdiff_t>(random() % (2 * model.size() + 3)) - size - 1;
    const auto from_front = index < 0 ? index + size : index;
    const bool inside = from_front >= 0 && from_front < size;
    const auto at = model.begin() + (inside ? from_front : 0);
    const T value = any(random, T());
    switch (random() % 17) {
      case 0:
      case 1:
        list.push_back(value), model.push_back(value);
        break;
      case 2:
        list.push_front(value), model.insert(model.begin(), value);
        break;
      case 3:
        REQUIRE(list.try_pop_back() == (size == 0 ? std::nullopt : std::optional<T>(model.back())));
        if (size != 0) model.pop_back();
        break;
      case 4:
        REQUIRE(list.try_pop_front() == (size == 0 ? std::nullopt : std::optional<T>(model.front())));
        if (size != 0) model.erase(model.begin());
        break;
      case 5:
        if (inside) {
          REQUIRE(list.at(index) == *at);
        } else {
          REQUIRE_THROWS_AS(list.at(index), IndexError);
        }
        break;
      case 6:
        if (inside) {
          list.set(index, value), *at = value;
        } else {
          REQUIRE_THROWS_AS(list.set(index, value), IndexError);
        }
        break;
      case 7:
        if (inside || from_front == size) {
          list.insert(index, value);
          model.insert(model.begin() + from_front, value);
        } else {
          REQUIRE_THROWS_AS(list.insert(index, value), IndexError);
        }
        break;
      case 8:
        if (inside) {
          REQUIRE(list.pop(index) == *at);
          model.erase(at);
        } else if (index != -1) {
          REQUIRE_THROWS_AS(list.erase(index), IndexError);
        }
        break;
      case 9: {
        const auto values = some();
        list.extend(values);
        model.insert(model.end(), values.begin(), values.end());
        break;
      }
      case 10: {
        auto first = index, last = index + static_cast<std::ptrdiff_t>(random() % 20) - 5;
        const auto slice = list.slice(first, last);
        clip(first, last);
        REQUIRE(slice == std::vector<T>(model.begin() + first, model.begin() + last));
        break;
      }
      case 11: {
        auto first = index, last = index + static_cast<std::ptrdiff_t>(random() % 20) - 5;
        const auto values = some();
        list.set_slice(first, last, values);
        clip(first, last);
        model.insert(model.erase(model.begin() + first, model.begin() + last), values.begin(), values.end());
        break;
      }
      case 12: {
        const auto found = std::find(model.begin(), model.end(), value);
        REQUIRE(list.find(value) == (found == model.end() ? std::nullopt : std::optional(found - model.begin())));
        if (found == model.end()) {
          REQUIRE_THROWS_AS(list.remove(value), ValueError);
        } else {
          list.remove(value);
          model.erase(found);
        }
        break;
      }
      case 13:
        REQUIRE(list.count(value) == static_cast<std::size_t>(std::count(model.begin(), model.end(), value)));
        break;
      case 14:
        if (random() % 10 == 0) list.reverse(), std::reverse(model.begin(), model.end());
        break;
      case 15:
        if (random() % 10 == 0) list.sort(), std::stable_sort(model.begin(), model.end());
        break;
      case 16:
        if (random() % 100 == 0) list.clear(), model.clear();
        break;
    }
    if (step % 50 == 0) REQUIRE(list == model);
  }
  REQUIRE(list == model);
}

}  // namespace

TEST_CASE("a dict of numbers does what an ordered map does") {
  check_dict<std::int64_t, std::int64_t>(5, 20'000);
}
TEST_CASE("a dict of texts does what an ordered map does") {
  check_dict<std::string, std::string>(200, 20'000);
}
TEST_CASE("a dict of compound values does what an ordered map does") {
  check_dict<std::pair<int, double>, std::vector<std::string>>(40, 10'000);
}
TEST_CASE("a list of numbers does what a vector does") {
  check_list<std::int64_t>(20'000);
}
TEST_CASE("a list of texts does what a vector does") {
  check_list<std::string>(20'000);
}
TEST_CASE("a list of compound values does what a vector does") {
  check_list<std::vector<std::string>>(5'000);
}
