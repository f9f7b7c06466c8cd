// A list for pairs of operations, and its operations by name.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "interleave/pair_fixture.h"
#include "shm/list.h"
#include "support/further_operations.h"
#include "support/list_fixture.h"

namespace commonhold::test {

// A list of words, or of texts, with the texts of numbers 0 to `count` - 1.
class ListPairs {
 public:
  using Item = shm::Item;
  using List = shm::List;
  using Status = shm::Status;
  using ThreadContext = shm::ThreadContext;
  static constexpr std::uint64_t kAll = ~std::uint64_t{0}, kLast = ~std::uint64_t{0};

  ListPairs(bool boxed, std::uint64_t count) : boxed_(boxed), where(make_list(stage.segment, boxed)), list(where) {
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
    return {[this] { return elements_of(list, stage.me(), 0, kAll); }, [this] { return list.audit(stage.me()).error; },
            [this] {
              const std::string value = word_text(1);
              return works(list, item(value), stage.me());
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
  static std::string elements_of(const List& list, ThreadContext& me, std::uint64_t first, std::uint64_t count) {
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

  bool boxed_;

 public:
  shm::ObjectAddress where;
  List list;
};

}  // namespace commonhold::test
