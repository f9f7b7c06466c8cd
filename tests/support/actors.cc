#include "support/actors.h"

#include <fmt/format.h>
#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "shm/recovery.h"
#include "shm/spin.h"
#include "support/code_location.h"
#include "support/own_processor.h"
#include "support/rest_checks.h"

namespace commonhold::test {

namespace {

constexpr std::size_t kMostInstructions = 2'000'000;
constexpr int kMostTurns = 10'000;           // of one run: who goes on longer gets nowhere
constexpr std::int64_t kTime = 400'000'000;  // ns that pass in a step X~

void pause_at_stop(bool finished) {
  stop_running(finished ? ActorState::kFinished : ActorState::kPaused);
}

void store_result(ActorBoard& board, const std::string& result) {
  std::strncpy(board.result, result.c_str(), sizeof board.result - 1);
}

void fail(Outcome& outcome, std::string what) {
  if (outcome.wrong.empty()) outcome.wrong = std::move(what);
}

}  // namespace

Actors::Actors(KillStage& stage, std::vector<Operation> operations, const Observation& observation, std::string name)
    : stage_(stage),
      name_(std::move(name)),
      operations_(std::move(operations)),
      observation_(observation),
      world_(*new (memory_.data()) World) {
  stay_on_one_processor();
  world_.actors = operations_.size();
  (void)malloc_trim(0);  // or the first large allocation of each actor tidies up this process's heap
  belong_to(&world_);
  shm::spinning = false;
  for (std::size_t i = 0; i < operations_.size(); ++i) {
    traces_.push_back(std::make_unique<KillTrace>(kMostInstructions));
    world_.actor[i].victim.ranges = stage_.ranges().data();
    world_.actor[i].victim.range_count = stage_.ranges().size();
    auto context = std::make_shared<shm::ThreadContext*>(nullptr);
    ActorBoard& board = world_.actor[i];
    nurseries_.push_back(std::make_unique<VictimNursery>(
        board.victim,
        [this, i, context] {
          become_actor(i);
          *context = &stage_.segment.me();
          if (operations_[i].enter) (void)operations_[i].enter(**context);
          if (world_.actor[i].victim.pause != nullptr) stop_running(ActorState::kPaused);
        },
        [this, i, context, &board] {
          std::string results;
          for (const Call& call : operations_[i].calls) {
            if (!results.empty()) {
              if (world_.stops_at_calls.load(std::memory_order_relaxed)) {
                stop_running(ActorState::kPaused);
                follow_access_orders();
              }
              results += ", ";
            }
            note_call(kBegan);
            results += call(**context);
            note_call(kReturned);
          }
          store_result(board, results);
        }));
  }
  for (std::size_t i = 0; i < operations_.size(); ++i) record(i);
}

Actors::~Actors() {
  nurseries_.clear();
  belong_to(nullptr);
  shm::spinning = true;
}

// An actor that is recorded runs alone, and never sleeps: where it would, its trace ends.
void Actors::record(std::size_t actor) {
  stage_.restore();
  VictimBoard& board = world_.actor[actor].victim;
  board.pause = nullptr;
  order_next(board, VictimJob::kRecord);
  traces_[actor]->prepare_recording(board, true);
  world_.records.store(true);
  const VictimFate fate = nurseries_[actor]->run_one();
  world_.records.store(false);
  if (board.ending != VictimEnding::kFinished) {
    throw std::runtime_error(fmt::format("recording {}: it ended by {} with wait status {} at {}",
                                         operations_[actor].name, static_cast<int>(board.ending), fate.wait_status,
                                         board.rip != 0 ? describe_code(board.rip) : "?"));
  }
  traces_[actor]->finish_recording(board);
}

void Actors::start_all() {
  dead_sessions_ = sessions_left();
  world_.now = 0;
  world_.sleepers = 0;
  world_.events = events_noted_ = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    ActorBoard& actor = world_.actor[i];
    actor.state = ActorState::kRunning;
    actor.may_run = 0;
    actor.sleeps_on = 0;
    actor.minds_time = false;
    actor.woken = false;
    actor.result[0] = '\0';
    VictimBoard& board = actor.victim;
    order_next(board, VictimJob::kKillAtStop);
    board.pause = &pause_at_stop;
    board.access_limit = board.stop_count = 0;
    nurseries_[i]->start_one();
    alive_[i] = true;
    if (!await_stop(world_, i)) throw std::runtime_error(operations_[i].name + ": it does not start");
  }
}

int Actors::sessions_left() const {
  int left = stage_.dead_sessions;
  for (const Operation& operation : operations_) left += operation.unused_sessions;
  return left;
}

bool Actors::is_over(std::size_t actor) const {
  return !alive_[actor] || world_.actor[actor].state.load() == ActorState::kFinished;
}

std::string Actors::place_of(std::size_t actor) const {
  const VictimBoard& board = world_.actor[actor].victim;
  return fmt::format("{} ({}), state {}, ending {}, signal {}{}", static_cast<char>('A' + actor),
                     operations_[actor].name, static_cast<int>(world_.actor[actor].state.load()),
                     static_cast<int>(board.ending), board.signal,
                     board.rip != 0 ? " at " + describe_code(board.rip) : "");
}

void Actors::go_on(std::size_t actor, Outcome& outcome) {
  if (!let_run(world_, actor)) {
    fail(outcome, place_of(actor) + ": it does not come to an end");
    if (world_.actor[actor].pid != 0) (void)kill(world_.actor[actor].pid, SIGKILL);
    (void)nurseries_[actor]->await_one();
    alive_[actor] = false;
  }
}

void Actors::take(const Step& step, Outcome& outcome) {
  const std::size_t actor = step.actor;
  if (actor >= size() || !alive_[actor] || !outcome.wrong.empty()) return;
  VictimBoard& board = world_.actor[actor].victim;
  board.accesses_done = 0;
  board.access_limit = step.kind == Step::Kind::kAccess ? step.count : 0;
  switch (step.kind) {
    case Step::Kind::kTo:
      // From the beginning only: the way to an instruction is known for who runs alone.
      traces_[actor]->route_to(step.count, board);
      do {
        go_on(actor, outcome);  // it may pause between two calls
      } while (alive_[actor] && board.stops_reached < board.stop_count && !is_over(actor) &&
               is_runnable(world_, actor));
      // One that sleeps is where its trace ended: what is recorded behind is the end of the recording.
      if (alive_[actor] && board.stops_reached < board.stop_count && is_over(actor)) {
        fail(outcome, fmt::format("{}: it took another path than alone, and did not come to instruction {}",
                                  place_of(actor), step.count));
      }
      break;
    case Step::Kind::kAccess:
      while (alive_[actor] && !is_over(actor) && is_runnable(world_, actor) && board.accesses_done < step.count) {
        go_on(actor, outcome);  // it may pause between two calls
      }
      outcome.accesses[actor] = board.accesses_done;
      outcome.slept[actor] = alive_[actor] && world_.actor[actor].state == ActorState::kAsleep;
      board.access_limit = 0;
      break;
    case Step::Kind::kOn:
      for (int turn = 0; alive_[actor] && !is_over(actor) && is_runnable(world_, actor); ++turn) {
        if (turn == kMostTurns) return fail(outcome, place_of(actor) + ": it gets nowhere");
        go_on(actor, outcome);
      }
      break;
    case Step::Kind::kCall:
      if (!is_over(actor) && is_runnable(world_, actor)) go_on(actor, outcome);
      break;
    case Step::Kind::kKill:
      kill_and_recover(actor, outcome);
      break;
    case Step::Kind::kTime:
      pass_time(outcome);
      break;
  }
}

// What became of calls since the last time, then `event`.
void Actors::note_order(Outcome& outcome, std::optional<RunEvent> event) {
  using What = RunEvent::What;
  for (; events_noted_ < world_.events; ++events_noted_) {
    const std::uint8_t noted = world_.event[events_noted_];
    const std::size_t actor = noted & kActorOfEvent, number = outcome.events.size();
    if ((noted & kBegan) != 0) {
      outcome.began[actor].push_back(number);
      outcome.events.push_back({What::kBegan, actor});
    } else if ((noted & kFellAsleep) != 0) {
      outcome.events.push_back({What::kFellAsleep, actor});
    } else {
      outcome.returned[actor].push_back(number);
      outcome.events.push_back({What::kReturned, actor});
    }
  }
  if (event) outcome.events.push_back(*event);
}

void Actors::kill_and_recover(std::size_t actor, Outcome& outcome) {
  note_order(outcome, RunEvent{RunEvent::What::kDied, actor});
  (void)kill(world_.actor[actor].pid, SIGKILL);
  const VictimFate fate = nurseries_[actor]->await_one();
  alive_[actor] = false;
  world_.actor[actor].state = ActorState::kNone;  // no wake-up goes to the dead
  outcome.died[actor] = true;
  if (!WIFSIGNALED(fate.wait_status)) fail(outcome, place_of(actor) + ": it was over when it was to be killed");
  ++dead_sessions_;
  recover_dead(outcome);
}

// A stopped actor may hold a lock that the recovery needs: then the recovery is completed later, or by a waiter.
void Actors::recover_dead(Outcome& outcome) {
  const int recovered = shm::recover_all_dead(*stage_.segment, stage_.me());
  if (recovered > dead_sessions_)
    fail(outcome, fmt::format("{} were recovered where {} died", recovered, dead_sessions_));
}

// Those who sleep wake up when their time is over, and go on as far as they get.
void Actors::pass_time(Outcome& outcome) {
  note_order(outcome, RunEvent{RunEvent::What::kTimePassed, 0});
  const std::int64_t until = world_.now + kTime;
  for (int turn = 0; outcome.wrong.empty(); ++turn) {
    std::size_t first = size();
    for (std::size_t i = 0; i < size(); ++i) {
      const ActorBoard& other = world_.actor[i];
      if (!alive_[i] || other.state != ActorState::kAsleep) continue;
      if (first == size() || other.wakes_at < world_.actor[first].wakes_at) first = i;
    }
    if (first == size()) break;
    if (turn == kMostTurns) return fail(outcome, place_of(first) + ": its time is over, and it does not come back");
    if (!is_runnable(world_, first)) {
      if (world_.actor[first].wakes_at > until) break;
      outcome.waited[first] += std::max<std::int64_t>(world_.actor[first].wakes_at - world_.now, 0);
      world_.now = std::max(world_.now.load(), world_.actor[first].wakes_at.load());
    }
    go_on(first, outcome);
  }
  for (std::size_t i = 0; i < size(); ++i) {
    const bool sleeps_on = alive_[i] && world_.actor[i].state == ActorState::kAsleep;
    if (sleeps_on) outcome.waited[i] += std::max<std::int64_t>(until - world_.now, 0);
  }
  world_.now = std::max(world_.now.load(), until);
}

// Those who were stopped go on, and who died is recovered.
void Actors::finish_all(Outcome& outcome) {
  go_on_to_end(outcome);
  if (dead_sessions_ == 0 || !outcome.wrong.empty()) return;
  recover_dead(outcome);
  go_on_to_end(outcome);
  const auto living = static_cast<std::size_t>(std::ranges::count(alive_, true)) + 1;  // with the caller
  // One who recovers may wait for a lock, for a time, whose holder waits for one of the dead's.
  if (stage_.claimed_sessions() > living) {
    pass_time(outcome);
    go_on_to_end(outcome);
    recover_dead(outcome);
  }
  if (stage_.claimed_sessions() > living)
    fail(outcome, "who died was not recovered, though nobody was stopped any more");
}

void Actors::go_on_to_end(Outcome& outcome) {
  for (int turn = 0; outcome.wrong.empty(); ++turn) {
    if (turn == kMostTurns) return fail(outcome, "they get nowhere");
    std::size_t next = size(), sleeper = size();
    for (std::size_t i = 0; i < size(); ++i) {
      if (!alive_[i] || is_over(i)) continue;
      const ActorBoard& actor = world_.actor[i];
      if (is_runnable(world_, i)) {
        next = std::min(next, i);
      } else if (actor.sleeps_on == 0 || sleeper == size()) {  // a pause comes to an end by itself
        sleeper = i;
      }
    }
    if (next != size()) {
      go_on(next, outcome);
    } else if (sleeper == size()) {
      return;  // all are over
    } else {
      const ActorBoard& actor = world_.actor[sleeper];
      if (actor.sleeps_on != 0) return;  // nobody runs who could wake it
      world_.now = std::max(world_.now.load(), actor.wakes_at.load());
    }
  }
}

// A futex may wake a sleeper for nothing, who then looks again and goes back to sleep. One that gets further instead was
// left asleep although what it waits for has come: the clock shows the beginning, when no deadline had passed.
void Actors::wake_sleepers_for_nothing(Outcome& outcome) {
  world_.now = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    if (!alive_[i] || is_over(i)) continue;
    ActorBoard& actor = world_.actor[i];
    const std::uint64_t slept_on = actor.sleeps_on;
    actor.woken = true;
    for (int turn = 0; alive_[i] && !is_over(i) && is_runnable(world_, i); ++turn) {
      if (turn == kMostTurns) return fail(outcome, place_of(i) + ": it gets nowhere");
      go_on(i, outcome);
    }
    if (is_over(i) || actor.sleeps_on != slept_on) {
      fail(outcome, place_of(i) + ": it was left asleep, and what it waits for has come");
    }
  }
}

void Actors::observe(Outcome& outcome) {
  note_order(outcome, std::nullopt);
  for (std::size_t i = 0; i < size(); ++i) {
    outcome.minds_time = outcome.minds_time || world_.actor[i].minds_time;
    if (!alive_[i]) continue;
    outcome.results[i] = is_over(i) ? world_.actor[i].result : "(asleep)";
    if (world_.actor[i].victim.ending != VictimEnding::kNone) fail(outcome, place_of(i) + ": it crashed");
  }
  if (std::string wrong = observation_.audit(); !wrong.empty()) return fail(outcome, std::move(wrong));
  if (std::string wrong = locks_left(*stage_.segment); !wrong.empty()) return fail(outcome, std::move(wrong));
  const std::uint32_t own = shm::index_of(stage_.segment->session_index());
  if (std::string wrong = marks_left(*stage_.segment, own); !wrong.empty()) return fail(outcome, std::move(wrong));
  outcome.contents = observation_.contents();
}

void Actors::end_all(Outcome& outcome) {
  int ended = sessions_left();
  for (std::size_t i = 0; i < size(); ++i) {
    if (!alive_[i]) continue;
    (void)kill(world_.actor[i].pid, SIGKILL);
    (void)nurseries_[i]->await_one();
    alive_[i] = false;
    ++ended;
  }
  if (!outcome.wrong.empty()) return;
  if (std::string wrong = stage_.recover(0, ended); !wrong.empty()) return fail(outcome, std::move(wrong));
  if (std::string wrong = observation_.audit(); !wrong.empty()) return fail(outcome, "at the end: " + wrong);
  std::string wrong = observation_.further ? observation_.further() : std::string();
  if (wrong.empty()) wrong = what_does_not_work(stage_.segment);
  if (!wrong.empty()) fail(outcome, "a further operation: " + wrong);
}

Outcome Actors::run(const Schedule& schedule) {
  Outcome outcome;
  stage_.restore();
  world_.stops_at_calls =
      std::ranges::any_of(schedule, [](const Step& step) { return step.kind == Step::Kind::kCall; });
  start_all();
  std::strncpy(world_.schedule, (name_ + " | " + to_string(schedule)).c_str(), sizeof world_.schedule - 1);
  for (const Step& step : schedule) take(step, outcome);
  if (outcome.wrong.empty()) finish_all(outcome);
  if (outcome.wrong.empty()) wake_sleepers_for_nothing(outcome);
  if (outcome.wrong.empty()) observe(outcome);
  end_all(outcome);
  return outcome;
}

}  // namespace commonhold::test
