#include "support/dying_operation.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "support/code_location.h"
#include "support/process_shared.h"

namespace commonhold::test {

namespace {

constexpr std::size_t kMostInstructions = 4'000'000;
constexpr int kMostLooks = 20'000;  // of a millisecond each

}  // namespace

DyingOperation::DyingOperation(KillStage& stage, Call operation, Call enter)
    : stage_(stage),
      operation_(std::move(operation)),
      enter_(std::move(enter)),
      before_(stage.ranges()),
      board_(*new (memory_.data()) VictimBoard),
      trace_(kMostInstructions) {
  auto context = std::make_shared<shm::ThreadContext*>(nullptr);
  nursery_ = std::make_unique<VictimNursery>(
      board_,
      [this, context] {
        *context = &stage_.segment.me();
        if (enter_) (void)enter_(**context);
      },
      [this, context] { (void)operation_(**context); });
}

DyingOperation::~DyingOperation() {
  before_.restore();
  stage_.dead_sessions = 0;
  stage_.save();
}

std::vector<std::size_t> DyingOperation::points() {
  before_.restore();
  board_.ranges = stage_.ranges().data();
  board_.range_count = stage_.ranges().size();
  board_.pause = nullptr;
  order_next(board_, VictimJob::kRecord);
  trace_.prepare_recording(board_);
  const VictimFate fate = nursery_->run_one();
  if (board_.ending != VictimEnding::kFinished) {
    throw std::runtime_error(fmt::format("the operation cannot be recorded: ending {}, wait status {}, at {} {}",
                                         static_cast<int>(board_.ending), fate.wait_status, describe_code(board_.rip),
                                         board_.message));
  }
  trace_.finish_recording(board_);
  return trace_.death_points();
}

void DyingOperation::die_before(std::size_t point) {
  before_.restore();
  trace_.route_to(point, board_);
  order_next(board_, point == trace_.size() ? VictimJob::kKillAtEnd : VictimJob::kKillAtStop);
  (void)nursery_->run_one();
  if (board_.ending != VictimEnding::kKilled) throw std::runtime_error("the operation took another way to its death");
  end_saved();
}

void DyingOperation::die_asleep() {
  before_.restore();
  const pid_t child = spawn([this] {
    shm::ThreadContext& me = stage_.segment.me();
    if (enter_) (void)enter_(me);
    (void)operation_(me);
  });
  bool asleep = false;
  for (int look = 0; look < kMostLooks && !asleep; ++look) {
    usleep(1'000);
    asleep = is_asleep(child);
  }
  kill(child, SIGKILL);
  if (wait_for(child) != -SIGKILL || !asleep) throw std::runtime_error("the operation does not sleep");
  end_saved();
}

void DyingOperation::end_saved() {
  stage_.dead_sessions = 1;
  stage_.save();
}

}  // namespace commonhold::test
