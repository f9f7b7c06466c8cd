// A SIGKILL at every instruction of a process that recovers the dead because they fill the tables.
#include <catch2/catch.hpp>

#include "shm/dict_table.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/reserved_session.h"
#include "support/full_tables.h"
#include "support/kill_stage.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

// Every record is in use: that of one dead process, which held a lock and a chunk that nothing reaches, and the rest of
// living ones.
struct FullStage : KillStage {
  FullStage() : where(segment.make_dict(1)), living(*segment, first_living(), shm::kMaxSessions) {
    REQUIRE(shm::Dict(where).put(me(), text("a"), text("1")) == Status::kOk);
    owned = bytes_owned_by(*segment, where.object);
    segment->header().sessions_used.store(first_living());  // recovery need not ask the kernel for each of the living
  }

  // The record behind the stage's own is the dead one's.
  std::uint32_t first_living() const { return shm::index_of(segment->session_index()) + 2; }

  shm::LockWord& word() const {
    return shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), 0).writing;
  }
  void hold(shm::ThreadContext& me) const {
    shm::Offset chunk;
    if (shm::lock(me, word()) != Status::kOk) abort();
    if (take_chunk(me, shm::ChunkOwner(where.object, shm::kMaxShards), 3000, chunk) != Status::kOk) abort();
  }
  void join_at_every_instruction(const std::string& name) {
    save();
    KillPlan join = plan(name, {});
    join.enter = {};
    join.op = [this] { (void)segment->join(); };
    join.sample = 100;
    join.verify = [this](pid_t, std::size_t) { return check(); };
    expect_clean(run_kill_plan(join));
  }
  std::string check() {
    pid_t newcomer = spawn([&] {
      alarm(20);
      if (segment->here() == nullptr) throw std::runtime_error("it cannot join");
      if (shm::Dict(where).put(segment.me(), text("a"), text("2")) != Status::kOk) throw std::runtime_error("no put");
      segment->leave();
    });
    if (wait_for(newcomer) != 0) return "a newcomer cannot work";
    (void)shm::recover_all_dead(*segment, me());
    if (word().state.load() != 0) return "the lock is held";
    for (std::uint32_t i = 0; i < first_living() - 2; ++i) {
      if ((segment->session(i).state.load() & 0xff) != 0) return "a reserved record is in use";
    }
    for (std::uint32_t t = 0; t < shm::kReservedThreads; ++t) {
      if ((segment->thread(t).claim.load() & 0xffff'ffff) != 0) return "a reserved slot is in use";
    }
    std::string wrong = shm::Dict(where).audit(me()).error;
    if (wrong.empty() && bytes_owned_by(*segment, where.object) != owned) wrong = "a chunk is lost";
    return wrong;
  }

  shm::ObjectAddress where;
  std::uint64_t owned = 0;
  LivingFiller living;
};

}  // namespace

TEST_CASE("a process that is killed while it makes room for itself leaves room for others") {
  FullStage stage;
  REQUIRE(wait_for(spawn([&] {
            stage.hold(stage.me());
            kill(getpid(), SIGKILL);
          })) == -SIGKILL);
  stage.join_at_every_instruction("join a table that is full of the dead");
}

TEST_CASE("a process that is killed while it takes a reserved record over leaves it to others") {
  FullStage stage;
  REQUIRE(wait_for(spawn([&] {
            (void)stage.me();  // the only record that is not reserved
            kill(getpid(), SIGKILL);
          })) == -SIGKILL);
  REQUIRE(wait_for(spawn([&] {
            shm::ReservedSession reserved(*stage.segment);
            if (!reserved) abort();
            stage.hold(reserved.me());
            kill(getpid(), SIGKILL);
          })) == -SIGKILL);
  stage.join_at_every_instruction("join and take a reserved record over");
}
