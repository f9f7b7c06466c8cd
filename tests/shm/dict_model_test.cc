// The dict against a std::map that remembers insertion order.
#include <catch2/catch.hpp>
#include <list>
#include <map>
#include <optional>
#include <random>

#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

// What a dict promises, in the simplest words.
class Model {
 public:
  void put(const std::string& key, const std::string& value) {
    if (!values_.count(key)) order_.push_back(key);
    values_[key] = value;
  }
  bool erase(const std::string& key) {
    if (!values_.erase(key)) return false;
    order_.remove(key);
    return true;
  }
  std::optional<std::string> get(const std::string& key) const {
    auto found = values_.find(key);
    return found == values_.end() ? std::nullopt : std::optional(found->second);
  }
  void clear() {
    values_.clear();
    order_.clear();
  }
  std::size_t size() const { return values_.size(); }
  const std::list<std::string>& order() const { return order_; }

 private:
  std::map<std::string, std::string> values_;
  std::list<std::string> order_;
};

std::optional<std::string> get(const shm::Dict& dict, const std::string& key) {
  std::string value;
  shm::Sink sink{&value, [](void* to, shm::ItemKind, std::size_t size) -> void* {
                   auto* text = static_cast<std::string*>(to);
                   text->resize(size);
                   return text->data();
                 }};
  Status status = dict.get(text(key), sink);
  if (status == Status::kNotFound) return std::nullopt;
  REQUIRE(status == Status::kOk);
  return value;
}

void check_same(const TestSegment& segment, const shm::Dict& dict, const Model& model) {
  auto audit = dict.audit(segment.me());
  REQUIRE(audit.error == "");
  REQUIRE(audit.entries == model.size());
  REQUIRE(dict.size() == model.size());
  std::vector<shm::DictEntryCopy> entries;
  REQUIRE(dict.snapshot(segment.me(), entries) == Status::kOk);
  REQUIRE(entries.size() == model.size());
  auto expected = model.order().begin();
  for (auto& entry : entries) {
    REQUIRE(entry.key() == *expected);
    REQUIRE(entry.value() == model.get(*expected));
    ++expected;
  }
}

void run_model(std::uint64_t shards, int keys, std::size_t longest, int steps) {
  std::mt19937_64 random(Catch::rngSeed() * 7919 + static_cast<std::uint64_t>(keys));
  INFO("seed " << Catch::rngSeed() << ", " << shards << " shards, " << keys << " keys, values up to " << longest);
  TestSegment segment;
  shm::Dict dict(segment.make_dict(shards));
  Model model;
  shm::DictOrderCache cache;
  auto& me = segment.me();
  auto pick = [&](std::uint64_t below) { return random() % below; };
  auto any_key = [&] { return "key-" + std::to_string(pick(static_cast<std::uint64_t>(keys))); };
  auto any_value = [&] { return std::string(pick(longest + 1), static_cast<char>('a' + pick(26))); };
  for (int step = 0; step < steps; ++step) {
    INFO("step " << step);
    switch (pick(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5: {
        std::string key = any_key(), value = any_value(), before;
        bool replaced = false;
        REQUIRE(dict.put(me, text(key), text(value), shm::PutMode::kPut, &before, &replaced) == Status::kOk);
        REQUIRE(replaced == model.get(key).has_value());
        if (replaced) REQUIRE(before == model.get(key));
        model.put(key, value);
        break;
      }
      case 6: {
        std::string key = any_key(), value = any_value();
        bool there = model.get(key).has_value();
        REQUIRE(dict.put(me, text(key), text(value), shm::PutMode::kInsertOnly) ==
                (there ? Status::kExists : Status::kOk));
        if (!there) model.put(key, value);
        break;
      }
      case 7: {
        std::string key = any_key(), value = any_value();
        bool there = model.get(key).has_value();
        REQUIRE(dict.put(me, text(key), text(value), shm::PutMode::kReplaceOnly) ==
                (there ? Status::kOk : Status::kNotFound));
        if (there) model.put(key, value);
        break;
      }
      case 8:
      case 9:
      case 10: {
        std::string key = any_key(), before;
        auto expected = model.get(key);
        REQUIRE(dict.erase(me, text(key), &before) == (expected ? Status::kOk : Status::kNotFound));
        if (expected) REQUIRE(before == *expected);
        model.erase(key);
        break;
      }
      case 11:
      case 12:
      case 13: {
        std::string key = any_key();
        REQUIRE(get(dict, key) == model.get(key));
        REQUIRE(dict.contains(text(key)) == model.get(key).has_value());
        break;
      }
      case 14: {
        std::string key = any_key(), desired = any_value(), actual;
        auto expected = model.get(key);
        std::string guess = expected && pick(2) ? *expected : any_value();
        Status status = dict.compare_exchange(me, text(key), text(guess), text(desired), &actual);
        if (!expected) {
          REQUIRE(status == Status::kNotFound);
        } else if (guess == *expected) {
          REQUIRE(status == Status::kOk);
          model.put(key, desired);
        } else {
          REQUIRE(status == Status::kMismatch);
          REQUIRE(actual == *expected);
        }
        break;
      }
      case 15: {
        std::vector<std::pair<std::string, std::string>> batch(pick(12) + 1);
        for (auto& [key, value] : batch) key = any_key(), value = any_value();
        std::vector<shm::DictPair> pairs;
        for (auto& [key, value] : batch) pairs.push_back({text(key), text(value)});
        REQUIRE(dict.put_many(me, pairs) == Status::kOk);
        for (auto& [key, value] : batch) model.put(key, value);
        break;
      }
      case 16: {
        std::vector<std::string> keys_wanted(pick(8) + 1), values;
        std::vector<shm::Item> items;
        std::vector<bool> found;
        for (auto& key : keys_wanted) key = any_key();
        for (auto& key : keys_wanted) items.push_back(text(key));
        REQUIRE(dict.get_many(me, items, values, found) == Status::kOk);
        for (std::size_t i = 0; i < items.size(); ++i) {
          REQUIRE((found[i] ? std::optional(values[i]) : std::nullopt) == model.get(keys_wanted[i]));
        }
        break;
      }
      case 17:
      case 18: {
        shm::DictEntryCopy popped;
        Status status = dict.pop_last(me, cache, popped);
        if (model.size() == 0) {
          REQUIRE(status == Status::kNotFound);
        } else {
          REQUIRE(status == Status::kOk);
          REQUIRE(popped.key() == model.order().back());
          REQUIRE(popped.value() == model.get(model.order().back()));
          model.erase(model.order().back());
        }
        break;
      }
      default:
        if (pick(300) == 0) {
          REQUIRE(dict.clear(me) == Status::kOk);
          model.clear();
        } else if (pick(300) == 0) {
          std::vector<std::pair<std::string, std::string>> all(pick(2000));
          for (auto& [key, value] : all) key = any_key(), value = any_value();
          std::vector<shm::DictPair> pairs;
          for (auto& [key, value] : all) pairs.push_back({text(key), text(value)});
          REQUIRE(dict.assign(me, pairs) == Status::kOk);
          model.clear();
          for (auto& [key, value] : all) model.put(key, value);
        }
    }
    if (step % 500 == 499) check_same(segment, dict, model);
  }
  check_same(segment, dict, model);
}

}  // namespace

TEST_CASE("a small dict does what a map does") {
  run_model(16, 40, 40, 20000);
}
TEST_CASE("a dict of one shard does what a map does") {
  run_model(1, 3000, 60, 20000);
}
TEST_CASE("a large dict does what a map does") {
  run_model(4, 20000, 100, 60000);
}
TEST_CASE("large values do what a map does") {
  run_model(2, 60, 200000, 5000);
}

TEST_CASE("a dict grows to a hundred thousand entries and shrinks to none") {
  TestSegment segment;
  auto where = segment.make_dict();
  shm::Dict dict(where);
  auto& me = segment.me();
  constexpr std::int64_t kEntries = 100'000;
  for (std::int64_t i = 0; i < kEntries; ++i) REQUIRE(dict.put(me, integer(i), integer(i)) == Status::kOk);
  REQUIRE(dict.audit(me).error == "");
  REQUIRE(dict.size() == kEntries);
  std::uint64_t full = shm::bytes_owned_by(*segment, where.object);
  for (std::int64_t i = 0; i < kEntries; ++i) {
    std::int64_t value = -1;
    REQUIRE(dict.get_fixed(integer(i), &value, 8) == Status::kOk);
    REQUIRE(value == i);
  }
  for (std::int64_t i = 0; i < kEntries; ++i) REQUIRE(dict.erase(me, integer(i)) == Status::kOk);
  REQUIRE(dict.audit(me).error == "");
  REQUIRE(dict.size() == 0);
  CHECK(shm::bytes_owned_by(*segment, where.object) < full / 50);
}
