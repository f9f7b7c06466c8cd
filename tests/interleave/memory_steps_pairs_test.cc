// Memory that is given back, released, backed or split, at each access of whoever is at it: a reader in what goes, a
// writer whose old value goes at once, two who back the same extents.
#include "interleave/each_access.h"
#include "interleave/extent_checks.h"
#include "interleave/world_fixture.h"
#include "shm/dict.h"
#include "shm/extents_commit.h"
#include "shm/extents_release.h"
#include "shm/list.h"
#include "support/further_operations.h"
#include "support/list_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;
using shm::ThreadContext;

namespace {

constexpr std::size_t kInSplitExtent = 20'000, kLarge = 40'000, kOfTwoExtents = 80'000;

// The server's.
Call releasing() {
  return [](ThreadContext& me) {
    (void)shm::release_extents(me, 0, 64, false);
    return std::string("released");
  };
}
Call committing(std::uint64_t free_extents) {
  return [free_extents](ThreadContext& me) { return word_of(shm::commit_ahead(me, free_extents)); };
}

// A dict and a list, and what is done with one key and one element.
struct Values {
  explicit Values(std::uint64_t committed = 16)
      : stage(48, committed), dict(stage.segment.make_dict(1)), list(make_list(stage.segment, true)) {}

  std::string value() const {
    std::string found;
    const Status status = dict.get(text("k"), {&found, [](void* to, shm::ItemKind, std::size_t size) -> void* {
                                                 static_cast<std::string*>(to)->resize(size);
                                                 return static_cast<std::string*>(to)->data();
                                               }});
    return result_of(status, found);
  }
  std::string element() const {
    const auto value = get(list, 0);
    return value ? brief(*value) : "out of range";
  }
  Call put(std::string value) {
    return [this, value](ThreadContext& me) { return word_of(dict.put(me, text("k"), text(value))); };
  }
  Call set(std::string value) {
    return [this, value](ThreadContext& me) { return word_of(list.set(me, 0, text(value))); };
  }
  Call erase_and_give() {
    return in_turn({[this](ThreadContext& me) { return word_of(dict.erase(me, text("k"))); },
                    [this](ThreadContext& me) { return dict.give_idle_memory(me), std::string("given"); }});
  }
  Operation get_value() {
    return {"get", [this](ThreadContext&) { return value(); }, kReaderWaits};
  }
  void explore(EachAccess plan, PairTotals& totals) {
    stage.save();
    plan.observation = {[this] { return value() + ", " + element(); }, [this] { return audit(); },
                        [this] { return works(dict, stage.me()); }};
    explore_each_access(stage, plan, totals);
  }
  std::string audit() {
    std::string wrong = holes_at_first ? "" : looked_into_holes(*stage.segment);
    // What a server leaves that died while it released memory, the next one completes.
    shm::finish_release(stage.me());
    if (wrong.empty()) wrong = holes_in_memory(*stage.segment);
    punch_unbacked(*stage.segment);
    if (wrong.empty()) wrong = dict.audit(stage.me()).error;
    return wrong.empty() ? list.audit(stage.me()).error : wrong;
  }

  KillStage stage;
  shm::Dict dict;
  shm::List list;
  bool holes_at_first = false;  // then what a run starts from has been put there, pages in holes as well
};

}  // namespace

TEST_CASE("a reader of a value whose memory is released looks into no hole, whichever part of it is read") {
  PairTotals totals;
  for (const std::size_t size : {kInSplitExtent, kLarge}) {
    Values values;
    REQUIRE(values.dict.put(values.stage.me(), text("k"), text(std::string(size, 'o'))) == Status::kOk);
    values.explore({.name = fmt::format("release of {} bytes that are read", size),
                    .interrupted = values.get_value(),
                    .other = {"erase, give and release", {values.erase_and_give(), releasing()}}},
                   totals);
  }
  print_totals("reads of released memory", totals);
}

// More than a heap keeps from others: the memory of the old value is free at once, though not before the new one stands.
TEST_CASE("a value whose memory goes when it is replaced is whole for all, and after a death, until it is replaced") {
  constexpr std::size_t kLast = 15;
  constexpr std::uint64_t kCommitted = 24, kTimes = shm::kMostParkedBytes / shm::chunk_size(kOfTwoExtents) + 1;
  PairTotals totals;
  const std::string large(kOfTwoExtents, 'o');
  const auto explore = [&](Values& values, const Operation& change, const Call& read) {
    values.explore({.name = "value whose memory goes",
                    .interrupted = change,
                    .other = {"release and get", {releasing(), read}},
                    .ends = {Interrupted::kGoesOn, Interrupted::kDies},
                    .last = kLast},
                   totals);
  };
  {
    Values values(kCommitted);
    for (std::uint64_t i = 0; i < kTimes; ++i) (void)values.put(large)(values.stage.me());
    explore(values, {"put", values.put("small")}, [&](ThreadContext&) { return values.value(); });
  }
  Values values(kCommitted);
  REQUIRE(values.list.push_back(values.stage.me(), text(large)) == Status::kOk);
  for (std::uint64_t i = 1; i < kTimes; ++i) (void)values.set(large)(values.stage.me());
  explore(values, {"set", values.set("small")}, [&](ThreadContext&) { return values.element(); });
  print_totals("memory that goes at once", totals);
}

TEST_CASE("two who back the same extents, or one beside a release, count each once, and all that is free is memory") {
  constexpr std::uint64_t kMoreThanThereAre = 20;  // free extents
  constexpr std::size_t kBeforeCopy = 250;         // accesses of a put, more or less
  PairTotals totals;
  {
    Values values(4);
    values.explore({.name = "the same extents",
                    .interrupted = {"commit", committing(kMoreThanThereAre)},
                    .other = {"commit", committing(kMoreThanThereAre)}},
                   totals);
  }
  {
    Values values(4);
    values.explore({.name = "a new split extent",
                    .interrupted = {"put", values.put(std::string(kInSplitExtent, 'n'))},
                    .other = {"commit", committing(4)},
                    .ends = {Interrupted::kDiesFirst},
                    .most = kBeforeCopy},
                   totals);
  }
  Values values(4);
  (void)shm::release_extents(values.stage.me(), 0, 64, false);
  values.holes_at_first = true;
  values.explore({.name = "extents that are released again",
                  .interrupted = {"put", values.put(std::string(kLarge, 'n'))},
                  .other = {"commit and release", in_turn({committing(2), releasing()})},
                  .most = kBeforeCopy},
                 totals);
  print_totals("extents that are backed", totals);
}
