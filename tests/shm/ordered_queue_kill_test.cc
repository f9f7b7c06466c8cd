// Every mutating operation of an ordered queue, killed at every instruction.
#include "shm/ordered_queue.h"
#include "support/ordered_queue_fixture.h"
#include "support/process_shared.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::QueueMode;
using shm::Status;

namespace {

void ignore(Status) {}

struct Stage {
  Stage(QueueMode mode, bool redeliver)
      : where(make_ordered_queue(segment, mode, redeliver)), queue(where), redelivers(redeliver) {
    for (int i = 0; i < 9; ++i) ignore(put(segment, queue, fmt::format("item{}", i), static_cast<unsigned>(i * 7 % 5)));
  }
  void kill(const std::string& name, std::function<void()> op, int kills_of_recovery = 1) {
    INFO(name);
    KillCase one{name, std::move(op), [this] { return state(); }, [this] { return wrong(); }};
    one.kills_of_recovery = kills_of_recovery;
    one.extents_watched = 8;
    kill_everywhere_in(segment, one);
  }
  std::string state() const {
    return fmt::format("{} unfinished {} ended {}", fmt::join(queue.items_for_test(), "|"), queue.unfinished(),
                       static_cast<int>(queue.ended()));
  }
  std::string wrong() {
    if (std::string what = what_is_wrong(segment, queue); !what.empty()) return what;
    return segment->at<shm::OrderedControl>(where.control)->changing.state.load() != 0 ? "a lock stayed locked" : "";
  }

  TestSegment segment{8u << 20};
  shm::ObjectAddress where;
  shm::OrderedQueue queue;
  bool redelivers;
};

}  // namespace

TEST_CASE("a producer or consumer of an ordered queue killed anywhere leaves the item in or out", "[kill]") {
  for (QueueMode mode : {QueueMode::kLifo, QueueMode::kPriority}) {
    Stage stage(mode, false);
    stage.kill("put", [&] { ignore(put(stage.segment, stage.queue, "new", 2)); });
    stage.kill("put of a large item", [&] { ignore(put(stage.segment, stage.queue, std::string(3000, 'l'), 2)); });
    stage.kill("get", [&] { (void)got(stage.segment, stage.queue); });
    stage.kill("task_done", [&] { ignore(stage.queue.task_done(stage.segment.me())); });
    stage.kill("shut_down", [&] { ignore(stage.queue.shut_down(stage.segment.me(), true)); });
  }
}

TEST_CASE("a bulk put or take of an ordered queue killed anywhere has happened as a whole or not at all", "[kill]") {
  const std::string large(3000, 'l');
  const std::vector<shm::Item> items = {text("one"), text(large), text("three")};
  for (QueueMode mode : {QueueMode::kLifo, QueueMode::kPriority}) {
    Stage stage(mode, false);
    stage.kill("put_many", [&] {
      std::uint64_t done = 0;
      ignore(stage.queue.put_many(stage.segment.me(), items, Deadline::already(), done));
    });
    std::vector<std::string> taken;
    stage.kill("get_many", [&] { ignore(stage.queue.get_many(stage.segment.me(), 4, taken, Deadline::already())); });
    if (mode != QueueMode::kPriority) continue;
    shm::CopiedItems seen;
    (void)seen.make_room(4);
    stage.kill("peek_many and take_seen", [&] {
      ignore(stage.queue.peek_many(stage.segment.me(), 4, seen, Deadline::already()));
      std::uint64_t count = seen.count();
      ignore(stage.queue.take_seen(stage.segment.me(), seen.numbers, count));
    });
  }
  Stage redelivers(QueueMode::kFifo, true);
  redelivers.kill("put_many, redelivering", [&] {
    std::uint64_t done = 0;
    ignore(redelivers.queue.put_many(redelivers.segment.me(), items, Deadline::already(), done));
  });
}

TEST_CASE("an item to be delivered again survives its consumer's death at every instruction", "[kill]") {
  Stage stage(QueueMode::kFifo, true);
  std::string whole = stage.state();
  // The state before is also the state after: whatever the dead one had taken comes again, in its place.
  auto all_there = [&]() -> std::string {
    if (std::string what = stage.wrong(); !what.empty()) return what;
    return stage.state() == whole ? "" : "an item is missing, twice there or out of order: " + stage.state();
  };
  auto die_after = [&](const std::string& name, std::function<void()> op) {
    INFO(name);
    KillPlan plan;
    SharedImage image(backed_ranges(*stage.segment));
    plan.name = name;
    plan.prepare = [&] { image.restore(); };
    plan.enter = [&] { (void)stage.segment.me(); };
    plan.op = op;
    plan.shared = backed_ranges(*stage.segment);
    plan.sample = 150;
    plan.seed = Catch::rngSeed();
    plan.verify = [&](pid_t, std::size_t) -> std::string {
      if (shm::recover_all_dead(*stage.segment, stage.segment.me()) < 1) return "no death was found";
      return all_there();
    };
    KillReport report = run_kill_plan(plan);
    if (!report.ok()) WARN(report.line());
    image.restore();
    REQUIRE(report.ok());
  };
  die_after("get", [&] { (void)got(stage.segment, stage.queue); });
  die_after("three gets", [&] {
    for (int i = 0; i < 3; ++i) (void)got(stage.segment, stage.queue);
  });
  std::vector<std::string> taken;
  die_after("get_many", [&] { ignore(stage.queue.get_many(stage.segment.me(), 4, taken, Deadline::already())); });
}

TEST_CASE("task_done of an item that may be delivered again has happened or not", "[kill]") {
  Stage stage(QueueMode::kFifo, true);
  // The victim takes an item and marks it done: afterwards it is gone, or it comes again. Nothing else changes.
  std::string whole = stage.state();
  SharedImage image(backed_ranges(*stage.segment));
  (void)got(stage.segment, stage.queue);
  ignore(stage.queue.task_done(stage.segment.me()));
  std::string without = stage.state();
  image.restore();
  KillPlan plan;
  plan.name = "get and task_done";
  plan.prepare = [&] { image.restore(); };
  plan.enter = [&] { (void)stage.segment.me(); };
  plan.op = [&] {
    (void)got(stage.segment, stage.queue);
    ignore(stage.queue.task_done(stage.segment.me()));
  };
  plan.shared = backed_ranges(*stage.segment);
  plan.sample = 150;
  plan.seed = Catch::rngSeed();
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    if (shm::recover_all_dead(*stage.segment, stage.segment.me()) < 1) return "no death was found";
    if (std::string what = stage.wrong(); !what.empty()) return what;
    return stage.state() == whole || stage.state() == without ? "" : "another state: " + stage.state();
  };
  KillReport report = run_kill_plan(plan);
  if (!report.ok()) WARN(report.line());
  image.restore();
  REQUIRE(report.ok());
}

TEST_CASE("redelivery itself can be interrupted anywhere by a death, and is taken up again", "[kill]") {
  Stage stage(QueueMode::kFifo, true);
  std::string whole = stage.state();
  pid_t consumer = spawn([&] {
    for (int i = 0; i < 3; ++i) (void)got(stage.segment, stage.queue);
    raise(SIGKILL);
  });
  REQUIRE(wait_for(consumer) == -SIGKILL);
  SharedImage image(backed_ranges(*stage.segment));
  KillPlan plan;
  plan.name = "recovery of a consumer";
  plan.prepare = [&] { image.restore(); };
  plan.enter = [&] { (void)stage.segment.me(); };
  plan.op = [&] { (void)shm::recover_all_dead(*stage.segment, stage.segment.me()); };
  plan.shared = backed_ranges(*stage.segment);
  plan.sample = 150;
  plan.seed = Catch::rngSeed();
  plan.verify = [&](pid_t, std::size_t) -> std::string {
    (void)shm::recover_all_dead(*stage.segment, stage.segment.me());
    if (std::string what = stage.wrong(); !what.empty()) return what;
    if (stage.state() != whole) return "not every item came back: " + stage.state();
    return stage.segment->at<shm::OrderedControl>(stage.where.control)->returned.load() != 0 ? "" : "nobody is told";
  };
  KillReport report = run_kill_plan(plan);
  if (!report.ok()) WARN(report.line());
  image.restore();
  REQUIRE(report.ok());

  // And taking what was returned.
  (void)shm::recover_all_dead(*stage.segment, stage.segment.me());
  stage.kill("get of an item that comes again", [&] {
    (void)got(stage.segment, stage.queue);
    ignore(stage.queue.task_done(stage.segment.me()));
  });
}
