// Operations that allocate, free and read beside the growth of the segment and beside the release of memory to the
// system, one interrupted anywhere by the other.
#include "interleave/extent_checks.h"
#include "interleave/world_fixture.h"
#include "shm/dict.h"
#include "shm/extents.h"
#include "shm/extents_commit.h"
#include "shm/extents_release.h"
#include "shm/list.h"
#include "shm/queue.h"
#include "shm/sweep.h"
#include "support/list_fixture.h"
#include "support/queue_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;
using shm::ThreadContext;

namespace {

constexpr std::size_t kLarge = shm::kExtent * 5 / 8;  // in an extent of its own
constexpr std::size_t kLarger = shm::kExtent * 5 / 4;

// A dict, a list and a queue with a large item each. At the end each is audited, and all extents counted.
struct Memory {
  explicit Memory(std::uint64_t committed)
      : stage(48, committed),
        dict(stage.segment.make_dict(1)),
        list(make_list(stage.segment, true)),
        queue(make_queue(stage.segment, 0)) {
    REQUIRE(dict.put(stage.me(), text("large"), text(large)) == Status::kOk);
    REQUIRE(list.push_back(stage.me(), text(large)) == Status::kOk);
    REQUIRE(queue.put(stage.me(), text(large), Deadline::already()) == Status::kOk);
  }

  // First and last byte, and how many of them.
  static std::string ends_of(const std::string& bytes) {
    return bytes.empty() ? "-" : fmt::format("{}..{} x {}", bytes.front(), bytes.back(), bytes.size());
  }
  std::string value_of(const char* key) const {
    std::string found;
    const Status status = dict.get(text(key), {&found, [](void* to, shm::ItemKind, std::size_t size) -> void* {
                                                 static_cast<std::string*>(to)->resize(size);
                                                 return static_cast<std::string*>(to)->data();
                                               }});
    return status == Status::kOk ? ends_of(found) : word_of(status);
  }
  std::string contents() const {
    std::string seen = fmt::format("{}: {}, {}", dict.size(), value_of("large"), value_of("new"));
    std::vector<std::string> values;
    (void)list.snapshot(stage.me(), 0, 100, values);
    for (const std::string& value : values) seen += ", " + ends_of(value);
    return seen + fmt::format(", {} items", queue.size());
  }
  std::string audit() {
    // What a server leaves that died while it released memory, the next one completes.
    shm::finish_release(stage.me());
    punch_unbacked(*stage.segment);
    std::string wrong = dict.audit(stage.me()).error;
    if (wrong.empty()) wrong = list.audit(stage.me()).error;
    return wrong.empty() ? what_is_wrong(stage.segment, queue) : wrong;
  }

  std::vector<Operation> operations() {
    return {
        {"put of a large value", [this](ThreadContext& me) { return word_of(dict.put(me, text("new"), text(other))); }},
        {"put over a large value",
         [this](ThreadContext& me) { return word_of(dict.put(me, text("large"), text(other))); }},
        {"puts of small values", {small("a"), small("b"), small("c"), small("d")}},
        {"erase", [this](ThreadContext& me) { return word_of(dict.erase(me, text("large"))); }},
        {"push_back", [this](ThreadContext& me) { return word_of(list.push_back(me, text(other))); }},
        {"pop_back",
         [this](ThreadContext& me) {
           std::string popped;
           const Status status = list.pop_back(me, popped);
           return word_of(status) + ends_of(popped);
         }},
        {"put into a queue",
         [this](ThreadContext& me) { return word_of(queue.put(me, text(other), Deadline::already())); }},
        {"get from a queue",
         [this](ThreadContext& me) {
           std::string item;
           const Status status = queue.get(me, item, Deadline::already());
           return word_of(status) + ends_of(item);
         }},
    };
  }
  // Takes a chunk of a split extent.
  Call small(std::string key) {
    return [this, key](ThreadContext& me) { return word_of(dict.put(me, text(key), text(medium))); };
  }
  std::vector<Operation> reads() {
    return {
        {"get", [this](ThreadContext&) { return value_of("large"); }, kReaderWaits},
        {"copy of all",
         [this](ThreadContext& me) {
           std::vector<std::string> values;
           const Status status = list.snapshot(me, 0, 100, values);
           return word_of(status) + (values.empty() ? " none" : ends_of(values[0]));
         },
         kReaderWaits},
        {"peek",
         [this](ThreadContext& me) {
           std::string item;
           shm::ItemKind kind;
           const Status status = queue.peek(me, kind, item, Deadline::already());
           return word_of(status) + ends_of(item);
         }},
    };
  }
  Observation observation() {
    return {[this] { return contents(); }, [this] { return audit(); }};
  }

  KillStage stage;
  shm::Dict dict;
  shm::List list;
  shm::Queue queue;
  const std::string large = std::string(kLarge, 'l'), other = std::string(kLarger, 'o'),
                    medium = std::string(3000, 'm');
};

// With two preemptions each access is a fault, and a copy of a large value is thousands of them.
Places few_places() {
  return {places({5, 0}).points, selected(1, 20)};
}

// What the server does; how many extents it finds is not compared.
Call releasing() {
  return [](ThreadContext& me) {
    (void)shm::release_extents(me, 0, 64, false);
    return std::string("released");
  };
}

}  // namespace

TEST_CASE("operations that make the segment grow are done one after the other with those that allocate and free") {
  Memory memory(1);
  memory.stage.save();
  PairTotals totals;
  const std::vector<Operation> operations = memory.operations();
  const std::vector<Operation> world{
      operations[0],
      {"commit ahead", [](ThreadContext& me) { return word_of(shm::commit_ahead(me, 24)); }},
  };
  std::mt19937_64 random(Catch::rngSeed());
  explore_beside(memory.stage, "growth", world, drawn_of(operations, selected(2, operations.size()), random),
                 memory.observation(), totals, few_places());
  print_totals("growth of memory", totals);
}

TEST_CASE("the release of memory beside operations that allocate and free takes nothing that is in use") {
  Memory memory(12);
  memory.stage.save();
  PairTotals totals;
  const Call erase = memory.operations()[3].calls[0];
  const std::vector<Operation> world{
      {"release", releasing()},
      {"erase and release", {erase, releasing()}},
      {"release and commit", {releasing(), [](ThreadContext& me) { return word_of(shm::commit_ahead(me, 12)); }}},
  };
  std::mt19937_64 random(Catch::rngSeed());
  const std::vector<Operation> operations = memory.operations();
  explore_beside(memory.stage, "release", world, drawn_of(operations, selected(2, operations.size()), random),
                 memory.observation(), totals, few_places());
  print_totals("release of memory", totals);
}

TEST_CASE("a reader beside the release of what it reads sees it whole or not at all, and looks into no hole") {
  Memory memory(12);
  memory.stage.save();
  PairTotals totals;
  const std::vector<Operation> operations = memory.operations();
  const std::vector<Operation> reads = memory.reads();
  for (const auto& [changes, read] : {std::pair{3, 0}, {1, 0}, {5, 1}, {7, 2}}) {
    const Operation change{operations[changes].name + " and release", {operations[changes].calls[0], releasing()}};
    Observation observation = memory.observation();
    observation.audit = [&] {
      const std::string wrong = looked_into_holes(*memory.stage.segment);
      return wrong.empty() ? memory.audit() : wrong;
    };
    explore_beside(memory.stage, "release", {change}, {reads[read]}, observation, totals, few_places());
  }
  print_totals("release of memory that is read", totals);
}
