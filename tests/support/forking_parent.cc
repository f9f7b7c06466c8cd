#include "support/forking_parent.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/spin.h"
#include "support/code_location.h"
#include "support/own_processor.h"

namespace commonhold::test {

namespace {

constexpr std::size_t kParent = 0, kChild = 1;
constexpr std::size_t kMostInstructions = 400'000;
constexpr int kMostTurns = 1'000;

// Of the process that forks, and its child's.
ActorBoard* boards = nullptr;
const KillStage* forking_stage = nullptr;
const Call* call_of_child = nullptr;
bool has_forked = false;

void store_result(ActorBoard& board, const std::string& result) {
  std::strncpy(board.result, result.c_str(), sizeof board.result - 1);
}

[[noreturn]] void be_the_child(const std::vector<shm::ObjectId>& parents) {
  become_actor(kChild);
  shm::Segment& segment = *forking_stage->segment;
  const bool refers = segment.joined() && shm::references_of(segment, segment.session_index()) == parents;
  stop_running(ActorState::kPaused);
  std::string result = refers ? "" : "it does not refer to what its parent referred to, ";
  try {
    result += (*call_of_child)(forking_stage->segment.me());
  } catch (const std::exception& error) {
    result += error.what();
  }
  store_result(boards[kChild], result);
  for (;;) stop_running(ActorState::kFinished);
}

void fork_at_stop(bool finished) {
  if (!has_forked) {
    has_forked = true;
    shm::Segment& segment = *forking_stage->segment;
    const auto parents = shm::references_of(segment, segment.session_index());
    const pid_t child = fork();
    if (child == 0) be_the_child(parents);
    boards[kChild].pid = child;
  }
  stop_running(finished ? ActorState::kFinished : ActorState::kPaused);
}

void await_end(pid_t pid) {
  const auto fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return;
  pollfd ended{fd, POLLIN, 0};
  (void)poll(&ended, 1, 40'000);
  close(fd);
}

}  // namespace

ForkingParent::ForkingParent(KillStage& stage, Call enter, Call operation, Call of_child,
                             const Observation& observation)
    : stage_(stage),
      enter_(std::move(enter)),
      operation_(std::move(operation)),
      of_child_(std::move(of_child)),
      observation_(observation),
      world_(*new (memory_.data()) World),
      trace_(kMostInstructions) {
  stay_on_one_processor();
  world_.actors = 2;
  belong_to(&world_);
  shm::spinning = false;
  (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
  auto context = std::make_shared<shm::ThreadContext*>(nullptr);
  VictimBoard& board = world_.actor[kParent].victim;
  board.ranges = stage_.ranges().data();
  board.range_count = stage_.ranges().size();
  nursery_ = std::make_unique<VictimNursery>(
      board,
      [this, context] {
        boards = world_.actor;
        forking_stage = &stage_;
        call_of_child = &of_child_;
        become_actor(kParent);
        *context = &stage_.segment.me();
        (void)enter_(**context);
        if (world_.actor[kParent].victim.pause != nullptr) stop_running(ActorState::kPaused);
      },
      [this, context] { store_result(world_.actor[kParent], operation_(**context)); });
  record();
}

ForkingParent::~ForkingParent() {
  nursery_.reset();
  belong_to(nullptr);
  shm::spinning = true;
  (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
}

void ForkingParent::record() {
  stage_.restore();
  VictimBoard& board = world_.actor[kParent].victim;
  board.pause = nullptr;
  order_next(board, VictimJob::kRecord);
  trace_.prepare_recording(board, true);
  world_.records.store(true);
  (void)nursery_->run_one();
  world_.records.store(false);
  if (board.ending != VictimEnding::kFinished) throw std::runtime_error("the operation cannot be recorded");
  trace_.finish_recording(board);
}

// Until the parent has forked, and both wait.
void ForkingParent::start(std::size_t instruction) {
  stage_.restore();
  world_.now = 0;
  world_.sleepers = 0;
  for (ActorBoard* actor : {&world_.actor[kParent], &world_.actor[kChild]}) {
    actor->state = ActorState::kRunning;
    actor->may_run = 0;
    actor->sleeps_on = 0;
    actor->woken = false;
    actor->result[0] = '\0';
  }
  VictimBoard& board = world_.actor[kParent].victim;
  order_next(board, VictimJob::kKillAtStop);
  trace_.route_to(instruction, board);
  board.pause = &fork_at_stop;
  world_.actor[kChild].victim.ending = VictimEnding::kNone;
  nursery_->start_one();
  alive_[kParent] = alive_[kChild] = true;
  if (!await_stop(world_, kParent)) throw std::runtime_error("the parent does not start");
  if (!let_run(world_, kParent) || !await_stop(world_, kChild)) throw std::runtime_error("the parent does not fork");
  child_ = world_.actor[kChild].pid;
  orphan_ = true;
}

void ForkingParent::go_on(std::size_t actor, std::string& wrong) {
  for (int turn = 0; wrong.empty() && alive_[actor] && is_runnable(world_, actor); ++turn) {
    if (turn == kMostTurns || !let_run(world_, actor)) {
      const VictimBoard& board = world_.actor[kParent].victim;
      wrong = fmt::format("the {} does not come to an end {}", actor == kParent ? "parent" : "child",
                          actor == kParent && board.rip != 0 ? describe_code(board.rip) : "");
    }
  }
}

void ForkingParent::finish_both(std::string& wrong) {
  for (int turn = 0; wrong.empty(); ++turn) {
    if (turn == kMostTurns) {
      wrong = "they get nowhere";
      return;
    }
    const bool runs[] = {alive_[kParent] && is_runnable(world_, kParent),
                         alive_[kChild] && is_runnable(world_, kChild)};
    if (runs[kParent] || runs[kChild]) {
      go_on(runs[kParent] ? kParent : kChild, wrong);
      continue;
    }
    // A pause comes to an end by itself; who sleeps for a wake-up stays asleep.
    const auto pauses = [&](std::size_t i) {
      return alive_[i] && world_.actor[i].state == ActorState::kAsleep && world_.actor[i].sleeps_on == 0;
    };
    std::int64_t until = kNoDeadline;
    for (const std::size_t i : {kParent, kChild}) {
      if (pauses(i)) until = std::min(until, world_.actor[i].wakes_at.load());
    }
    if (until == kNoDeadline) return;
    world_.now = std::max(world_.now.load(), until);
  }
}

void ForkingParent::kill_one(std::size_t actor) {
  if (actor == kParent && alive_[kParent]) {
    (void)kill(world_.actor[kParent].pid, SIGKILL);
    (void)nursery_->await_one();
  } else if (actor == kChild && alive_[kChild]) {
    (void)kill(child_, SIGKILL);
    await_end(child_);
  }
  alive_[actor] = false;
  // A child is its parent's to reap, then ours.
  if (alive_[kParent] || alive_[kChild] || !orphan_) return;
  while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
  orphan_ = false;
}

void ForkingParent::recover(std::size_t most, std::string& wrong) {
  const int recovered = shm::recover_all_dead(*stage_.segment, stage_.me());
  if (recovered > static_cast<int>(most) && wrong.empty()) {
    wrong = fmt::format("{} were recovered where {} died", recovered, most);
  }
}

void ForkingParent::observe(Result& result) {
  const auto result_of = [&](std::size_t i) -> std::string {
    if (!alive_[i]) return "(died)";
    return world_.actor[i].state == ActorState::kFinished ? world_.actor[i].result : "(asleep)";
  };
  result.parent = result_of(kParent);
  result.child = result_of(kChild);
  if (world_.actor[kParent].victim.ending != VictimEnding::kNone) result.wrong = "the parent crashed";
  if (result.wrong.empty()) result.wrong = observation_.audit();
  if (result.wrong.empty()) result.contents = observation_.contents();
}

ForkingParent::Result ForkingParent::run(std::size_t instruction, Fate fate) {
  Result result;
  start(instruction);
  switch (fate) {
    case Fate::kParentFirst:
      go_on(kParent, result.wrong);
      break;
    case Fate::kChildFirst:
      go_on(kChild, result.wrong);
      break;
    case Fate::kParentDies:
      kill_one(kParent);
      recover(1, result.wrong);
      break;
    case Fate::kChildDies:
      kill_one(kChild);
      recover(1, result.wrong);
      break;
    case Fate::kBothDie:
      kill_one(kParent);
      kill_one(kChild);
      recover(2, result.wrong);
      break;
  }
  finish_both(result.wrong);
  if (result.wrong.empty()) observe(result);
  const int alive = alive_[kParent] + alive_[kChild];
  kill_one(kParent);
  kill_one(kChild);
  if (result.wrong.empty()) result.wrong = stage_.recover(0, alive);
  if (result.wrong.empty()) result.wrong = observation_.audit();
  return result;
}

}  // namespace commonhold::test
