// Each two operations of a list, one interrupted anywhere by the other.
#include <functional>
#include <memory>

#include "interleave/pair_fixture.h"
#include "shm/list.h"
#include "shm/list_tree.h"
#include "support/list_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Item;
using shm::List;
using shm::Status;
using shm::ThreadContext;

namespace {

constexpr std::uint64_t kAll = ~std::uint64_t{0}, kLast = ~std::uint64_t{0};
constexpr std::uint64_t kLeaf = shm::kLeafCells, kInner = shm::kInnerPairs * shm::kLeafCells;

// Of a long text its length, and whether all of it is one letter: half of one text and half of another is not.
std::string brief(std::string_view value) {
  if (value.size() <= 64) return shown(value);
  const bool whole = value.find_first_not_of(value[0]) == std::string_view::npos;
  return fmt::format("{} times {}", value.size(), whole ? shown(value.substr(0, 1)) : "several letters");
}

std::string result_of(Status status, std::string_view value) {
  return status == Status::kOk ? fmt::format("ok {}", brief(value)) : word_of(status);
}

std::string elements_of(const List& list, ThreadContext& me, std::uint64_t first, std::uint64_t count) {
  constexpr std::size_t kShownAsTheyAre = 16;
  std::vector<std::string> values;
  if (const Status status = list.snapshot(me, first, count, values); status != Status::kOk) return word_of(status);
  std::string seen = fmt::format("{}:", values.size());
  std::uint64_t digest = 0;
  for (const std::string& value : values) {
    digest = digest * 31 + std::hash<std::string>()(value);
    if (values.size() <= kShownAsTheyAre) seen += fmt::format(" {}", brief(value));
  }
  return values.size() <= kShownAsTheyAre ? seen : fmt::format("{} {:x}", seen, digest);
}

// A list of words, or of texts, with the texts of numbers 0 to `count` - 1.
class ListPairs {
 public:
  ListPairs(bool boxed, std::uint64_t count) : boxed_(boxed), list(make_list(stage.segment, boxed)) {
    std::vector<std::string> values;
    for (std::uint64_t i = 0; i < count; ++i) values.push_back(element(i));
    REQUIRE(list.replace(stage.me(), 0, kAll, items_of(values)) == Status::kOk);
  }
  ListPairs(const ListPairs&) = delete;
  ListPairs& operator=(const ListPairs&) = delete;

  std::string element(std::uint64_t number) const {
    return boxed_ ? fmt::format("element {}", number) : word_text(number);
  }
  Item item(const std::string& value) const {
    return boxed_ ? text(value) : Item{shm::ItemKind::kInt64, value.data(), value.size()};
  }
  std::vector<Item> items(const std::vector<std::string>& values) const {
    std::vector<Item> all;
    for (const std::string& value : values) all.push_back(item(value));
    return all;
  }
  Observation observation() {
    return {[this] { return elements_of(list, stage.me(), 0, kAll); },
            [this]() -> std::string {
              const auto audit = list.audit(stage.me());
              if (!audit.error.empty() || audit.lost_blocks + audit.lost_chunks == 0) return audit.error;
              return fmt::format("{} blocks and {} chunks are lost", audit.lost_blocks, audit.lost_chunks);
            },
            [this] {
              const std::string value = word_text(1);
              Status status = list.push_back(stage.me(), item(value));
              std::string popped;
              if (status == Status::kOk) status = list.pop_back(stage.me(), popped);
              return status == Status::kOk || status == Status::kOutOfMemory ? std::string() : word_of(status);
            }};
  }

  Operation operation(std::string name, std::function<std::string(ThreadContext& me)> use) {
    return {std::move(name), std::move(use)};
  }
  Operation reader(std::string name, std::function<std::string(ThreadContext& me)> use) {
    return {std::move(name), std::move(use), kReaderWaits};
  }

  // ---- one element; those that add one add it with the number 100 and above

  Operation get(std::uint64_t index) {
    return reader(fmt::format("get {}", static_cast<std::int64_t>(index)), [this, index](ThreadContext&) {
      const auto value = test::get(list, index);
      return value ? brief(*value) : "out of range";
    });
  }
  Operation size() {
    return reader("size", [this](ThreadContext&) { return std::to_string(list.size()); });
  }
  Operation set(std::uint64_t index, std::string value) {
    return operation(fmt::format("set {}", static_cast<std::int64_t>(index)), [this, index, value](ThreadContext& me) {
      std::string before;
      const Status status = list.set(me, index, item(value), &before);
      return result_of(status, before);
    });
  }
  Operation push_back(std::string value) {
    return operation("push back",
                     [this, value](ThreadContext& me) { return word_of(list.push_back(me, item(value))); });
  }
  Operation push_front(std::string value) {
    return operation("push front",
                     [this, value](ThreadContext& me) { return word_of(list.push_front(me, item(value))); });
  }
  Operation pop_back() {
    return operation("pop back", [this](ThreadContext& me) {
      std::string popped;
      const Status status = list.pop_back(me, popped);
      return result_of(status, popped);
    });
  }
  Operation pop_front() {
    return operation("pop front", [this](ThreadContext& me) {
      std::string popped;
      const Status status = list.pop_front(me, popped);
      return result_of(status, popped);
    });
  }
  Operation insert(std::uint64_t index, std::string value) {
    return operation(fmt::format("insert at {}", static_cast<std::int64_t>(index)),
                     [=, this](ThreadContext& me) { return word_of(list.insert(me, index, item(value))); });
  }
  Operation erase(std::uint64_t index) {
    return operation(fmt::format("erase {}", static_cast<std::int64_t>(index)), [this, index](ThreadContext& me) {
      std::string erased;
      const Status status = list.erase(me, index, &erased);
      return result_of(status, erased);
    });
  }
  Operation compare_exchange(std::uint64_t index, std::string expected, std::string desired) {
    return operation(fmt::format("compare and exchange {}", index), [=, this](ThreadContext& me) {
      std::string actual;
      const Status status = list.compare_exchange(me, index, item(expected), item(desired), &actual);
      return fmt::format("{} {}", word_of(status), brief(actual));
    });
  }
  Operation add(std::uint64_t index) {
    return operation(fmt::format("add to {}", index), [=, this](ThreadContext& me) {
      shm::Word before = 0;
      const Status status = list.change_word(
          me, index, [](shm::Word a, shm::Word b) { return a + b; }, 1000, &before);
      return fmt::format("{} {}", word_of(status), before);
    });
  }
  Operation erase_if_equal(std::uint64_t index, std::string expected) {
    return operation("erase if equal",
                     [=, this](ThreadContext& me) { return word_of(list.erase_if_equal(me, index, item(expected))); });
  }
  Operation pop_back_if_equal(std::string expected) {
    return operation("pop back if equal",
                     [=, this](ThreadContext& me) { return word_of(list.pop_back_if_equal(me, item(expected))); });
  }

  // ---- many

  Operation copy(std::uint64_t first, std::uint64_t count) {
    return reader(count == kAll ? "copy of all" : "copy of a slice",
                  [=, this](ThreadContext& me) { return elements_of(list, me, first, count); });
  }
  Operation extend(std::vector<std::string> values) {
    return operation("extend", [this, values](ThreadContext& me) { return word_of(list.extend(me, items(values))); });
  }
  Operation replace(std::string name, std::uint64_t first, std::uint64_t count, std::vector<std::string> values) {
    return operation(std::move(name),
                     [=, this](ThreadContext& me) { return word_of(list.replace(me, first, count, items(values))); });
  }
  Operation reverse() {
    return operation("reverse", [this](ThreadContext& me) { return word_of(list.reverse(me)); });
  }
  Operation clear() {
    return operation("clear", [this](ThreadContext& me) { return word_of(list.clear(me)); });
  }
  // As sort() does: one call reads all, the next stores it in another order if nothing changed.
  Operation sort() {
    struct Seen {
      std::vector<std::string> values;
      std::uint64_t changes = 0;
    };
    const auto seen = std::make_shared<Seen>();
    return {
        "sort",
        {[this, seen](ThreadContext& me) { return word_of(list.snapshot(me, 0, kAll, seen->values, &seen->changes)); },
         [this, seen](ThreadContext& me) {
           std::sort(seen->values.begin(), seen->values.end(), std::greater<>());
           return word_of(list.assign_if_unchanged(me, seen->changes, items(seen->values)));
         }}};
  }
  // What it found to move is not compared: others leave more holes, or fewer.
  Operation compact() {
    return operation("compact", [this](ThreadContext& me) {
      (void)list.compact(me);
      return std::string("compacted");
    });
  }
  Operation give_idle_memory() {
    return operation("give idle memory", [this](ThreadContext& me) {
      list.give_idle_memory(me);
      return std::string("given");
    });
  }

  KillStage stage;

 private:
  bool boxed_;

 public:
  List list;
};

}  // namespace

TEST_CASE("two operations of a list, one of them interrupted anywhere, are done one after the other") {
  constexpr std::size_t kSomePairs = 20;
  for (const bool boxed : {false, true}) {
    ListPairs pairs(boxed, 3);
    const std::string first = pairs.element(0), new1 = pairs.element(100), new2 = pairs.element(101);
    std::vector<Operation> operations{
        pairs.push_back(new1),
        pairs.push_front(new1),
        pairs.pop_back(),
        pairs.pop_front(),
        pairs.set(1, new1),
        pairs.insert(1, new1),
        pairs.erase(0),
        pairs.reverse(),
        pairs.clear(),
        pairs.get(1),
        pairs.size(),
        pairs.copy(0, kAll),
        pairs.extend({new1, new2}),
    };
    explore_all_pairs(pairs.stage, boxed ? "list of texts" : "list of words", operations, pairs.observation(),
                      kSomePairs);
  }
}

TEST_CASE("slices, conditional and relative operations of a list, and others, are done one after the other") {
  constexpr std::size_t kFewPairs = 12;
  for (const bool boxed : {false, true}) {
    ListPairs pairs(boxed, 4);
    const std::string first = pairs.element(0), last = pairs.element(3), new1 = pairs.element(100),
                      new2 = pairs.element(101), new3 = pairs.element(102);
    const std::vector<Operation> these{
        pairs.replace("slice replaced", 1, 2, {new1, new2, new3}),
        pairs.replace("slice erased", 0, 2, {}),
        pairs.replace("slice inserted", 2, 0, {new1, new2}),
        pairs.replace("assign", 0, kAll, {new3, new2}),
        pairs.sort(),
        pairs.compare_exchange(1, pairs.element(1), new1),
        pairs.compare_exchange(1, new1, new2),
        pairs.add(2),
        pairs.erase_if_equal(0, first),
        pairs.pop_back_if_equal(last),
        pairs.get(kLast),
        pairs.set(kLast, new1),
        pairs.insert(kLast, new1),
        pairs.erase(kLast),
        pairs.copy(1, 2),
        pairs.give_idle_memory(),
    };
    const std::vector<Operation> others{
        pairs.push_back(new2), pairs.push_front(new2), pairs.pop_back(),          pairs.pop_front(), pairs.set(1, new2),
        pairs.insert(1, new2), pairs.erase(0),         pairs.reverse(),           pairs.clear(),     pairs.get(1),
        pairs.size(),          pairs.copy(0, kAll),    pairs.extend({new1, new2})};
    explore_pairs_with(pairs.stage, boxed ? "list of texts, slices" : "list of words, slices", these, others,
                       pairs.observation(), kFewPairs);
  }
}

TEST_CASE("operations that make and leave nodes of a long list, and others, are done one after the other") {
  constexpr std::size_t kFewPairs = 8;
  for (const bool boxed : {false, true}) {
    ListPairs pairs(boxed, 3 * kLeaf);  // its tail is full
    std::vector<std::string> many;
    for (std::uint64_t i = 0; i < kLeaf + 5; ++i) many.push_back(pairs.element(1000 + i));
    const std::string added = pairs.element(5000);
    const std::vector<Operation> these{pairs.push_back(added),
                                       pairs.push_front(added),
                                       pairs.insert(50, added),
                                       pairs.erase(50),
                                       pairs.extend(many),
                                       pairs.replace("slice of three leaves replaced", 100, 200, {added}),
                                       pairs.replace("slice becomes longer", 100, 2, many),
                                       pairs.reverse(),
                                       pairs.sort()};
    const std::vector<Operation> others{pairs.get(0),          pairs.get(150),      pairs.get(kLast),
                                        pairs.size(),          pairs.copy(0, kAll), pairs.copy(120, 20),
                                        pairs.set(150, added), pairs.pop_back(),    pairs.pop_front(),
                                        pairs.add(151),        pairs.clear(),       pairs.give_idle_memory()};
    explore_pairs_with(pairs.stage, boxed ? "long list of texts" : "long list of words", these, others,
                       pairs.observation(), kFewPairs);
  }
}

TEST_CASE("operations that make a list's tree higher or lower, and others, are done one after the other") {
  constexpr std::size_t kFewPairs = 4;
  ListPairs pairs(false, kInner + kLeaf + 1);
  std::string popped;
  const std::string added = pairs.element(50'000);
  const std::vector<Operation> others{pairs.get(5000), pairs.get(kLast), pairs.size(), pairs.copy(5000, 20),
                                      pairs.set(5000, added)};
  REQUIRE(pairs.list.pop_back(pairs.stage.me(), popped) == Status::kOk);
  explore_pairs_with(pairs.stage, "list whose tree becomes lower", {pairs.pop_back(), pairs.erase(50)}, others,
                     pairs.observation(), kFewPairs);
  REQUIRE(pairs.list.pop_back(pairs.stage.me(), popped) == Status::kOk);
  REQUIRE(pairs.list.push_back(pairs.stage.me(), pairs.item(added)) == Status::kOk);
  explore_pairs_with(pairs.stage, "list whose tree becomes higher",
                     {pairs.push_back(added), pairs.push_front(added), pairs.insert(5000, added)}, others,
                     pairs.observation(), kFewPairs);
}

TEST_CASE("a list whose boxes are used again, or move, and readers of them, do their work one after the other") {
  constexpr std::size_t kFewPairs = 8;
  for (const std::size_t bytes : {std::size_t{40}, std::size_t{3'000}}) {
    ListPairs pairs(true, 3);
    for (std::size_t i = 0; i < shm::kParkedBlocks; ++i) {
      const std::string value(bytes, static_cast<char>('a' + i));
      REQUIRE(pairs.list.set(pairs.stage.me(), 1, text(value)) == Status::kOk);
    }
    explore_pairs_with(pairs.stage, fmt::format("list whose boxes of {} bytes are used again", bytes),
                       {pairs.set(1, std::string(bytes, 'x')), pairs.set(1, std::string(bytes, 'y'))},
                       {pairs.get(1), pairs.copy(0, kAll), pairs.pop_back(), pairs.erase(1), pairs.clear(),
                        pairs.push_back(std::string(bytes, 'z')), pairs.reverse()},
                       pairs.observation(), kFewPairs);
  }
  ListPairs pairs(true, 2);
  const std::string hole(33'000, 'h'), moved(34'000, 'm'), other(40'000, 'o');
  for (const std::string* value : {&hole, &moved}) {
    REQUIRE(pairs.list.push_back(pairs.stage.me(), text(*value)) == Status::kOk);
  }
  REQUIRE(pairs.list.erase(pairs.stage.me(), 2) == Status::kOk);
  pairs.list.give_idle_memory(pairs.stage.me());
  explore_pairs_with(
      pairs.stage, "list that is compacted", {pairs.compact(), pairs.give_idle_memory()},
      {pairs.get(2), pairs.get(0), pairs.copy(0, kAll), pairs.set(2, other), pairs.erase(2), pairs.pop_back(),
       pairs.push_back(other), pairs.push_front("small"), pairs.reverse(), pairs.clear(), pairs.size()},
      pairs.observation(), kFewPairs);
}
