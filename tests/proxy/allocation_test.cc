// Taking something out of an object without private memory: this program lets the calls of operator new fail.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <new>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include <commonhold/commonhold.h>

#include "support/manager_home.h"

namespace {

thread_local std::uint64_t allocations_left = ~std::uint64_t{0};

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t size) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left != ~std::uint64_t{0}) --allocations_left;
  if (void* memory = std::malloc(size != 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

using namespace commonhold;
using namespace std::chrono_literals;
using test::ManagerHome;

namespace {

// Takes all with fewer allocations than are needed, then with one more each time: nothing is lost.
template <typename Q, typename T>
void lose_no_item(const Q& queue, const std::vector<T>& items) {
  const std::multiset<T> expected(items.begin(), items.end());
  int failures = 0;
  bool all = false;
  for (std::uint64_t allowed = 0; !all; ++allowed) {
    if (queue.empty()) queue.put_many(items);
    std::vector<T> got;
    allocations_left = allowed;
    try {
      got = queue.get_many(items.size(), 1s);
    } catch (const std::bad_alloc&) {
      ++failures;
    }
    allocations_left = ~std::uint64_t{0};
    INFO(allowed << " allocations succeeded");
    all = got.size() == items.size();
    REQUIRE(queue.size() + got.size() == items.size());
    if (got.empty()) continue;
    std::multiset<T> found(got.begin(), got.end());
    for (const T& item : queue.get_many(items.size(), 0s)) found.insert(item);
    CHECK(found == expected);
  }
  CHECK(failures > 0);
}

// Takes with fewer allocations than are needed, then with one more each time, until it succeeds: until then everything
// is where it was.
template <typename Take, typename Contents>
void take_all_or_nothing(Take&& take, Contents&& contents) {
  const auto before = contents();
  for (std::uint64_t allowed = 0; allowed < 1'000; ++allowed) {
    bool taken = true;
    allocations_left = allowed;
    try {
      (void)take();
    } catch (const std::bad_alloc&) {
      taken = false;
    }
    allocations_left = ~std::uint64_t{0};
    INFO(allowed << " allocations succeeded");
    if (taken) {
      CHECK(contents() != before);
      return;
    }
    REQUIRE(contents() == before);
  }
  FAIL("it never succeeded");
}

struct Padded {
  char letter = 0;
  double number = 0;
  friend auto operator<=>(const Padded&, const Padded&) = default;
};

}  // namespace

TEST_CASE("get_many loses no item for want of private memory") {
  ManagerHome home;
  Manager manager;
  const std::vector<std::string> texts = {"a", std::string(100, 'b'), std::string(5'000, 'c'), "", "d"};
  const std::vector<std::vector<int>> sequences = {{1, 2, 3}, {}, std::vector<int>(300, 4)};
  const std::vector<Padded> structs = {{'a', 1}, {'b', 2}, {'c', 3}};
  const std::vector<bool> bits = {true, false, true};
  const auto each_order = [&]<typename T>(const std::vector<T>& items) {
    lose_no_item(manager.queue<T>(), items);
    lose_no_item(manager.queue<T>({.redeliver = true}), items);
    lose_no_item(manager.lifo_queue<T>(), items);
  };
  each_order(texts);
  each_order(sequences);
  each_order(structs);
  each_order(bits);
}

TEMPLATE_TEST_CASE("what is taken out of an object is not lost for want of private memory", "", std::string,
                   std::vector<int>, std::vector<std::byte>, (std::map<std::string, std::string>)) {
  ManagerHome home;
  Manager manager;
  using T = TestType;
  T small{}, large{};
  if constexpr (std::is_same_v<T, std::map<std::string, std::string>>) {
    small = {{std::string(30, 'a'), std::string(40, 'b')}, {"c", "d"}};
    large = {{std::string(300, 'a'), std::string(4'000, 'b')}};
  } else {
    small.resize(40, typename T::value_type{1});
    large.resize(5'000, typename T::value_type{1});
  }
  for (const T& value : {small, large}) {
    auto dict = manager.dict<std::string, T>();
    const auto entries = [&] { return dict.items(); };
    for (const char* key : {"first", "second", "third", "a key that is allocated, for it is long"}) {
      dict.put(key, value);
    }
    take_all_or_nothing([&] { return dict.pop("first"); }, entries);
    take_all_or_nothing([&] { return dict.try_pop("second"); }, entries);
    take_all_or_nothing([&] { return dict.popitem(); }, entries);
    take_all_or_nothing([&] { return dict.exchange("third", T{}); }, entries);

    auto numbers = manager.dict<T, int>();
    numbers.put(value, 1);
    take_all_or_nothing([&] { return numbers.popitem(); }, [&] { return numbers.items(); });
    auto texts = manager.dict<int, T>();
    texts.put(1, value);
    take_all_or_nothing([&] { return texts.popitem(); }, [&] { return texts.items(); });

    auto list = manager.list<T>();
    const auto elements = [&] { return list.items(); };
    for (int i = 0; i < 5; ++i) list.append(value);
    take_all_or_nothing([&] { return list.pop(); }, elements);
    take_all_or_nothing([&] { return list.pop(1); }, elements);
    take_all_or_nothing([&] { return list.pop_front(); }, elements);
    take_all_or_nothing([&] { return list.try_pop_back(); }, elements);

    auto set = manager.set<T>();
    set.add(T{});
    set.add(value);
    take_all_or_nothing([&] { return set.pop(); }, [&] { return set.size(); });
    CHECK(set.contains(T{}));

    const auto from_queue = [&](const auto& queue) {
      queue.put(value);
      queue.put(value);
      take_all_or_nothing([&] { return queue.get(); }, [&] { return queue.size(); });
      take_all_or_nothing([&] { return queue.try_get(); }, [&] { return queue.size(); });
    };
    from_queue(manager.queue<T>());
    from_queue(manager.queue<T>({.redeliver = true}));
    from_queue(manager.lifo_queue<T>());
    auto jobs = manager.priority_queue<T>();
    jobs.put(1, value);
    take_all_or_nothing([&] { return jobs.get(); }, [&] { return jobs.size(); });
  }
}

TEST_CASE("get_many of texts takes all that is there, however many and long they are") {
  ManagerHome home;
  Manager manager;
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 3'000; ++i) texts.push_back(std::string(i % 70, static_cast<char>('a' + i % 26)));
  texts.push_back(std::string(500'000, 'l'));
  auto ring = manager.queue<std::string>();
  auto ordered = manager.queue<std::string>({.redeliver = true});
  ring.put_many(texts);
  ordered.put_many(texts);
  CHECK(ring.get_many(10'000) == texts);
  CHECK(ordered.get_many(10'000) == texts);
}
