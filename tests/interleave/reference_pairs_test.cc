// References taken, dropped and passed on, containers and the sweep: one interrupted anywhere by another.
#include "interleave/pair_fixture.h"
#include "shm/dict.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "support/further_operations.h"
#include "support/link_ground.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ObjectId;
using shm::Status;
using shm::ThreadContext;

TEST_CASE("references, containers and the sweep, one of two interrupted anywhere, leave what is referred to alive") {
  KillStage stage;
  const ObjectId outer = make_object(stage.segment, shm::ObjectKind::kDict, "outer");
  shm::Dict dict(address_of(stage.segment, outer));
  const ObjectId inner = make_object(stage.segment, shm::ObjectKind::kLock);
  const shm::Word word = inner.word();
  const shm::Item link{shm::ItemKind::kReference, &word, sizeof word};
  REQUIRE(dict.put(stage.me(), text("inner"), link) == Status::kOk);
  const Call refer = [&](ThreadContext&) { return word_of(shm::add_reference(*stage.segment, inner)); };
  const Call drop = [&](ThreadContext&) {
    shm::drop_reference(*stage.segment, inner);
    return std::string("dropped");
  };
  // What it found is not compared: garbage goes with this sweep or with the next.
  const Call sweep = [&](ThreadContext& me) {
    (void)shm::sweep_unreferred_objects(me);
    return std::string("swept");
  };
  const Call erase = [&](ThreadContext& me) { return word_of(dict.erase(me, text("inner"))); };
  std::vector<Operation> operations{
      {"sweep", sweep},
      {"refer", refer},
      {"refer and drop", {refer, drop}},
      {"refer and put it elsewhere",
       {refer, [&](ThreadContext& me) { return word_of(dict.put(me, text("again"), link)); }}},
      {"erase", erase},
      {"refer and erase", {refer, erase}},
  };
  // The session's own page is full: the next one takes memory for another.
  Operation beyond{"refer, with a full page, and drop", {refer, drop}};
  beyond.enter = [&](ThreadContext&) {
    for (std::uint32_t i = 0; i < shm::kCellsPerPage; ++i) (void)shm::add_reference(*stage.segment, outer);
    return std::string();
  };
  operations.push_back(beyond);
  explore_all_pairs(stage, "references", operations,
                    {[&] {
                       // As the next sweep leaves it.
                       while (shm::sweep_unreferred_objects(stage.me()) != 0) {
                       }
                       return fmt::format("{}, {} entries, {}", is_alive(stage.segment, inner) ? "alive" : "gone",
                                          dict.size(), shm::count_references(*stage.segment, inner));
                     },
                     [&] { return dict.audit(stage.me()).error; }, [&] { return works(dict, stage.me()); }});
}
