// Batches, and readers that pin a value, each with every other operation of a dict, one interrupted anywhere by the other.
#include "interleave/dict_pair_fixture.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

constexpr std::size_t kFewPairs = 4;

std::vector<Operation> all_operations(DictPairs& pairs, const std::string& present) {
  std::vector<Operation> all = pairs.readers(present, "absent");
  for (Operation& writer : pairs.writers(present, "absent")) all.push_back(writer);
  return all;
}

}  // namespace

TEST_CASE("a batch of a dict, and another operation, are done one after the other") {
  DictPairs pairs(4, 4);
  const std::string k0 = key_number(0), k1 = key_number(1), chunk(2'500, 'c');
  const Entries mixed{{k0, ""}, {k1, "text"}, {"absent", chunk}, {"another", ""}};
  explore_pairs_with(
      pairs.stage, "dict, batches",
      {pairs.put_many(mixed), pairs.put_many(mixed, true), pairs.put_many({{k0, ""}, {k1, ""}}),
       pairs.put_many({{k0, ""}, {k1, ""}}, true), pairs.assign(mixed), pairs.assign(mixed, true), pairs.assign({})},
      all_operations(pairs, k0), pairs.observation(), kFewPairs);
}

TEST_CASE("a batch that makes tables of a dict grow, and another operation, are done one after the other") {
  DictPairs pairs(1, 12);
  Entries many;
  for (std::size_t i = 10; i < 26; ++i) many.emplace_back(key_number(i), i % 3 == 0 ? "" : std::string(10 + i, 'm'));
  explore_pairs_with(pairs.stage, "dict, batches that grow", {pairs.put_many(many), pairs.put_many(many, true)},
                     all_operations(pairs, key_number(11)), pairs.observation(), kFewPairs);
}

TEST_CASE("an operation sees that a key went and came back, where the new entry lies in the place of the old one") {
  // All else of the shard is as it was: its root, the slot's word and the entry's block. Only long keys are looked up
  // out of line.
  for (const std::string& key : {std::string("key"), std::string(40, 'k')}) {
    DictPairs pairs(1);
    const std::string value(100, 'o'), same(100, 'n');
    REQUIRE(pairs.dict.put(pairs.stage.me(), text(key), text(value)) == shm::Status::kOk);
    const std::vector<Operation> back{then(pairs.clear(), pairs.put(key, same)),
                                      then(pairs.clear(), pairs.put(key, "shorter")),
                                      then(pairs.clear(), pairs.put_number(key))};
    const std::string what = fmt::format("dict, key of {} bytes that comes back", key.size());
    explore_pairs(pairs.stage, what + ", writers",
                  each_with(back, {pairs.exchange(key, "exchanged"), pairs.update(key, "updated"), pairs.erase(key),
                                   pairs.put(key, "larger"), pairs.add(key, true)}),
                  pairs.observation(), kFewPairs);
    explore_pairs(pairs.stage, what + ", readers",
                  each_with(back, {pairs.get(key), pairs.get_many({key}), pairs.snapshot(), pairs.pin(key)}),
                  pairs.observation(), kFewPairs);
  }
}

TEST_CASE("a reader who pins a value, and a writer whose blocks are used again, do their work one after the other") {
  // Of values that are blocks, and of such that are chunks; the next overwrite parks a block, or finds the park full.
  for (const std::size_t size : {std::size_t{40}, std::size_t{2'500}}) {
    for (const int overwrites : {13, 14}) {
      DictPairs pairs(1);
      for (int i = 0; i <= overwrites; ++i) {
        const std::string value(size, static_cast<char>('a' + i));
        REQUIRE(pairs.dict.put(pairs.stage.me(), text("pinned"), text(value)) == shm::Status::kOk);
      }
      const std::string same(size, 'x'), longer(size + 100, 'y');
      std::vector<Operation> others = all_operations(pairs, "pinned");
      others.push_back(pairs.put("pinned", same));
      others.push_back(pairs.put("pinned", longer));
      others.push_back(pairs.give_idle_memory());
      explore_pairs_with(pairs.stage, fmt::format("dict, pins beside {} overwrites with {} bytes", overwrites, size),
                         {pairs.pin("pinned"), pairs.exchange("pinned", same)}, others, pairs.observation(), kFewPairs);
    }
  }
}
