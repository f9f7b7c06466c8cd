// The tests that step two processes can fail: eight faults, switched on one at a time, are each found in a pair of
// operations, with a schedule that shows the fault again, and nothing is found when the fault is off.
#include "shm/planted_fault.h"

#include "interleave/pair_fixture.h"
#include "shm/condition.h"
#include "shm/dict.h"
#include "shm/event.h"
#include "shm/list.h"
#include "shm/queue.h"
#include "shm/semaphore.h"
#include "support/dict_kill_stage.h"
#include "support/list_fixture.h"
#include "support/queue_fixture.h"
#include "support/tag_twins.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::PlantedFault;
using shm::Status;
using shm::ThreadContext;

namespace {

// While it lives the processes that are forked have the fault.
class Planted {
 public:
  explicit Planted(PlantedFault fault) { shm::planted_fault = fault; }
  ~Planted() { shm::planted_fault = PlantedFault::kNone; }
  Planted(const Planted&) = delete;
  Planted& operator=(const Planted&) = delete;
};

// The schedule of a failure as explore_pair() words it.
std::string schedule_of(std::string failure) {
  constexpr std::string_view kOrder = "one after the other: ";
  if (failure.starts_with(kOrder)) failure.erase(0, kOrder.size());
  return failure.substr(0, failure.find(": "));
}

// `most_twice`: schedules with two preemptions; one is enough for most faults.
void expect_found(PlantedFault fault, KillStage& stage, PairPlan plan, std::size_t most_twice = 0) {
  if (is_skipped(plan.name)) return;
  stage.save();
  plan.between = 0;
  plan.most_points = 100;  // more accesses than an operation has in which a fault shows
  plan.most_twice = most_twice;
  plan.seed = Catch::rngSeed();
  PairReport found;
  std::string again;
  {
    const Planted planted(fault);
    found = explore_pair(stage, plan);
    INFO(found.line());
    REQUIRE_FALSE(found.failures.empty());
    again = replay_pair(stage, plan, schedule_of(found.failures.front()));
  }
  const std::string& failure = found.failures.front();
  std::cout << plan.name << " | " << failure << '\n' << std::flush;
  CHECK(failure.ends_with(again));
  CHECK_FALSE(again.empty());
  const PairReport sound = explore_pair(stage, plan);
  INFO(sound.line());
  CHECK(sound.ok());
}

Observation nothing_inside(std::function<std::string()> contents) {
  return {std::move(contents), [] { return std::string(); }};
}

// A dict of one shard with two texts.
struct DictOfTexts {
  DictOfTexts() : where(stage.segment.make_dict(1)), dict(where) {
    fix_seed(where);
    (void)dict.put(stage.me(), text("one"), text("first 1"));
    (void)dict.put(stage.me(), text("two"), text("other 2"));
  }
  Operation put(const std::string& key) {
    return {"put of " + key, [this, key](ThreadContext& me) { return word_of(dict.put(me, text(key), text("new"))); }};
  }
  // The first key once; then the second with the value that it has, until all blocks that were parked are in use again.
  Operation overwrite(int times) {
    return {"overwrite",
            {[this](ThreadContext& me) { return word_of(dict.put(me, text("one"), text("later 1"))); },
             [this, times](ThreadContext& me) {
               Status status = Status::kOk;
               for (int i = 0; i < times && status == Status::kOk; ++i) {
                 status = dict.put(me, text("two"), text("other 2"));
               }
               return word_of(status);
             }}};
  }
  Observation observation() {
    return {[this] {
              std::vector<shm::DictEntryCopy> entries;
              std::string seen = word_of(dict.snapshot(stage.me(), entries));
              for (const auto& entry : entries) seen += fmt::format(" {}={}", entry.key(), shown(entry.value()));
              return seen;
            },
            [this] { return dict.audit(stage.me()).error; }};
  }

  KillStage stage;
  shm::ObjectAddress where;
  shm::Dict dict;
};

struct EventFixture {
  PairPlan plan(const std::string& name) {
    return {.name = name,
            .first = {"wait", [this](ThreadContext&) { return word_of(event.wait(Deadline::never())); }},
            .second = {"set",
                       [this](ThreadContext& me) {
                         event.set(me);
                         return std::string("set");
                       }},
            .observation = nothing_inside([this] { return std::string(event.is_set() ? "set" : "clear"); })};
  }

  KillStage stage;
  const shm::Event event{stage.segment.make({shm::ObjectKind::kEvent, "", "event"})};
};

constexpr int kTimesForReuse = 2 * shm::kParkedBlocks + 2;

}  // namespace

TEST_CASE("a semaphore whose state is looked at and then stored is found: two acquire the only permit") {
  KillStage stage;
  const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {1, 0, 1}}));
  const Operation acquire{"acquire without a wait",
                          [&](ThreadContext& me) { return word_of(semaphore.acquire(me, Deadline::already())); }};
  expect_found(
      PlantedFault::kLookThenStore, stage,
      {.name = "look, then store", .first = acquire, .second = acquire, .observation = nothing_inside([&] {
                                                                          return std::to_string(semaphore.value());
                                                                        })});
}

TEST_CASE("a list that counts an element before its cell is written is found: a reader gets no such element") {
  KillStage stage;
  shm::List list(make_list(stage.segment, false));
  const std::string first = word_text(1), added = word_text(2);
  const auto push = [&](ThreadContext& me, const std::string& word) {
    return word_of(list.push_back(me, {shm::ItemKind::kInt64, word.data(), word.size()}));
  };
  (void)push(stage.me(), first);
  expect_found(PlantedFault::kStoresSwapped, stage,
               {.name = "stores swapped",
                .first = {"push_back", [&](ThreadContext& me) { return push(me, added); }},
                .second = {"get of the last",
                           [&](ThreadContext&) {
                             const auto value = get(list, ~std::uint64_t{0});
                             return value ? shown(*value) : "out of range";
                           }},
                .observation = {[&] {
                                  std::vector<std::string> values;
                                  std::string seen = word_of(list.snapshot(stage.me(), 0, ~std::uint64_t{0}, values));
                                  for (const std::string& value : values) seen += " " + shown(value);
                                  return seen;
                                },
                                [&] { return list.audit(stage.me()).error; }}});
}

TEST_CASE("a heap that uses blocks again without telling their readers is found: a key has another's value") {
  DictOfTexts fixture;
  expect_found(PlantedFault::kNoRecycleBump, fixture.stage,
               {.name = "no recycle bump",
                .first = {"get",
                          [&](ThreadContext&) {
                            std::string found(7, ' ');
                            const Status got = fixture.dict.get_fixed(text("one"), found.data(), found.size());
                            return word_of(got) + " " + shown(found);
                          }},
                .second = fixture.overwrite(kTimesForReuse),
                .observation = fixture.observation()});
}

TEST_CASE("a dict that frees a shard's lock before its commit is found: of two new keys one is lost") {
  DictOfTexts fixture;
  const auto [one_key, other_key] = tag_twins(kFixedSeed);  // so that both look for a slot in one bucket
  expect_found(PlantedFault::kUnlockBeforeCommit, fixture.stage,
               {.name = "unlock before commit",
                .first = fixture.put(one_key),
                .second = fixture.put(other_key),
                .observation = fixture.observation()});
}

TEST_CASE("an event that wakes nobody is found: a waiter sleeps on beside an event that is set") {
  EventFixture fixture;
  expect_found(PlantedFault::kNoWake, fixture.stage, fixture.plan("no wake-up"));
}

TEST_CASE("a queue that looks for sleepers before the item is there is found: a consumer sleeps beside an item") {
  const NoLookingByItself nobody_looks;
  KillStage stage;
  const shm::Queue queue(make_queue(stage.segment, 0, 2));
  expect_found(
      PlantedFault::kWakeBeforeChange, stage,
      {.name = "wake-up before the change",
       .first = {"put", [&](ThreadContext& me) { return word_of(queue.put(me, text("item"), Deadline::never())); }},
       .second = {"get",
                  [&](ThreadContext& me) {
                    std::string item;
                    const Status status = queue.get(me, item, Deadline::never());
                    return word_of(status) + " " + item;
                  }},
       .observation = {[&] { return state_of(queue); }, [&] { return what_is_wrong(stage.segment, queue); }}});
}

TEST_CASE("an event that wakes its waiters before it is set is found, by two preemptions") {
  EventFixture fixture;
  expect_found(PlantedFault::kWakeBeforeChange, fixture.stage, fixture.plan("wake-up before the event is set"), 2'000);
}

TEST_CASE("a condition that does not look at its deadline is found: a waiter does not come back") {
  KillStage stage;
  const shm::Condition condition(stage.segment.make({shm::ObjectKind::kCondition, "", "condition", {}}));
  const Operation wait{"wait in time", [&](ThreadContext& me) {
                         (void)condition.acquire(me);
                         const Status status = condition.wait(me, Deadline::after(10ms));
                         (void)condition.release(me);
                         return word_of(status);
                       }};
  const Operation notify{"notify", [&](ThreadContext& me) {
                           (void)condition.acquire(me);
                           const Status status = condition.notify(me, 1);
                           (void)condition.release(me);
                           return word_of(status);
                         }};
  expect_found(PlantedFault::kDeadlineNotLookedAt, stage,
               {.name = "deadline not looked at",
                .first = wait,
                .second = notify,
                .observation = nothing_inside([&] { return fmt::format("{} wait", condition.waiting()); })});
}

TEST_CASE("a heap that forgets a pinned block is found: nothing reaches the block and it is not free") {
  DictOfTexts fixture;
  const Operation read_in_place{"pin and unpin", [&](ThreadContext& me) {
                                  const void* data;
                                  std::size_t size;
                                  shm::ItemKind kind;
                                  std::uint32_t pin;
                                  const Status status = fixture.dict.pin(me, text("one"), data, size, kind, pin);
                                  // There are pins enough: the lock was not free in time, and a copy would be read.
                                  if (status == Status::kTooMany) return word_of(Status::kTimedOut);
                                  const std::string seen =
                                      word_of(status) + " " + std::string(static_cast<const char*>(data), size);
                                  shm::Dict::unpin(me, pin);
                                  return seen;
                                }};
  expect_found(PlantedFault::kLeakedBlock, fixture.stage,
               {.name = "leaked block",
                .first = read_in_place,
                .second = fixture.overwrite(kTimesForReuse),
                .observation = fixture.observation()});
}

// What the checks after each run are for, shown with calls that do it.
TEST_CASE("calls that keep a lock of the library's, or come back late, are found, though nobody dies of them") {
  DictOfTexts fixture;
  shm::DictShard& shard = shm::dict_shard(*fixture.stage.segment->at<shm::DictControl>(fixture.where.control), 0);
  const Operation keeps{"keep a lock", [&](ThreadContext& me) { return word_of(shm::lock(me, shard.writing)); }};
  const Operation look{"size", [&](ThreadContext&) { return std::to_string(fixture.dict.size()); }};
  const shm::Event event(fixture.stage.segment.make({shm::ObjectKind::kEvent, "", "event"}));
  const Operation set{"set", [&](ThreadContext& me) {
                        event.set(me);
                        return std::string("set");
                      }};
  const Operation late{"wait for 10 ms, late",
                       [&](ThreadContext&) {
                         (void)event.wait(Deadline::after(300ms));
                         return std::string("waited");
                       },
                       20'000'000};
  fixture.stage.save();
  const auto found = [&](const Operation& first, const Operation& second, const std::string& what) {
    PairPlan plan{.name = what, .first = first, .second = second, .observation = fixture.observation()};
    plan.seed = Catch::rngSeed();
    const PairReport report = explore_pair(fixture.stage, plan);
    INFO(report.line());
    CHECK(std::ranges::any_of(report.failures,
                              [&](const std::string& text) { return text.find(what) != std::string::npos; }));
  };
  found(keeps, look, "a lock of dict");
  found(set, late, "waited");
}
