// A SIGKILL at every instruction of what is below the objects: joining and leaving, thread slots, chunks, object
// records and references.
#include <catch2/catch.hpp>
#include <cstring>

#include "shm/dict_layout.h"
#include "shm/extents_commit.h"
#include "shm/extents_release.h"
#include "shm/lock_word.h"
#include "shm/object_types.h"
#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "support/kill_stage.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ObjectId;
using shm::ObjectKind;
using shm::Offset;
using shm::Status;
using shm::ThreadContext;

namespace {

using Op = std::function<void(ThreadContext&)>;

// A dict in it; what is done under its first shard's lock is undone by that shard's repair.
struct SystemStage : KillStage {
  SystemStage() : where(segment.make_dict(2)), dict(where) {
    REQUIRE(dict.put(me(), text("a"), text("1")) == Status::kOk);
    save();
    owned = bytes_owned_by(*segment, where.object);
  }

  shm::LockWord& word() const {
    return shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), 0).writing;
  }
  shm::ChunkOwner shard_owner() const { return shm::ChunkOwner(where.object, 0); }

  // The segment can be joined and used, the dict owns what it did, and nothing else is left.
  std::string check() {
    if (word().state.load() != 0) return "the shard is locked";
    std::string value, wrong = dict.audit(me()).error;
    if (!wrong.empty()) return wrong;
    if (bytes_owned_by(*segment, where.object) != owned) return "the dict owns another number of bytes";
    return {};
  }
  std::string check_newcomer() {
    pid_t newcomer = spawn([&] {
      alarm(20);
      if (dict.put(segment.me(), text("a"), text("2")) != Status::kOk) throw std::runtime_error("cannot put");
      segment->leave();
    });
    return wait_for(newcomer) == 0 ? leftovers() : "a newcomer cannot work";
  }

  void kill_everywhere(const std::string& name, Op op, Op enter = {}, int least_dead = 1) {
    KillPlan everywhere = plan(name, std::move(op));
    if (enter) everywhere.enter = [this, join = everywhere.enter, enter] { join(), enter(me()); };
    run(everywhere, least_dead);
  }
  void run(KillPlan& everywhere, int least_dead) {
    everywhere.sample = 500;
    everywhere.verify = [&](pid_t, std::size_t k) {
      std::string wrong = recover(least_dead, 1);
      if (wrong.empty()) wrong = check();
      return wrong.empty() && k % 8 == 0 ? check_newcomer() : wrong;
    };
    expect_clean(run_kill_plan(everywhere));
  }

  shm::ObjectAddress where;
  shm::Dict dict;
  std::uint64_t owned = 0;
};

Op take(SystemStage& stage, std::uint64_t bytes) {
  return [&stage, bytes](ThreadContext& me) {
    Offset chunk;
    (void)take_chunk(me, stage.shard_owner(), bytes, chunk);
  };
}

// The chunk that enter takes and op gives back.
Offset taken = 0;

}  // namespace

TEST_CASE("a process that is killed while it joins leaves a record that others use") {
  SystemStage stage;
  KillPlan join = stage.plan("join", {});
  join.enter = {};
  join.op = [&] { (void)stage.segment->join(); };
  stage.run(join, 0);
  KillPlan slot = stage.plan("join and claim a thread slot", {});
  slot.enter = {};
  slot.op = [&] { (void)stage.segment->here(); };
  stage.run(slot, 0);
}

TEST_CASE("a process that is killed while it leaves has left or is recovered") {
  SystemStage stage;
  stage.kill_everywhere(
      "leave", [&](ThreadContext&) { stage.segment->leave(); }, {}, 0);
  stage.kill_everywhere(
      "leave with a lock held", [&](ThreadContext&) { stage.segment->leave(); },
      [&](ThreadContext& me) { (void)shm::lock(me, stage.word()); }, 0);
  stage.kill_everywhere(
      "leave with references", [&](ThreadContext&) { stage.segment->leave(); },
      [&](ThreadContext&) {
        (void)shm::add_reference(*stage.segment, {stage.where.object, 1});
      },
      0);
}

TEST_CASE("a thread that ends with a lock may be killed while it gives its slot back") {
  SystemStage stage;
  auto end_thread = [&](ThreadContext& me) { shm::recover_thread(*stage.segment, me, me.index()); };
  stage.kill_everywhere("end of a thread", end_thread);
  stage.kill_everywhere("end of a thread with a lock and a chunk", end_thread, [&](ThreadContext& me) {
    (void)shm::lock(me, stage.word());
    take(stage, 3'000)(me);
  });
}

TEST_CASE("a chunk that was being taken or given back is not lost") {
  SystemStage stage;
  auto locked = [&](ThreadContext& me) { (void)shm::lock(me, stage.word()); };
  stage.kill_everywhere("take a chunk of 1 KiB", take(stage, 1'000), locked);
  stage.kill_everywhere("take a chunk of 32 KiB", take(stage, 32'000), locked);
  stage.kill_everywhere("take an extent", take(stage, 65'536), locked);
  stage.kill_everywhere("take three extents", take(stage, 180'000), locked);
  stage.kill_everywhere("take more than there is", take(stage, 1u << 30), locked);
  stage.kill_everywhere("take what needs more extents", take(stage, 14 * shm::kExtent), locked);
  for (std::uint64_t bytes : {1'000u, 32'000u, 65'536u, 180'000u}) {
    auto give = [bytes](ThreadContext& me) { give_chunk(me, taken, bytes); };
    stage.kill_everywhere("give back " + std::to_string(bytes) + " bytes", give, [&, bytes](ThreadContext& me) {
      locked(me);
      (void)take_chunk(me, stage.shard_owner(), bytes, taken);
    });
  }
  stage.kill_everywhere("commit_ahead", [&](ThreadContext& me) { (void)shm::commit_ahead(me, 18); });
}

TEST_CASE("an extent that goes back to the system, or comes from there, is not lost") {
  SystemStage stage;
  auto locked = [&](ThreadContext& me) { (void)shm::lock(me, stage.word()); };
  Offset chunk = 0;
  REQUIRE(take_chunk(stage.me(), stage.shard_owner(), 6 * shm::kExtent, chunk, shm::LateReaders::kNone) == Status::kOk);
  give_chunk(stage.me(), chunk, 6 * shm::kExtent);
  stage.save();
  const auto takeable = [&] {
    const shm::SegmentHeader& header = stage.segment->header();
    return header.free_extents.load() + header.unbacked_extents.load();
  };
  const std::uint64_t before = takeable();

  // A server that dies while it releases: the next one finds what it had taken out of the table.
  KillPlan release =
      stage.plan("release", [](ThreadContext& me) { (void)shm::release_extents(me, 0, 16, /*alone=*/false); });
  release.verify = [&](pid_t, std::size_t) -> std::string {
    if (shm::recover_all_dead(*stage.segment, stage.me()) != 1) return "the dead one was not recovered";
    shm::finish_release(stage.me());
    if (std::string wrong = stage.leftovers(); !wrong.empty()) return wrong;
    if (takeable() != before) return "an extent is lost";
    if (take_chunk(stage.me(), stage.shard_owner(), 6 * shm::kExtent, chunk) != Status::kOk) return "none can be taken";
    std::memset(stage.segment->at<std::byte>(chunk), 1, 6 * shm::kExtent);
    give_chunk(stage.me(), chunk, 6 * shm::kExtent);
    return stage.check();
  };
  expect_clean(run_kill_plan(release));

  // The next server may die as well, while it completes what its predecessor left half done.
  stage.restore();
  const std::uint64_t first = (chunk - stage.segment->tables().data) / shm::kExtent;
  for (std::uint64_t e = first; e < first + 6; ++e) {
    extent_entry(*stage.segment, e)
        .store(shm::extent_word(shm::ExtentKind::kWhole, 0, shm::ChunkOwner(shm::kSystemObject, shm::kReleaseArena)));
  }
  shm::repair_extents(*stage.segment);
  stage.save();
  KillPlan finish = stage.plan("finish_release", [](ThreadContext& me) { shm::finish_release(me); });
  finish.verify = release.verify;
  expect_clean(run_kill_plan(finish));

  stage.restore();
  shm::finish_release(stage.me());
  REQUIRE(stage.segment->header().unbacked_extents.load() >= 6);
  stage.save();
  stage.kill_everywhere("take three released extents", take(stage, 180'000), locked);
  stage.kill_everywhere("take a chunk of a released extent", take(stage, 1'000), locked);
  const std::uint64_t free = stage.segment->header().free_extents.load();
  stage.kill_everywhere("commit_ahead of released extents",
                        [free](ThreadContext& me) { (void)shm::commit_ahead(me, free + 4); });
}

TEST_CASE("an object that was being made is there or not, and what it took is found by the next server") {
  SystemStage stage;
  struct Kind {
    const char* name;
    ObjectKind kind;
    std::uint64_t arguments[2];
  };
  for (const Kind& kind : {Kind{"dict", ObjectKind::kDict, {2, 0}}, Kind{"list", ObjectKind::kList, {}},
                           Kind{"value", ObjectKind::kValue, {8, 7}}, Kind{"array", ObjectKind::kArray, {100, 8}},
                           Kind{"lock", ObjectKind::kLock, {}}}) {
    shm::ObjectPlan object{kind.kind, "it", "signature", {kind.arguments[0], kind.arguments[1]}};
    ObjectId id;
    auto check = [&](bool named) -> std::string {
      if (shm::recover_all_dead(*stage.segment, stage.me()) != 1) return "the dead one was not recovered";
      shm::finish_sweep(stage.me());
      if (std::string wrong = stage.leftovers(); !wrong.empty()) return wrong;
      bool found = find_object(*stage.segment, "it", id) == Status::kOk;
      if (found && shm::object_control(*stage.segment, id) == 0) return "the object has no control block";
      if (!found && named && create_object(stage.me(), object, id) != Status::kOk) return "it cannot be made again";
      destroy_object(stage.me(), id);
      std::string wrong = stage.check();
      return wrong.empty() ? stage.leftovers() : wrong;
    };
    KillPlan create = stage.plan(std::string("create object: ") + kind.name, [&](ThreadContext& me) {
      ObjectId made;
      (void)create_object(me, object, made);
    });
    create.verify = [&](pid_t, std::size_t) { return check(true); };
    expect_clean(run_kill_plan(create));

    stage.restore();
    REQUIRE(create_object(stage.me(), object, id) == Status::kOk);
    SharedImage made(stage.ranges());
    KillPlan destroy =
        stage.plan(std::string("destroy object: ") + kind.name, [&, id](ThreadContext& me) { destroy_object(me, id); });
    destroy.prepare = [&] { made.restore(); };
    destroy.verify = [&](pid_t, std::size_t) { return check(false); };
    expect_clean(run_kill_plan(destroy));

    KillPlan unname = stage.plan(std::string("unname object: ") + kind.name,
                                 [&](ThreadContext& me) { (void)unname_object(me, std::string_view("it")); });
    ObjectId unnamed = id;
    unname.prepare = [&] { made.restore(); };
    unname.verify = [&](pid_t, std::size_t) -> std::string {
      if (std::string wrong = stage.recover(); !wrong.empty()) return wrong;
      if (shm::object_control(*stage.segment, unnamed) == 0) return "the object is gone";
      bool found = find_object(*stage.segment, "it", id) == Status::kOk;
      return found || create_object(stage.me(), object, id) == Status::kOk ? "" : "neither there nor free";
    };
    expect_clean(run_kill_plan(unname));
    stage.restore();
  }
}

TEST_CASE("references of a killed process are dropped, wherever it was killed") {
  SystemStage stage;
  ObjectId id{stage.where.object, 1};
  auto add = [&](ThreadContext&) { (void)shm::add_reference(*stage.segment, id); };
  auto drop = [&](ThreadContext&) { shm::drop_reference(*stage.segment, id); };
  stage.kill_everywhere("add_reference, the first", add);
  stage.kill_everywhere("add_reference, another", add, add);
  stage.kill_everywhere("add_reference that takes another page", add, [&](ThreadContext& me) {
    for (std::uint32_t i = 0; i < shm::kCellsPerPage; ++i) add(me);
  });
  stage.kill_everywhere("drop_reference", drop, add);
  CHECK(shm::count_references(*stage.segment, id) == 0);
}
