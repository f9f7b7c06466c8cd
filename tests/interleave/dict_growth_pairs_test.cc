// Operations that make a dict's table larger or smaller, each with every other operation, one interrupted anywhere by
// the other.
#include "interleave/dict_pair_fixture.h"
#include "shm/dict_table.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

constexpr std::size_t kFewPairs = 3;

// Of a small table; 0: there is a directory.
std::uint32_t buckets(const DictShape& shape) {
  return shm::root_is_directory(shape.root) ? 0 : shm::buckets_of_code(shape.root & 63);
}

std::vector<Operation> all_operations(DictPairs& pairs, const std::string& present, const std::string& absent) {
  std::vector<Operation> all = pairs.readers(present, absent);
  for (Operation& writer : pairs.writers(present, absent)) all.push_back(writer);
  return all;
}

// Only a key of that length is looked up out of line; a look at a shorter one that was disturbed begins anew there.
std::string long_key(std::size_t i) {
  return fmt::format("a key of more than some bytes, {}", i);
}

const shm::AtomicWord* slot_of(const DictPairs& pairs, const std::string& key) {
  const shm::Item item = text(key);
  shm::DictPlace place;
  const shm::DictKey wanted{&item, shm::hash_key(item, pairs.control().seed)};
  REQUIRE(find_in_table(*pairs.stage.segment, shm::dict_shard(pairs.control(), 0), wanted, place) == shm::Status::kOk);
  return place.slot;
}

// How many long keys there are before the one that splits a table, and one that moves to the new table then.
struct Split {
  std::size_t count = 0;
  std::string moves;
};
Split find_split() {
  DictPairs pairs(1);
  std::vector<const shm::AtomicWord*> before;
  shm::Word root = 0;
  for (std::size_t count = 0;; ++count) {
    REQUIRE(pairs.dict.put(pairs.stage.me(), text(long_key(count)), text("v")) == shm::Status::kOk);
    const shm::Word now = shm::dict_shard(pairs.control(), 0).root.load();
    if (shm::root_is_directory(now)) {
      for (std::size_t i = 0; i < count && now == root; ++i) {
        if (slot_of(pairs, long_key(i)) != before[i]) return {count, long_key(i)};
      }
      before.clear();
      for (std::size_t i = 0; i <= count; ++i) before.push_back(slot_of(pairs, long_key(i)));
    }
    root = now;
  }
}

struct Growth {
  const char* name;
  std::function<bool(const DictShape& before, const DictShape& after)> happens;
};

}  // namespace

TEST_CASE("a put that makes a dict's table grow, and another operation, are done one after the other") {
  const Growth growths[] = {
      {"2 buckets to 8", [](auto& before, auto& after) { return buckets(before) == 2 && buckets(after) == 8; }},
      {"8 buckets to 64", [](auto& before, auto& after) { return buckets(before) == 8 && buckets(after) == 64; }},
      {"a directory", [](auto& before, auto& after) { return buckets(before) == 64 && buckets(after) == 0; }},
      {"a table split",
       [](auto& before, auto& after) { return before.root == after.root && before.tables() < after.tables(); }},
      {"a directory doubled",
       [](auto& before, auto& after) { return buckets(before) == 0 && before.root != after.root; }},
  };
  for (const Growth& growth : growths) {
    const std::size_t count = keys_before(growth.happens);
    DictPairs pairs(1, count);
    const std::string present = key_number(count / 2), growing = key_number(count);
    explore_pairs_with(
        pairs.stage, fmt::format("dict that grows, {}", growth.name),
        {pairs.put(growing, "grows"), pairs.put_many({{growing, "many"}, {"other", ""}, {present, "many"}}),
         pairs.add(growing, true)},
        all_operations(pairs, present, "absent"), pairs.observation(), kFewPairs);
  }
}

TEST_CASE("a key that a split moves from one table to another is found all the time") {
  const Split split = find_split();
  DictPairs pairs(1);
  for (std::size_t i = 0; i < split.count; ++i) {
    REQUIRE(pairs.dict.put(pairs.stage.me(), text(long_key(i)), text("v")) == shm::Status::kOk);
  }
  const std::string splitting = long_key(split.count);
  pairs.stage.save();
  PairTotals totals;
  for (const Operation& look : {pairs.get(split.moves), pairs.contains(split.moves), pairs.pin(split.moves)}) {
    PairPlan plan{.name = "dict that grows, a key moves: " + look.name,
                  .first = pairs.put(splitting, "splits"),
                  .second = look,
                  .observation = pairs.observation()};
    plan.seed = Catch::rngSeed();
    constexpr std::size_t kAllOfALookup = 50;
    plan.most_points = std::max(plan.most_points, kAllOfALookup);
    explore_and_add(pairs.stage, plan, totals);
  }
  print_figures(fmt::format("dict that grows, a key moves: {} pairs", totals.pairs), totals);
}

TEST_CASE("an erase that makes a dict's table shrink, and another operation, are done one after the other") {
  struct Shrink {
    const char* name;
    std::size_t filled, left;
  };
  for (const Shrink& shrink : {Shrink{"a table", 300, 33}, Shrink{"a directory", 700, 65}}) {
    DictPairs pairs(1, shrink.filled);
    for (std::size_t i = shrink.filled; i-- > shrink.left;) {
      REQUIRE(pairs.dict.erase(pairs.stage.me(), text(key_number(i))) == shm::Status::kOk);
    }
    const std::string present = key_number(5);
    explore_pairs_with(pairs.stage, fmt::format("dict that shrinks, {}", shrink.name),
                       {pairs.erase(present), pairs.pop_last(), pairs.erase_if_equal(present, 5)},
                       all_operations(pairs, present, "absent"), pairs.observation(), kFewPairs);
  }
}
