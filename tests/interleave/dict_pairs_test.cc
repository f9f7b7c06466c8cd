// Each two operations of a dict, one interrupted anywhere by the other.
#include "interleave/dict_pair_fixture.h"
#include "support/tag_twins.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::PutMode;

namespace {

constexpr std::size_t kSomePairs = 16, kFewPairs = 8;

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

TEST_CASE("who reads several keys of a dict sees no state between two changes of one writer that there never was") {
  DictPairs pairs(2, 5);
  const std::string k0 = key_number(0), k1 = key_number(1), k2 = key_number(2), k3 = key_number(3);
  std::vector<Operation> writers, readers{pairs.get_many({k0, k1, k2, k3}), pairs.size(), pairs.snapshot()};
  for (const auto& [one, other] : {std::pair{k0, k1}, {k1, k0}, {k2, k3}, {k3, k2}}) {
    writers.push_back(then(pairs.put_number(one), pairs.put_number(other)));
    writers.push_back(then(pairs.put("new", "v"), pairs.erase(other)));
    writers.push_back(then(pairs.erase(one), pairs.put("new", "v")));
  }
  explore_pairs(pairs.stage, "dict, two changes", each_with(writers, readers), pairs.observation(), 3 * kFewPairs);
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
       pairs.exchange("new", "exchange"), pairs.add("new", true), pairs.pop_last_if_equal(), pairs.pop_twice(),
       pairs.erase(k2)},
      others, pairs.observation(), kFewPairs);
}

TEST_CASE("two operations on keys that are told apart late, one of them interrupted anywhere, are done in an order") {
  // Of one tag: only a look at the entry tells them apart. Long ones are compared out of line.
  const auto twins = tag_twins(kFixedSeed);
  const std::string prefix(60, 'k');
  for (const auto& [what, first, second] : {std::tuple{"dict, two keys of one tag", twins.first, twins.second},
                                            std::tuple{"dict, long keys", prefix + "1", prefix + "2"}}) {
    for (const bool is_second_there : {false, true}) {
      DictPairs pairs(1);
      REQUIRE(pairs.dict.put(pairs.stage.me(), text(first), text("first")) == shm::Status::kOk);
      if (is_second_there) REQUIRE(pairs.dict.put(pairs.stage.me(), text(second), text("twin")) == shm::Status::kOk);
      explore_all_pairs(pairs.stage, is_second_there ? what : fmt::format("{}, one of them absent", what),
                        {pairs.put(first, "First"), pairs.put(second, "second"), pairs.put_number(second),
                         pairs.erase(first), pairs.erase(second), pairs.get(first), pairs.get(second),
                         pairs.contains(second), pairs.get_many({first, second}), pairs.update(second, "updated"),
                         pairs.exchange(first, "exchanged"), pairs.put_many({{first, "a"}, {second, ""}})},
                        pairs.observation(), kFewPairs / 2);
    }
  }
}
