// The sweep beside whoever takes, puts and drops items that link to other objects, in each kind of container, and beside
// whoever allocates: one interrupted anywhere by the other. What can be reached stays, and all else goes.
#include "interleave/world_fixture.h"
#include "shm/any_queue.h"
#include "shm/condition.h"
#include "shm/dict.h"
#include "shm/in_flight.h"
#include "shm/list.h"
#include "shm/references.h"
#include "shm/sweep.h"
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

// A container with a name, and what an item of it alone keeps: a dict that holds a large value, and a lock.
struct Contained {
  explicit Contained(shm::ObjectPlan plan)
      : outer(make(std::move(plan))),
        inner(make_object(stage.segment, shm::ObjectKind::kDict)),
        innermost(make_object(stage.segment, shm::ObjectKind::kLock)),
        other(make_object(stage.segment, shm::ObjectKind::kDict, "other")),
        others(address_of(stage.segment, other)) {
    shm::Dict dict(address_of(stage.segment, inner));
    REQUIRE(dict.put(stage.me(), text("large"), text(std::string(shm::kExtent, 'l'))) == Status::kOk);
    REQUIRE(dict.put(stage.me(), text("lock"), Link(innermost).item()) == Status::kOk);
  }

  ObjectId make(shm::ObjectPlan plan) {
    plan.name = "outer";
    ObjectId id;
    REQUIRE(create_object(stage.segment.me(), plan, id) == Status::kOk);
    return id;
  }
  Call refer() {
    return [this](ThreadContext&) { return word_of(shm::add_reference(*stage.segment, inner)); };
  }
  Call drop() {
    return [this](ThreadContext&) {
      shm::drop_reference(*stage.segment, inner);
      return std::string("dropped");
    };
  }
  Operation sweep() {
    // What it finds is not compared: garbage goes with this sweep or with the next.
    return {"sweep", [](ThreadContext& me) {
              (void)shm::sweep_unreferred_objects(me);
              return std::string("swept");
            }};
  }
  // The operations are given what removes the item if it still is the link, what removes it anyway, and what puts the
  // link once more.
  void explore(const std::string& what, const Call& take_over, const Call& take, const Call& put) {
    stage.save();
    const std::vector<Operation> operations{
        {"take over", {refer(), take_over}},
        {"take over, put back and drop", {refer(), take_over, put, drop()}},
        {"take", take},
        {"refer and take", {refer(), take}},
        {"put again", {refer(), put, drop()}},
        {"message to another",
         [this, take](ThreadContext& me) {
           if (shm::add_reference(*stage.segment, inner) != Status::kOk) return std::string("gone");
           shm::InFlight flight;
           std::string done = word_of(shm::begin_flight(*stage.segment, inner, flight));
           done += take(me);
           shm::drop_reference(*stage.segment, inner);
           return done;
         }},
        {"put of a large value",
         [this](ThreadContext& me) {
           return word_of(others.put(me, text("k"), text(std::string(shm::kExtent, 'o'))));
         }},
    };
    PairTotals totals;
    std::mt19937_64 random(Catch::rngSeed());
    explore_beside(stage, what, {sweep()}, drawn_of(operations, selected(4, operations.size()), random),
                   {[this] {
                      return fmt::format("{} {}, {} references, {} others",
                                         is_alive(stage.segment, inner) ? "alive" : "gone",
                                         is_alive(stage.segment, innermost) ? "alive" : "gone",
                                         shm::count_references(*stage.segment, inner), others.size());
                    },
                    [this] {
                      shm::finish_sweep(stage.me());
                      return wrong_after_sweep_in_flight();
                    }},
                   totals, places({5, 6}));
    print_totals(what + " beside the sweep", totals);
  }
  // As wrong_after_sweep(), which knows of no messages.
  std::string wrong_after_sweep_in_flight() {
    std::string wrong = wrong_after_sweep(stage.segment);
    if (wrong.find("nothing keeps it") != std::string::npos && is_alive(stage.segment, inner)) {
      std::vector<bool> referred(shm::kMaxObjects);
      shm::mark_in_flight(*stage.segment, referred);
      if (referred[inner.index]) wrong.clear();
    }
    return wrong;
  }

  KillStage stage{40};
  ObjectId outer, inner, innermost, other;
  shm::Dict others;
};

}  // namespace

TEST_CASE("the sweep beside who takes and puts links in a dict leaves what can be reached, and nothing else") {
  Contained objects({shm::ObjectKind::kDict, "", "dict"});
  shm::Dict dict(address_of(objects.stage.segment, objects.outer));
  const Link link(objects.inner);
  REQUIRE(dict.put(objects.stage.me(), text("inner"), link.item()) == Status::kOk);
  objects.explore(
      "dict",
      [&](ThreadContext& me) {
        const shm::Item expected = link.item();
        return word_of(dict.erase(me, text("inner"), nullptr, &expected));
      },
      [&](ThreadContext& me) { return word_of(dict.erase(me, text("inner"))); },
      [&](ThreadContext& me) { return word_of(dict.put(me, text("again"), link.item())); });
}

TEST_CASE("the sweep beside who takes and puts links in a list leaves what can be reached, and nothing else") {
  Contained objects({shm::ObjectKind::kList, "", "list", {1}});
  shm::List list(address_of(objects.stage.segment, objects.outer));
  const Link link(objects.inner);
  REQUIRE(list.push_back(objects.stage.me(), link.item()) == Status::kOk);
  objects.explore(
      "list", [&](ThreadContext& me) { return word_of(list.erase_if_equal(me, 0, link.item())); },
      [&](ThreadContext& me) {
        std::string popped;
        return word_of(list.pop_front(me, popped));
      },
      [&](ThreadContext& me) { return word_of(list.push_back(me, link.item())); });
}

TEST_CASE("the sweep beside who takes and puts links in a queue leaves what can be reached, and nothing else") {
  for (const bool ordered : {false, true}) {
    Contained objects(
        {ordered ? shm::ObjectKind::kPriorityQueue : shm::ObjectKind::kQueue, "", "queue", {0, 0, ordered ? 3u : 0u}});
    const shm::AnyQueue queue(address_of(objects.stage.segment, objects.outer));
    const Link link(objects.inner);
    const Call put = [&](ThreadContext& me) {
      return word_of(queue.is_ring() ? queue.ring().put(me, link.item(), Deadline::already())
                                     : queue.ordered().put(me, link.item(), 0, Deadline::already()));
    };
    REQUIRE(put(objects.stage.me()) == word_of(Status::kOk));
    objects.explore(
        queue.is_ring() ? "queue" : "ordered queue",
        [&](ThreadContext& me) {
          return word_of(queue.is_ring() ? queue.ring().take_if_equal(me, link.item())
                                         : queue.ordered().take_if_equal(me, link.item(), nullptr));
        },
        [&](ThreadContext& me) {
          std::string item;
          return word_of(queue.is_ring() ? queue.ring().get(me, item, Deadline::already())
                                         : queue.ordered().get(me, item, nullptr, Deadline::already()));
        },
        put);
  }
}
