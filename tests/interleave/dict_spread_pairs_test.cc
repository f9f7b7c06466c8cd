// Operations that spread a dict over more shards, or move its values and memory about, each with every other operation,
// one interrupted anywhere by the other.
#include "interleave/dict_pair_fixture.h"
#include "shm/dict_spread.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

constexpr std::size_t kFewPairs = 3;

const std::string kPresent = key_number(0);

std::vector<Operation> all_operations(DictPairs& pairs, const std::string& present) {
  std::vector<Operation> all = pairs.readers(present, "absent");
  for (Operation& writer : pairs.writers(present, "absent")) all.push_back(writer);
  return all;
}

}  // namespace

TEST_CASE("an operation that spreads a dict, and another one, are done one after the other") {
  for (const std::size_t keys : {std::size_t{0}, std::size_t{8}, std::size_t{shm::kCrowdedEntries}}) {
    DictPairs pairs(0, keys);
    if (keys < shm::kCrowdedEntries) pairs.control().waits = shm::kCrowdedWaits;
    explore_pairs_with(
        pairs.stage, fmt::format("dict of {} keys that spreads", keys),
        {pairs.put("new", "spreads"), pairs.put_many({{"new", "many"}, {"other", ""}, {kPresent, "many"}}),
         pairs.put_many({{"new", "large batch"}, {"other", ""}, {kPresent, ""}}, true),
         pairs.assign({{"new", "large batch"}, {"other", ""}}, true), pairs.exchange("new", "exchange"),
         pairs.writer("spread for watchers",
                      [&](shm::Dict&, shm::ThreadContext& me) {
                        shm::spread_for_watchers(me, pairs.where, pairs.control());
                        return std::string("spread, or not");
                      })},
        all_operations(pairs, kPresent), pairs.observation(), kFewPairs);
  }
}

TEST_CASE("a compaction of a dict, and another operation, are done one after the other") {
  const std::string hole(33'000, 'h'), moved(34'000, 'm'), other(40'000, 'o');
  DictPairs pairs(1);
  shm::ThreadContext& me = pairs.stage.me();
  for (const auto& [key, value] : {std::pair{"hole", &hole}, std::pair{"moved", &moved}}) {
    REQUIRE(pairs.dict.put(me, text(key), text(*value)) == shm::Status::kOk);
  }
  fill(pairs.dict, me, 0, 3);
  REQUIRE(pairs.dict.erase(me, text("hole")) == shm::Status::kOk);
  pairs.dict.give_idle_memory(me);
  std::vector<Operation> others = all_operations(pairs, "moved");
  others.push_back(pairs.put("large", other));
  others.push_back(pairs.put("moved", other));
  others.push_back(pairs.get(kPresent));
  others.push_back(pairs.put_number(kPresent));
  explore_pairs_with(pairs.stage, "dict that is compacted", {pairs.compact(), pairs.give_idle_memory()}, others,
                     pairs.observation(), kFewPairs);
}
