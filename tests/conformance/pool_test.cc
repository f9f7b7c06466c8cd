// Pool and AsyncResult as the reference's users know them: the rows of docs/semantics/pool.md.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <forward_list>
#include <fstream>
#include <functional>
#include <future>
#include <numeric>
#include <optional>
#include <regex>
#include <set>
#include <system_error>
#include <thread>
#include <variant>

#include "support/captured_output.h"
#include "support/manager_home.h"
#include "support/pool_tasks.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

int refuse_odd(int n) {
  if (n % 2 != 0) throw std::out_of_range("odd: " + std::to_string(n));
  return n;
}
struct Person {
  std::string name;
  int age = 0;
  int doubled() { return 2 * age; }
};
struct Refused {};  // its codec refuses

class OwnError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace

template <>
struct commonhold::Codec<Person> {
  static constexpr std::string_view name = "person";
  static std::string encode(const Person& person) { return std::to_string(person.age) + " " + person.name; }
  static Person decode(std::string_view bytes) {
    const auto space = bytes.find(' ');
    return {std::string(bytes.substr(space + 1)), std::stoi(std::string(bytes.substr(0, space)))};
  }
};
template <>
struct commonhold::Codec<Refused> {
  static constexpr std::string_view name = "refused";
  static std::string encode(const Refused&) { throw ValueError("this cannot be written"); }
  static Refused decode(std::string_view) { return {}; }
};

TEST_CASE("apply runs a function in a worker and gives its result") {
  Pool pool(2);
  CHECK(pool.processes() == 2);
  CHECK(pool.worker_pids().size() == 2);
  CHECK(pool.apply(square, 7) == 49);
  CHECK(pool.apply([] { return getpid(); }) != getpid());
  CHECK(pool.apply([](std::string a, const std::vector<double>& b) { return a + std::to_string(b.size()); }, "text",
                   std::vector<double>{1, 2}) == "text2");
  CHECK(pool.apply(
                [](Person person) {
                  return Person{person.name + "!", person.age + 1};
                },
                Person{"Ann", 6})
            .name == "Ann!");
  CHECK(pool.apply(&Person::doubled, Person{"Ann", 6}) == 12);
  CHECK(pool.apply(std::plus<int>(), 2, 3) == 5);
  CHECK(pool.apply([](bool b, char c, float f) { return b && c == 'c' && f == 0.5f; }, true, 'c', 0.5f));
  pool.apply([](int) {}, 1);
}

TEST_CASE("workers are daemonic children with the pool's names") {
  Pool pool(2);
  CHECK_THAT(pool.apply([] { return current_process().name(); }), Contains("PoolWorker-"));
  CHECK(pool.apply([] { return current_process().daemon(); }));
  CHECK(pool.apply([] { return getppid(); }) == getpid());
  CHECK(active_children().size() == 2);
}

TEST_CASE("map keeps the order of the items, for every chunk size") {
  Pool pool(3);
  std::vector<int> expected;
  for (const int n : numbers(1000)) expected.push_back(n * n);
  for (const std::size_t chunk : {0, 1, 3, 7, 999, 1000, 5000})
    CHECK(pool.map(square, numbers(1000), chunk) == expected);
  CHECK(pool.map(square, std::vector<int>{}).empty());
  CHECK(pool.map(square, std::forward_list<int>{1, 2, 3}) == std::vector<int>{1, 4, 9});
  CHECK(pool.map([](const std::string& text) { return text + "!"; }, std::vector<const char*>{"a", "b"}) ==
        std::vector<std::string>{"a!", "b!"});
  CHECK(pool.map([](int n) { return n > 1; }, numbers(3)) == std::vector<bool>{false, false, true});
  pool.map([](int) {}, numbers(10));
}

TEST_CASE("starmap unpacks each item as arguments") {
  Pool pool(2);
  CHECK(pool.starmap(add, std::vector<std::pair<int, int>>{{1, 2}, {3, 4}}) == std::vector<int>{3, 7});
  using Item = std::tuple<std::string, int, double>;
  CHECK(pool.starmap([](std::string a, int b, double c) { return a + std::to_string(b) + std::to_string(int(c)); },
                     std::vector<Item>{{"x", 1, 2.0}, {"y", 3, 4.0}}) == std::vector<std::string>{"x12", "y34"});
  CHECK(pool.starmap_async(add, std::vector<std::pair<int, int>>{{1, 2}}, 1).get() == std::vector<int>{3});
}

TEST_CASE("callables with values: with_state, by_value, inherited") {
  ManagerHome home;
  Manager manager;
  auto sum = manager.value(0);
  int offset = 100;
  auto count = inherited([&sum, &offset](int n) {
    sum += n;
    return n + offset;
  });
  Pool pool(2);
  offset = 0;  // the workers were forked before
  CHECK(pool.map(count, std::vector{1, 2, 3}) == std::vector{101, 102, 103});
  CHECK(sum == 6);
  const std::map<std::string, int> ages{{"Ann", 6}};
  CHECK(
      pool.apply(with_state([](const std::map<std::string, int>& all, std::string name) { return all.at(name); }, ages),
                 "Ann") == 6);
  CHECK(pool.map(with_state(add, 10), std::vector{1, 2}) == std::vector{11, 12});
  const int factor = 3;
  CHECK(pool.map(by_value([factor](int n) { return factor * n; }), std::vector{1, 2}) == std::vector{3, 6});
  auto late = inherited([](int n) { return n; });
  CHECK_THROWS_AS(pool.apply(late, 1), UsageError);
  CHECK_THROWS_WITH(pool.apply(late, 1), Contains("after the pool's workers were forked"));
}

TEST_CASE("shared objects are arguments, results and state") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, int>({{"a", 1}});
  auto lock = manager.lock();
  Pool pool(2);
  using Counts = Dict<std::string, int>;
  pool.apply([](Counts counts, int n) { counts["a"] += n; }, dict, 4);
  CHECK(dict["a"] == 5);
  pool.map(with_state(
               [](Counts counts, Lock guard, int n) {
                 std::scoped_lock held(guard);
                 counts["a"] = counts["a"] + n;
               },
               dict, lock),
           numbers(10));
  CHECK(dict["a"] == 50);
  auto same = pool.apply([](Counts counts) { return counts; }, dict);
  CHECK(same == dict);
}

TEST_CASE("a result tells whether it is ready, waits, and gives its value each time") {
  Pool pool(1);
  auto result = pool.apply_async(pid_after_a_while, 50);
  CHECK(!result.ready());
  CHECK_THROWS_AS(result.successful(), ValueError);
  CHECK(!result.wait_for(1ms));
  CHECK_THROWS_AS(result.get(1ms), commonhold::TimeoutError);
  CHECK_THROWS_AS(result.get(-1s), commonhold::TimeoutError);
  result.wait();
  CHECK(result.ready());
  CHECK(result.successful());
  CHECK(result.get() == pool.worker_pids().at(0));
  CHECK(result.get(0s) == result.get());
}

TEST_CASE("an error comes back with its type, its text and its origin, each time") {
  register_exception<OwnError>();
  Pool pool(1);
  auto result = pool.apply_async(refuse_odd, 3);
  result.wait();
  CHECK(!result.successful());
  for (int i = 0; i < 2; ++i) CHECK_THROWS_AS(result.get(), std::out_of_range);
  CHECK_THROWS_WITH(result.get(), "odd: 3");
  try {
    result.get();
  } catch (const TaskOrigin& origin) {
    CHECK(origin.type() == "std::out_of_range");
    CHECK(origin.pid() == pool.worker_pids().at(0));
  }
  CHECK_THROWS_AS(pool.apply([] { throw OwnError("mine"); }), OwnError);
  CHECK_THROWS_AS(pool.apply([] { throw KeyError("no such key"); }), KeyError);
  CHECK_THROWS_AS(pool.apply([] { throw std::bad_alloc(); }), std::bad_alloc);
  try {
    pool.apply([] { throw SystemError(7, "seven"); });
    FAIL("nothing was thrown");
  } catch (const SystemError& error) {
    CHECK(error.code() == 7);
  }
  struct Odd : std::runtime_error {
    using std::runtime_error::runtime_error;
  };
  CHECK_THROWS_WITH(pool.apply([] { throw Odd("very"); }), Contains("Odd") && Contains("very"));
  CHECK_THROWS_AS(pool.apply([] { throw 5; }), TaskError);
  CHECK(pool.apply(square, 2) == 4);
}

TEST_CASE("exceptions of the standard library and of this one keep their type, their text and what else they hold") {
  Pool pool(1);
  const auto thrown = [&]<typename E>(auto task, auto looks_right) {
    try {
      pool.apply(task);
      FAIL("nothing was thrown");
    } catch (const E& error) {
      CHECK(dynamic_cast<const TaskOrigin*>(&error) != nullptr);
      CHECK(looks_right(error));
    }
  };
  const auto any = [](const auto&) { return true; };
  const auto same_text = [](const std::exception& error) { return std::string(error.what()).ends_with("x"); };
  thrown.operator()<std::system_error>([] { throw std::system_error(EACCES, std::generic_category(), "open"); },
                                       [](const auto& error) {
                                         return error.code() == std::errc::permission_denied &&
                                                std::string(error.what()).starts_with("open: ");
                                       });
  thrown.operator()<std::filesystem::filesystem_error>([] { (void)std::filesystem::file_size("/no/such/file"); },
                                                       [](const auto& error) {
                                                         return error.code() == std::errc::no_such_file_or_directory &&
                                                                Contains("/no/such/file").match(error.what());
                                                       });
  thrown.operator()<std::ios_base::failure>(
      [] {
        std::ifstream file("/no/such/file");
        file.exceptions(std::ios_base::failbit);
      },
      [](const auto& error) { return error.code() == std::io_errc::stream; });
  thrown.operator()<std::future_error>([] { (void)std::future<int>().get(); }, any);
  thrown.operator()<std::regex_error>(
      [] { std::regex broken("("); },
      [](const auto& error) { return error.code() == std::regex_constants::error_paren; });
  thrown.operator()<std::bad_variant_access>([] { (void)std::get<int>(std::variant<char, int>()); }, any);
  thrown.operator()<std::bad_optional_access>([] { (void)std::optional<int>().value(); }, any);
  thrown.operator()<std::bad_cast>([] { throw std::bad_cast(); }, any);
  thrown.operator()<std::bad_function_call>([] { std::function<void()>()(); }, any);
  thrown.operator()<std::bad_array_new_length>([] { throw std::bad_array_new_length(); }, any);
  thrown.operator()<NameError>(
      [] { throw NameError(NameError::Reason::kTaken, "x"); },
      [&](const auto& error) { return error.reason() == NameError::Reason::kTaken && same_text(error); });
  thrown.operator()<Poisoned>([] { throw Poisoned(77, "x"); },
                              [&](const auto& error) { return error.died_pid() == 77 && same_text(error); });
  thrown.operator()<BufferTooShort>([] { throw BufferTooShort("left", "x"); },
                                    [&](const auto& error) { return error.bytes() == "left" && same_text(error); });
  thrown.operator()<WorkerDied>(
      [] { throw WorkerDied(5, 9, 0, "x"); },
      [&](const auto& error) { return error.pid() == 5 && error.signal() == 9 && same_text(error); });
}

TEST_CASE("map waits for all chunks and throws what came first; the pool goes on") {
  ManagerHome home;
  Manager manager;
  auto done = manager.value(0);
  auto task = inherited([&](int n) {
    if (n == 0) throw std::out_of_range("0");
    if (n == 5) nap(30);
    ++done;
    return n;
  });
  Pool pool(2);
  CHECK_THROWS_WITH(pool.map(task, numbers(6), 1), "0");
  CHECK(done == 5);
  done = 0;
  CHECK_THROWS_AS(pool.map(task, numbers(6), 6), std::out_of_range);
  CHECK(done == 0);  // a failure skips the rest of its chunk
  CHECK(pool.apply(square, 2) == 4);
}

TEST_CASE("what cannot be written fails where it is, and the pool goes on") {
  Pool pool(1);
  CHECK_THROWS_WITH(pool.apply([](Refused) {}, Refused()), "this cannot be written");
  CHECK_THROWS_WITH(pool.apply([] { return Refused(); }), "this cannot be written");
  CHECK_THROWS_WITH(pool.map([](Refused) {}, std::vector<Refused>(3)), "this cannot be written");
  CHECK(pool.worker_pids().size() == 1);
  CHECK(pool.apply(square, 2) == 4);
}

TEST_CASE("imap gives results in order, imap_unordered as they come") {
  Pool pool(4);
  for (const std::size_t chunk : {1, 3}) {
    std::vector<int> seen;
    for (const int n : pool.imap(square, numbers(10), chunk)) seen.push_back(n);
    CHECK(seen == pool.map(square, numbers(10)));
    std::multiset<int> any;
    for (const int n : pool.imap_unordered(square, numbers(10), chunk)) any.insert(n);
    CHECK(any == std::multiset<int>(seen.begin(), seen.end()));
  }
  auto first = pool.imap_unordered(
      [](int milliseconds) {
        nap(milliseconds);
        return milliseconds;
      },
      std::vector{200, 0});
  CHECK(first.next() == std::optional<int>(0));
  CHECK_THROWS_AS(pool.imap(square, numbers(3), 0), ValueError);
}

TEST_CASE("an iterator times out without losing the item, and ends for ever") {
  Pool pool(1);
  auto results = pool.imap(pid_after_a_while, std::vector{30});
  CHECK_THROWS_AS(results.next(1ms), commonhold::TimeoutError);
  CHECK(results.next(10s) == std::optional<int>(pool.worker_pids().at(0)));
  for (int i = 0; i < 3; ++i) CHECK(!results.next());
}

TEST_CASE("a failed item throws at its place, and the iteration goes on") {
  Pool pool(2);
  auto results = pool.imap(refuse_odd, numbers(4));
  CHECK(results.next() == std::optional<int>(0));
  CHECK_THROWS_WITH(results.next(), "odd: 1");
  CHECK(results.next() == std::optional<int>(2));
  CHECK_THROWS_WITH(results.next(), "odd: 3");
  CHECK(!results.next());
  auto chunks = pool.imap(refuse_odd, std::vector{0, 1, 2, 4}, 2);
  CHECK_THROWS_WITH(chunks.next(), "odd: 1");
  CHECK(chunks.next() == std::optional<int>(2));
  CHECK(chunks.next() == std::optional<int>(4));
  CHECK(!chunks.next());
}

TEST_CASE("an input that throws: map at once, imap after the results before it") {
  Pool pool(2);
  auto failing = std::views::iota(0, 10) | std::views::transform([](int n) {
                   if (n == 3) throw std::domain_error("three");
                   return n;
                 });
  CHECK_THROWS_WITH(pool.map(square, failing), "three");
  auto results = pool.imap(square, failing);
  for (const int expected : {0, 1, 4}) CHECK(results.next() == std::optional<int>(expected));
  CHECK_THROWS_AS(results.next(), std::domain_error);
  CHECK(!results.next());
}

TEST_CASE("exactly one callback runs, in the parent, before the result is ready") {
  Pool pool(2);
  std::atomic<int> values{0}, errors{0}, pid{0}, sum{0};
  auto good = pool.apply_async(then(
                                   [&](int n) {
                                     nap(20);
                                     values += n;
                                     pid = getpid();
                                   },
                                   [&](std::exception_ptr) { ++errors; }),
                               square, 3);
  good.wait();
  CHECK(values == 9);
  CHECK(pid == getpid());
  CHECK(errors == 0);
  auto bad = pool.apply_async(then([&](int) { ++values; },
                                   [&](std::exception_ptr error) {
                                     try {
                                       std::rethrow_exception(error);
                                     } catch (const std::out_of_range&) {
                                       ++errors;
                                     }
                                   }),
                              refuse_odd, 1);
  bad.wait();
  CHECK(errors == 1);
  CHECK(values == 9);
  pool.map_async(then([&](const std::vector<int>& all) { sum = std::accumulate(all.begin(), all.end(), 0); }), square,
                 numbers(4))
      .wait();
  CHECK(sum == 14);
  pool.map_async(then([&](const std::vector<int>&) { sum = -1; }), square, numbers(0)).wait();
  CHECK(sum == 14);
  pool.apply_async(then([&] { sum = 1; }), nap, 0).wait();
  CHECK(sum == 1);
}

TEST_CASE("a callback that throws is reported, and the pool goes on") {
  Pool pool(1);
  const std::string said = output_of(STDERR_FILENO, [&] {
    auto result = pool.apply_async(then([](int) { throw std::runtime_error("bad callback"); }), square, 3);
    CHECK(result.get(20s) == 9);
  });
  CHECK_THAT(said, Contains("bad callback"));
  CHECK(pool.apply(square, 2) == 4);
}

TEST_CASE("a callback may give the pool another task") {
  Pool pool(1);
  std::atomic<int> seen{0};
  std::optional<AsyncResult<int>> second;
  pool.apply_async(then([&](int n) { second = pool.apply_async(then([&](int m) { seen = m; }), square, n); }), square,
                   2)
      .wait();
  CHECK(second->get() == 16);
  CHECK(seen == 16);
}

TEST_CASE("items are given in braces, or are the entries of a map; a callback may be moved only") {
  Pool pool(2);
  CHECK(pool.map([](int n) { return n * n; }, {1, 2, 3}) == std::vector{1, 4, 9});
  const std::map<std::string, int> prices{{"milk", 1}, {"tea", 3}};
  CHECK(pool.starmap([](std::string, int price) { return 2 * price; }, prices) == std::vector{2, 6});
  CHECK(pool.map([](std::pair<std::string, int> entry) { return entry.first; }, prices) ==
        std::vector<std::string>{"milk", "tea"});
  std::atomic<int> seen = 0;
  auto added = std::make_unique<int>(10);
  auto result = pool.apply_async(
      then([&seen, added = std::move(added)](int n) { seen = n + *added; }), [](int n) { return n + 1; }, 4);
  CHECK(result.get() == 5);
  CHECK(seen == 15);
  CHECK(pool.apply([] { return std::tuple<>(); }) == std::tuple<>());
}
