// Each two operations of a value, and of an array, as their proxies do them, one interrupted anywhere by the other.
#include "interleave/value_pair_fixture.h"
#include "interleave/waits.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ThreadContext;

namespace {

template <typename T>
void explore_value(std::size_t most_pairs) {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kValue, "", "value", {sizeof(T)}});
  const auto value = proxy_of<Value<T>, shm::Value>(stage.segment, where);
  const auto load = [&] { return printed(value.load()); };
  const auto store = [&](std::int64_t word) {
    return [&value, word](ThreadContext&) {
      value.store(made_of<T>(word));
      return std::string("stored");
    };
  };
  const auto compare_exchange = [&](std::int64_t from, std::int64_t to) {
    return [&value, from, to](ThreadContext&) {
      T expected = made_of<T>(from);
      const bool done = value.compare_exchange(expected, made_of<T>(to));
      return fmt::format("{} {}", done, printed(expected));
    };
  };
  std::vector<Operation> operations{
      {"load", [&](ThreadContext&) { return load(); }, kReaderWaits},
      {"store", store(1)},
      {"store of another", store(2)},
      {"exchange", [&](ThreadContext&) { return printed(value.exchange(made_of<T>(3))); }},
      {"compare and exchange", compare_exchange(0, 4)},
      {"compare and exchange later", compare_exchange(1, 5)},
      {"wait", [&](ThreadContext&) { return printed(value.wait(made_of<T>(0))); }},
      {"wait in time", [&](ThreadContext&) { return fmt::format("{}", value.wait_for(made_of<T>(0), kShortWait)); },
       kShortWaitAtMost + kReaderWaits},
  };
  if constexpr (std::is_integral_v<T>) {
    operations.push_back({"add", [&](ThreadContext&) { return printed(value.fetch_add(10)); }});
    operations.push_back({"multiply", [&](ThreadContext&) { return printed(value *= 3); }});
  }
  refer_to(stage.segment, where, operations);
  explore_all_pairs(stage, fmt::format("value of {} bytes", sizeof(T)), operations,
                    {[&] { return load(); }, [] { return std::string(); },
                     [&] {
                       value.store(made_of<T>(77));
                       return load() == printed(made_of<T>(77)) ? std::string() : "load: " + load();
                     }},
                    most_pairs);
}

template <typename T>
void explore_array(std::size_t most_pairs) {
  KillStage stage;
  constexpr std::uint64_t kCount = 6;
  const auto where = stage.segment.make({shm::ObjectKind::kArray, "", "array", {kCount, sizeof(T)}});
  const auto array = proxy_of<Array<T>, shm::Array>(stage.segment, where);
  const auto read = [&](std::ptrdiff_t first, std::ptrdiff_t last) {
    std::string seen;
    for (const T& element : array.slice(first, last)) seen += printed(element) + " ";
    return seen;
  };
  const auto fill = [&](std::ptrdiff_t first, std::ptrdiff_t last, std::int64_t word) {
    return [&array, first, last, word](ThreadContext&) {
      array.fill(first, last, made_of<T>(word));
      return std::string("filled");
    };
  };
  const auto set = [&](std::ptrdiff_t index, std::int64_t word) {
    return [&array, index, word](ThreadContext&) {
      array.set(index, made_of<T>(word));
      return std::string("set");
    };
  };
  std::vector<Operation> operations{
      {"load", [&](ThreadContext&) { return printed(array.at(2)); }, kReaderWaits},
      {"set", set(2, 1)},
      {"set another", set(5, 2)},
      {"slice of all", [&](ThreadContext&) { return read(0, kCount); }, kReaderWaits},
      {"slice", [&](ThreadContext&) { return read(1, 3); }, kReaderWaits},
      {"write",
       [&](ThreadContext&) {
         array.write(1, {made_of<T>(30), made_of<T>(31), made_of<T>(32), made_of<T>(33)});
         return std::string("written");
       }},
      {"fill", fill(0, kCount, 40)},
      {"fill of some", fill(2, 4, 50)},
  };
  if constexpr (std::is_integral_v<T>) {
    operations.push_back({"add", [&](ThreadContext&) { return printed(array.fetch_add(2, 10)); }});
    operations.push_back({"multiply", [&](ThreadContext&) { return printed(array[3] *= 3); }});
    operations.push_back({"compare and exchange", [&](ThreadContext&) {
                            T expected = 0;
                            const bool done = array.compare_exchange(2, expected, 7);
                            return fmt::format("{} {}", done, printed(expected));
                          }});
  }
  refer_to(stage.segment, where, operations);
  explore_all_pairs(stage, fmt::format("array of {} bytes", sizeof(T)), operations,
                    {[&] { return read(0, kCount); }, [] { return std::string(); },
                     [&] {
                       array.fill(made_of<T>(76));
                       array.set(1, made_of<T>(77));
                       return read(0, 2) == "76 77 " ? std::string() : "slice: " + read(0, 2);
                     }},
                    most_pairs);
}

// More schedules with two preemptions than other pairs have.
void explore_twice(KillStage& stage, const Operation& first, const Operation& second, const Observation& observation) {
  stage.save();
  PairPlan plan{.name = first.name + " / " + second.name, .first = first, .second = second, .observation = observation};
  plan.seed = Catch::rngSeed();
  plan.most_twice = 300;
  const PairReport report = explore_pair(stage, plan);
  INFO(report.line());
  CHECK(report.ok());
}

}  // namespace

TEST_CASE("two operations of a value, one of them interrupted anywhere, are done one after the other") {
  constexpr std::size_t kSomePairs = 8;
  explore_value<std::int64_t>(kSomePairs);
  explore_value<Words<3>>(kSomePairs);
  explore_value<Words<100>>(kSomePairs);
}

TEST_CASE("two operations of an array, one of them interrupted anywhere, are done one after the other") {
  constexpr std::size_t kSomePairs = 10;
  explore_array<std::int32_t>(kSomePairs);
  explore_array<std::int64_t>(kSomePairs);
  explore_array<Words<3>>(kSomePairs);
}

// A slice that began after a fill had raised the version, and before it was committed, found everything as it was.
TEST_CASE("a slice of an array that is held up twice in the middle of a fill is the array at one moment") {
  using Element = Words<3>;
  KillStage stage;
  const auto array = proxy_of<Array<Element>, shm::Array>(
      stage.segment, stage.segment.make({shm::ObjectKind::kArray, "", "array", {6, sizeof(Element)}}));
  const auto read = [&] {
    std::string seen;
    for (const Element& element : array.slice(0)) seen += printed(element) + " ";
    return seen;
  };
  const auto fill = [&](ThreadContext&) {
    array.fill(made_of<Element>(7));
    return std::string("filled");
  };
  explore_twice(stage, {"slice", [&](ThreadContext&) { return read(); }, kReaderWaits}, {"fill", fill},
                {[&] { return read(); }, [] { return std::string(); }});
}

// The second store goes into the buffer that the load began to copy.
TEST_CASE("a load of a large value that is held up while two stores are made is a value as a whole") {
  using Large = Words<3>;
  KillStage stage;
  const auto value = proxy_of<Value<Large>, shm::Value>(
      stage.segment, stage.segment.make({shm::ObjectKind::kValue, "", "value", {sizeof(Large)}}));
  const auto store = [&](std::int64_t word) {
    return [&value, word](ThreadContext&) {
      value.store(Large::all(word));
      return std::string("stored");
    };
  };
  explore_twice(stage, {"load", [&](ThreadContext&) { return printed(value.load()); }, kReaderWaits},
                {"two stores", {store(1), store(2)}},
                {[&] { return printed(value.load()); }, [] { return std::string(); }});
}

// It had looked at the value, and the writer that changed it then died before it told anybody: it slept for a second.
TEST_CASE("who is about to wait for a value's change when its writer dies does not miss it") {
  KillStage stage;
  const auto where = stage.segment.make({shm::ObjectKind::kValue, "", "value", {sizeof(std::int64_t)}});
  const auto value = proxy_of<Value<std::int64_t>, shm::Value>(stage.segment, where);
  std::vector<Operation> operations{{"wait", [&](ThreadContext&) { return printed(value.wait(0)); }},
                                    {"store", [&](ThreadContext&) {
                                       value.store(1);
                                       return std::string("stored");
                                     }}};
  refer_to(stage.segment, where, operations);
  explore_twice(stage, operations[0], operations[1],
                {[&] { return printed(value.load()); }, [] { return std::string(); }});
}
