// A fork of a process in the middle of its operation: the child owns nothing of it, refers to what its parent referred
// to, and goes on whatever becomes of the parent; the parent goes on whatever becomes of the child.
#include <chrono>

#include "interleave/world_fixture.h"
#include "shm/dict.h"
#include "shm/list.h"
#include "shm/queue.h"
#include "shm/references.h"
#include "shm/semaphore.h"
#include "shm/sweep.h"
#include "shm/user_lock.h"
#include "support/dict_kill_stage.h"
#include "support/forking_parent.h"
#include "support/link_ground.h"
#include "support/list_fixture.h"
#include "support/queue_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::ObjectId;
using shm::Status;
using shm::ThreadContext;

namespace {

using Fate = ForkingParent::Fate;
using Result = ForkingParent::Result;

const char* name_of(Fate fate) {
  switch (fate) {
    case Fate::kParentFirst:
      return "the parent goes on first";
    case Fate::kChildFirst:
      return "the child goes on first";
    case Fate::kParentDies:
      return "the parent dies";
    case Fate::kChildDies:
      return "the child dies";
    case Fate::kBothDie:
      return "both die";
  }
  return "";
}

struct Family {
  std::string name;
  Call parent, child;
};

// Wherever the parent forks, the outcome is that of a fork before its operation or after it.
void explore_fork(KillStage& stage, const Family& family, const Call& enter, const Observation& observation,
                  PairTotals& totals) {
  const auto start = std::chrono::steady_clock::now();
  ForkingParent forking(stage, enter, family.parent, family.child, observation);
  const KillTrace& trace = forking.trace();
  // Before accesses to the segment, where the parent is not in the middle of malloc: the fork is made in a handler.
  const std::vector<std::uint32_t> accesses = trace.accesses();
  std::vector<std::size_t> points(accesses.begin(), accesses.end());
  std::mt19937_64 random(Catch::rngSeed());
  points = drawn_of(points, selected(15, points.size()), random);
  std::size_t failures = 0;
  for (const Fate fate : {Fate::kParentFirst, Fate::kChildFirst, Fate::kParentDies, Fate::kChildDies, Fate::kBothDie}) {
    std::vector<Result> allowed{forking.run(trace.size(), fate)};
    // With both alive either may come first wherever the fork is.
    const bool both = fate == Fate::kParentFirst || fate == Fate::kChildFirst;
    const Fate first = both ? Fate::kParentFirst : fate;
    allowed.push_back(forking.run(0, first));
    if (both) allowed.push_back(forking.run(0, Fate::kChildFirst));
    for (const Result& order : allowed) {
      INFO(family.name << ", " << name_of(fate) << ", before or after: " << order.wrong);
      CHECK(order.wrong.empty());
    }
    for (const std::size_t point : points) {
      if (failures == 3) return;
      const Result result = forking.run(point, fate);
      ++totals.schedules;
      totals.deaths += fate == Fate::kBothDie ? 2 : both ? 0 : 1;
      std::string wrong = result.wrong;
      if (wrong.empty() && std::ranges::find(allowed, result) == allowed.end()) {
        wrong = fmt::format("parent: {}, child: {}, then {}", result.parent, result.child, result.contents);
        for (const Result& order : allowed) {
          wrong +=
              fmt::format("\n  allowed: parent: {}, child: {}, then {}", order.parent, order.child, order.contents);
        }
      }
      INFO(family.name << ": a fork before instruction " << point << ", " << name_of(fate) << ": " << wrong);
      CHECK(wrong.empty());
      failures += !wrong.empty();
    }
  }
  ++totals.pairs;
  totals.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TEST_CASE("a fork in the middle of an operation is one before it or after it, whoever dies then") {
  KillStage stage;
  const auto dict_at = stage.segment.make_dict(2);
  shm::Dict dict(dict_at);
  fix_seed(dict_at);
  fill(dict, stage.me(), 0, 5);
  shm::List list(make_list(stage.segment, true));
  for (const char* value : {"a", "b"}) REQUIRE(list.push_back(stage.me(), text(value)) == Status::kOk);
  const shm::Queue queue(make_queue(stage.segment, 0, 2));
  REQUIRE(queue.put(stage.me(), text("a"), Deadline::already()) == Status::kOk);
  const shm::UserLock lock(stage.segment.make({shm::ObjectKind::kLock, "", "lock"}));
  const shm::Semaphore semaphore(stage.segment.make({shm::ObjectKind::kSemaphore, "", "semaphore", {1}}));
  const ObjectId object = make_object(stage.segment, shm::ObjectKind::kLock);
  REQUIRE(shm::add_reference(*stage.segment, object) == Status::kOk);
  stage.save();
  const std::int64_t seven = 7;
  const std::string k0 = key_number(0);
  const Call put = [&](ThreadContext& me) { return word_of(dict.put(me, text("new"), text("parent's"))); };
  const Call put_too = [&](ThreadContext& me) { return word_of(dict.put(me, text("new"), text("child's"))); };
  const Call batch = [&](ThreadContext& me) {
    const shm::DictPair pairs[] = {{text(k0), text("a")}, {text("new"), text("b")}, {text("other"), integer(seven)}};
    return word_of(dict.put_many(me, pairs));
  };
  const Call pop = [&](ThreadContext& me) {
    std::string value;
    const Status status = list.pop_front(me, value);
    return word_of(status) + shown(value);
  };
  const Call take = [&](ThreadContext& me) {
    std::string item;
    const Status status = queue.get(me, item, Deadline::already());
    return word_of(status) + shown(item);
  };
  const Call refer = [&](ThreadContext&) { return word_of(shm::add_reference(*stage.segment, object)); };
  const Call drop = [&](ThreadContext&) {
    shm::drop_reference(*stage.segment, object);
    return std::string("dropped");
  };
  const Call both = in_turn({[&](ThreadContext& me) { return word_of(lock.acquire(me)); },
                             [&](ThreadContext& me) { return word_of(lock.release(me)); }});
  const Call try_lock = [&](ThreadContext& me) { return word_of(lock.acquire(me, Deadline::already())); };
  const Call try_acquire = [&](ThreadContext& me) { return word_of(semaphore.acquire(me, Deadline::already())); };
  const std::vector<Family> families{
      {"put", put, put_too},
      {"put of many", batch, put_too},
      {"erase", [&](ThreadContext& me) { return word_of(dict.erase(me, text(k0))); }, batch},
      {"push_back", [&](ThreadContext& me) { return word_of(list.push_back(me, text("c"))); }, pop},
      {"pop_front", pop, pop},
      {"put into a queue", [&](ThreadContext& me) { return word_of(queue.put(me, text("b"), Deadline::already())); },
       take},
      {"get from a queue", take, take},
      {"acquire", [&](ThreadContext& me) { return word_of(lock.acquire(me)); }, try_lock},
      {"acquire and release", both, both},
      {"acquire a semaphore", try_acquire, try_acquire},
      {"drop a reference", drop, refer},
      {"refer", refer, drop},
  };
  const Observation observation{[&] {
                                  std::vector<std::string> values;
                                  (void)list.snapshot(stage.me(), 0, 100, values);
                                  std::vector<shm::DictEntryCopy> entries;
                                  (void)dict.snapshot(stage.me(), entries);
                                  std::string seen;
                                  for (const auto& entry : entries)
                                    seen += fmt::format("{}={} ", entry.key(), shown(entry.value()));
                                  return seen + fmt::format("| {} | {} | lock {} | permits {} | {} references",
                                                            fmt::join(values, " "), state_of(queue),
                                                            lock.locked() ? "held" : "free", semaphore.value(),
                                                            shm::count_references(*stage.segment, object));
                                },
                                [&] {
                                  std::string wrong = dict.audit(stage.me()).error;
                                  if (wrong.empty()) wrong = list.audit(stage.me()).error;
                                  if (wrong.empty()) wrong = what_is_wrong(stage.segment, queue);
                                  (void)shm::sweep_unreferred_objects(stage.me());
                                  if (wrong.empty() && !is_alive(stage.segment, object))
                                    wrong = "what the test refers to is gone";
                                  return wrong;
                                }};
  PairTotals totals;
  for (const Family& family : families) explore_fork(stage, family, refer, observation, totals);
  print_totals("forks in the middle of an operation", totals);
}
