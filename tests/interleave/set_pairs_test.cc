// Each two operations of a set, and of a namespace, one interrupted anywhere by the other. Both are dicts: what they ask
// of one is explored here as their proxies ask it.
#include "interleave/dict_pair_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ObjectKind;
using shm::PutMode;

namespace {

constexpr std::size_t kFewPairs = 6;

}  // namespace

TEST_CASE("two operations of a set, one of them interrupted anywhere, are done one after the other") {
  DictPairs pairs(2, 0, ObjectKind::kSet);
  for (const char* element : {"one", "two"}) {
    REQUIRE(pairs.dict.put(pairs.stage.me(), text(element), {}) == shm::Status::kOk);
  }
  explore_all_pairs(
      pairs.stage, "set",
      {pairs.put_if("new", kNoValue, PutMode::kInsertOnly), pairs.put_if("one", kNoValue, PutMode::kInsertOnly),
       pairs.erase("one"), pairs.erase("new"), pairs.contains("one"), pairs.contains("new"), pairs.size(),
       pairs.snapshot(), pairs.put_many({{"one", kNoValue}, {"new", kNoValue}, {"three", kNoValue}}),
       pairs.assign({{"new", kNoValue}, {"two", kNoValue}}), pairs.pop_last(), pairs.pop_last_if_equal(),
       pairs.clear()},
      pairs.observation(), kFewPairs);
}

TEST_CASE("two operations of a namespace, one of them interrupted anywhere, are done one after the other") {
  DictPairs pairs(1, 2, ObjectKind::kNamespace);
  const std::string x = key_number(0), y = key_number(1);
  explore_all_pairs(pairs.stage, "namespace",
                    {pairs.get(x), pairs.get("new"), pairs.contains("new"), pairs.put(x, "text"), pairs.put_number(x),
                     pairs.put("new", "text"), pairs.erase(x), pairs.erase("new"),
                     pairs.put_many({{x, ""}, {y, "text"}, {"new", "text"}}), pairs.snapshot(),
                     pairs.update(x, "updated"), pairs.update("new", "updated")},
                    pairs.observation(), kFewPairs);
}
