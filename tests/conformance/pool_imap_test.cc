// imap draws its items when they are needed.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <initializer_list>
#include <memory>
#include <ranges>
#include <sstream>
#include <thread>
#include <vector>

#include "support/pool_tasks.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

int triple(int n) {
  return 3 * n;
}

// Numbers without an end, that count how many were drawn.
auto numbers_drawn(int& drawn) {
  return std::views::iota(0) | std::views::transform([&drawn](int n) {
           ++drawn;
           return n;
         });
}

}  // namespace

TEST_CASE("imap of a range without an end draws no more than a number ahead") {
  Pool pool(2);
  for (const bool any_order : {false, true}) {
    for (const std::size_t chunk : {1, 3}) {
      int drawn = 0;
      const auto explore = [&](auto results) {
        CHECK(drawn == static_cast<int>(8 * chunk));
        long sum = 0;
        for (int i = 0; i < 300; ++i) sum += results.next().value();
        CHECK(drawn <= 300 + static_cast<int>(8 * chunk + chunk));
        if (!any_order) CHECK(sum == 3L * 299 * 300 / 2);
      };
      if (any_order) {
        explore(pool.imap_unordered(triple, numbers_drawn(drawn), chunk, 8));
      } else {
        explore(pool.imap(triple, numbers_drawn(drawn), chunk, 8));
      }
    }
  }
  int drawn = 0;
  auto results = pool.imap(triple, numbers_drawn(drawn));
  CHECK(drawn == 128);
  CHECK(results.next() == std::optional<int>(0));
}

TEST_CASE("imap keeps a container that it was given; what it cannot copy it leaves where it is") {
  Pool pool(2);
  const auto sum_of = [](auto results) {
    int sum = 0;
    for (const int n : results) sum += n;
    return sum;
  };
  {
    std::vector<int> items{1, 2, 3};
    auto results = pool.imap(triple, items, 1, 1);
    items.assign(3, 1000);
    CHECK(sum_of(std::move(results)) == 18);
  }
  CHECK(sum_of(pool.imap(triple, std::vector{1, 2}, 1, 1)) == 9);
  const int array[] = {1, 2, 3};
  CHECK(sum_of(pool.imap(triple, array, 1, 1)) == 18);
  std::initializer_list<int> list{4, 5};
  CHECK(sum_of(pool.imap(triple, list, 1, 1)) == 27);
  std::istringstream text("1 2 3 4");
  CHECK(sum_of(pool.imap(triple, std::ranges::istream_view<int>(text), 3, 1)) == 30);
  CHECK(sum_of(pool.imap(triple, std::vector<int>())) == 0);
}

TEST_CASE("a closed pool goes on with what imap draws, and join draws the rest") {
  Pool pool(2);
  auto results = pool.imap(triple, std::views::iota(0, 500), 1, 4);
  auto others = pool.imap_unordered(triple, std::views::iota(0, 500), 7, 2);
  pool.close();
  CHECK_THROWS_AS(pool.imap(triple, std::vector{1}), Closed);
  CHECK_THROWS_AS(pool.imap(triple, std::vector<int>()), Closed);
  for (int i = 0; i < 100; ++i) CHECK(results.next() == std::optional<int>(3 * i));
  pool.join();
  for (int i = 100; i < 500; ++i) CHECK(results.next() == std::optional<int>(3 * i));
  CHECK(!results.next());
  long sum = 0;
  for (const int n : others) sum += n;
  CHECK(sum == 3L * 499 * 500 / 2);
}

TEST_CASE("who iterates while another thread closes and joins the pool gets every result") {
  for (int round = 0; round < 20; ++round) {
    Pool pool(2);
    auto results = pool.imap(triple, std::views::iota(0, 300), 1, 3);
    std::jthread joiner([&] {
      if (round % 2 != 0) nap(1);
      pool.close();
      pool.join();
    });
    for (int i = 0; i < 300; ++i) REQUIRE(results.next(60s) == std::optional<int>(3 * i));
    CHECK(!results.next());
  }
}

TEST_CASE("join draws no more for an iterator that goes meanwhile") {
  Pool pool(2);
  int drawn = 0;
  std::optional<ResultIterator<int>> results(pool.imap(triple, numbers_drawn(drawn), 1, 4));
  pool.close();
  std::jthread joiner([&] { pool.join(); });
  nap(20);
  results.reset();
}

TEST_CASE("an iterator that goes draws no more, and a closed pool ends then") {
  Pool pool(2);
  int drawn = 0;
  {
    auto results = pool.imap(triple, numbers_drawn(drawn), 1, 4);
    CHECK(results.next() == std::optional<int>(0));
  }
  pool.close();
  pool.join();
  CHECK(drawn <= 8);
}

TEST_CASE("when a pool is terminated, imap's items end with PoolTerminated") {
  std::optional<ResultIterator<int>> results;
  {
    Pool pool(1);
    results.emplace(pool.imap(
        [](int n) {
          if (n == 1) nap(60'000);
          return n;
        },
        std::views::iota(0), 1, 2));
    CHECK(results->next() == std::optional<int>(0));
    pool.terminate();
    CHECK_THROWS_AS(results->next(), PoolTerminated);
  }
  int failed = 0;
  for (int i = 0; i < 5; ++i) {
    try {
      if (!results->next()) break;
    } catch (const PoolTerminated&) {
      ++failed;
    }
  }
  CHECK(failed >= 1);
  CHECK(failed <= 3);
  CHECK(!results->next());
}

TEST_CASE("a limit holds for each chunk of an imap") {
  Pool pool(2);
  auto results = pool.imap(
      limited(100ms),
      [](int n) {
        if (n == 1) nap(60'000);
        return n;
      },
      std::vector{0, 1, 2});
  CHECK(results.next() == std::optional<int>(0));
  CHECK_THROWS_AS(results.next(), TaskTimeout);
  CHECK(results.next() == std::optional<int>(2));
  CHECK(!results.next());
}
