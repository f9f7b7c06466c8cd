// Each two operations of a dict, one interrupted anywhere by the other.
#include "interleave/dict_pair_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::PutMode;

namespace {

constexpr std::size_t kSomePairs = 24, kFewPairs = 12;

}  // namespace

TEST_CASE("two operations of a dict, one of them interrupted anywhere, are done one after the other") {
  DictPairs pairs(2, 5);
  const std::string k0 = key_number(0), k1 = key_number(1);
  explore_all_pairs(
      pairs.stage, "dict",
      {pairs.put("new", "v"), pairs.put(k0, "larger"), pairs.put_number(k0), pairs.erase(k0), pairs.get(k0),
       pairs.size(), pairs.clear(), pairs.put_many({{k0, "a"}, {"new", "b"}, {"other", ""}}),
       pairs.get_many({k0, "new"}), pairs.pop_last(), pairs.add(k1, false)},
      pairs.observation());
}

TEST_CASE("two conditional operations of a dict, one of them interrupted anywhere, are done one after the other") {
  DictPairs pairs(2, 3);
  const std::string k0 = key_number(0), k2 = key_number(2);
  std::vector<Operation> others = pairs.readers(k0, "new");
  for (Operation& writer : pairs.writers(k0, "new")) others.push_back(writer);
  explore_pairs_with(
      pairs.stage, "dict, conditions",
      {pairs.compare_exchange(k0, 0, "exchanged"), pairs.compare_exchange(k0, 70, "exchanged too"),
       pairs.update(k0, "updated"), pairs.erase_if_equal(k0, 0), pairs.put_if("new", "set", PutMode::kInsertOnly),
       pairs.put_if(k0, "set", PutMode::kInsertOnly), pairs.put_if(k0, "replaced", PutMode::kReplaceOnly),
       pairs.put_if("new", "replaced", PutMode::kReplaceOnly), pairs.exchange(k0, "exchange"),
       pairs.exchange("new", "exchange"), pairs.add("new", true), pairs.pop_last_if_equal(), pairs.erase(k2)},
      others, pairs.observation(), kFewPairs);
}
