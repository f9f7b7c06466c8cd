// Operations that make a dict's table larger or smaller, each with every other operation, one interrupted anywhere by
// the other.
#include "interleave/dict_pair_fixture.h"

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
