// Two or three processes that a test lets run by turns, each with one operation, from the same shared memory every
// time.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "support/kill_stage.h"
#include "support/kill_stepper_nursery.h"
#include "support/kill_stepper_trace.h"
#include "support/order_guesses.h"
#include "support/schedule.h"
#include "support/virtual_kernel.h"

namespace commonhold::test {

// Gives its result in words.
using Call = std::function<std::string(shm::ThreadContext& me)>;

// One call, or several one after the other, between which others may come.
struct Operation {
  Operation(std::string name, Call call, std::int64_t waits_at_most = kNoDeadline)
      : name(std::move(name)), calls{std::move(call)}, waits_at_most(waits_at_most) {}
  Operation(std::string name, std::vector<Call> calls) : name(std::move(name)), calls(std::move(calls)) {}
  std::string name;
  std::vector<Call> calls;
  std::int64_t waits_at_most = kNoDeadline;  // ns, for a process that is stopped
  int unused_sessions = 0;                   // that it leaves, at most: of a child, where a fork failed
  Call enter = nullptr;                      // what its process has done before; the result is not looked at
};

// What a schedule led to.
struct Outcome {
  std::string wrong;                             // "" is well: what is not, whatever the operation
  std::array<std::string, kMostActors> results;  // of those who ended; "(asleep)": left asleep without a waker
  std::array<bool, kMostActors> died{};
  std::array<std::int64_t, kMostActors> waited{};   // ns, for a process that was stopped
  std::array<std::size_t, kMostActors> accesses{};  // made in its last step X%n
  std::array<bool, kMostActors> slept{};            // at the end of it
  bool minds_time = false;                          // somebody slept, or looked at the clock
  std::string contents;
  // When each actor's calls began and returned: numbers of events, ascending.
  std::array<std::vector<std::size_t>, kMostActors> began, returned;
  std::vector<RunEvent> events;
};

// What is looked at after each run, by the caller.
struct Observation {
  std::function<std::string()> contents;  // as users see them
  std::function<std::string()> audit;     // what is wrong inside, "" for nothing
  // What is wrong with operations after all of them; the actors are dead by then. Beside one on each object.
  std::function<std::string()> further = nullptr;
  std::function<bool(const Outcome& outcome)> permits = nullptr;  // what is of no order, and right all the same
};

class Actors {
 public:
  // The stage is saved as each run is to find it. REQUIRES: it, the operations and the observation outlive this.
  // `name`: for a line about a run that gets nowhere.
  Actors(KillStage& stage, std::vector<Operation> operations, const Observation& observation, std::string name = {});
  ~Actors();
  Actors(const Actors&) = delete;
  Actors& operator=(const Actors&) = delete;

  // What an operation does when it is alone, up to where it sleeps. Throws std::runtime_error.
  const KillTrace& trace(std::size_t actor) const { return *traces_[actor]; }
  std::size_t size() const { return operations_.size(); }

  Outcome run(const Schedule& schedule);
  bool permits(const Outcome& outcome) const { return observation_.permits && observation_.permits(outcome); }
  const Operation& operation(std::size_t actor) const { return operations_[actor]; }

 private:
  void record(std::size_t actor);
  void start_all();
  void take(const Step& step, Outcome& outcome);
  void go_on(std::size_t actor, Outcome& outcome);
  void kill_and_recover(std::size_t actor, Outcome& outcome);
  void note_order(Outcome& outcome, std::optional<RunEvent> event);
  void recover_dead(Outcome& outcome);
  void pass_time(Outcome& outcome);
  void finish_all(Outcome& outcome);
  void go_on_to_end(Outcome& outcome);
  void wake_sleepers_for_nothing(Outcome& outcome);
  void observe(Outcome& outcome);
  void end_all(Outcome& outcome);
  int sessions_left() const;  // whoever dies in this run
  bool is_over(std::size_t actor) const;
  std::string place_of(std::size_t actor) const;

  KillStage& stage_;
  std::string name_;
  std::vector<Operation> operations_;
  const Observation& observation_;
  SharedBuffer memory_{sizeof(World)};
  World& world_;
  std::vector<std::unique_ptr<KillTrace>> traces_;
  std::vector<std::unique_ptr<VictimNursery>> nurseries_;
  std::array<bool, kMostActors> alive_{};
  std::size_t events_noted_ = 0;
  int dead_sessions_ = 0;  // at most, so far in this run
};

}  // namespace commonhold::test
