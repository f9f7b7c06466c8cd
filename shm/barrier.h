// A barrier: as many threads as it has parties wait until the last of them comes; then all go on. Without a lock: one
// word says everything, and whoever meets an unfinished step finishes it.
//
//   state  63     48 47     32 31                 3 2     0
//         +---------+---------+--------------------+-------+
//         |  last   |  count  |    generation      | phase |     the low half is the futex that those inside sleep on
//         +---------+---------+--------------------+-------+
//
//   count: threads inside. last: thread index + 1 of the one who came in last; the others follow it as a chain:
//   thread slot   waits_on = this control block, wait_turn = link to who came before << 32 | generation
//
//   filling ----- last party comes -----> passing --\                     the slots in the chain are told, then
//      |  \------ ... and has an action -> acting -> passing               passing   -> filling of the next generation
//      |------- time passed, abort, death, failed action -> breaking       breaking  -> broken, next generation
//      `------- reset -------------------> resetting                       resetting -> filling of the next generation
//
// INVARIANT: a thread is inside from the compare-and-swap that made it `last` until the generation ends, and leaves its
// slot alone that long (recovery its dead slot, too). So the chain is whole as long as the generation lasts, and
// settle(), which tells everybody in it and then ends the generation, can be done by anybody, again, and by many.
//
// Commit points: the compare-and-swaps of the state. What a death leaves:
//   outside, or before it was inside: nothing;
//   inside while others are awaited: recovery breaks the barrier, since the dead will not go on with the others;
//   the last party, while its action runs: it holds `acting`, whose repair breaks the barrier;
//   after the store of passing, breaking or resetting: those inside, newcomers and recovery settle it.
// Who changes the phase announces that it will wake those who sleep, if any do; after a death recovery does.
//
// watch: a watcher sets `watched`, then looks at the state. Whoever changed the state such that it may be ready looks at
// the flag, clears it, raises `changes` and wakes. One that dies in between was inside, and so its recovery changes the
// state again; or it had announced that it would wake, and recovery tells the watchers, too.
#pragma once

#include <string>

#include "shm/deadline.h"
#include "shm/layout.h"
#include "shm/object_address.h"
#include "shm/status.h"

namespace commonhold::shm {

class ThreadContext;

// Why a barrier is broken, for people.
enum class BarrierBreak : std::uint8_t {
  kNothing = 0,
  kTimeout = 1,
  kAbort = 2,
  kDeath = 3,
  kAction = 4,
  kReset = 5,
  kStopped = 6,
  kEnded = 7  // a wait was ended by its own process
};

struct BarrierControl {
  AtomicWord state;
  AtomicWord broken_by;  // BarrierBreak << 32 | pid; of the last break, written just before it
  Word parties;          // at least 1; written once
  Word timeout_ns;       // of those who give none; written once, interpreted by the callers
  LockWord acting;       // held by the last party while its action runs
  AtomicWord slept;      // the last generation, + 1, in which somebody went to sleep; raised before it sleeps
  std::atomic<std::uint32_t> watched;  // 1: somebody waits until all but one have come, or the barrier breaks
  std::atomic<std::uint32_t> changes;  // the futex of those
  Word unused;
};
static_assert(sizeof(BarrierControl) == 64);

class Barrier {
 public:
  explicit Barrier(const ObjectAddress& where);

  struct Arrival {
    std::uint32_t index = 0;  // in the order of arrival
    bool must_act = false;    // the caller is the last party: it runs its action, then calls finish_action()
    std::uint32_t generation = 0;
  };

  // kOk; kBroken. With `has_action` the last party gets must_act, and the others wait until it has finished.
  //
  // The deadline counts until all have come. While the action runs time does not matter, unless the process that runs
  // it is stopped: then a party inside breaks the barrier at its deadline (kStopped), and a party that waits for the
  // next round gets kTimedOut. kCorrupt: an action is said to run that nobody runs, or the state is none.
  Status wait(ThreadContext& me, Deadline deadline, bool has_action, Arrival& arrival) const;
  // Lets the others go, or breaks the barrier when the action failed. kBroken also when it was broken meanwhile.
  Status finish_action(ThreadContext& me, const Arrival& arrival, bool succeeded) const;

  void abort(ThreadContext& me) const;
  // Waits for the end of an action that another thread runs, as long as that takes. kCorrupt.
  Status reset(ThreadContext& me) const;

  std::uint64_t parties() const { return parties_; }
  std::uint64_t timeout_ns() const;
  std::uint32_t waiting() const;
  bool broken() const;
  BarrierBreak broken_by(std::uint32_t& pid) const;

  // kOutOfRange: no parties.
  static Status create(ThreadContext& me, std::uint32_t object, Word parties, Word timeout_ns, Offset& control);
  static void repair(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  static void each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));
  // Empty when the chain has as many threads as are counted.
  static std::string audit(ThreadContext& me, const ObjectAddress& where);
  // Who changed the state died before all inside, and those who watch, were told.
  void finish_change() const;
  // The thread of that slot died in a wait.
  void forget(ThreadContext& me, const ThreadRecord& dead, Word claim) const;

 private:
  struct State;
  State load() const;
  bool change(ThreadContext& me, const State& from, const State& to) const;
  void settle(const State& state) const;
  bool stop(ThreadContext& me, const State& from, bool reset, BarrierBreak why, std::uint32_t pid) const;
  template <typename Visit>
  void each_inside(const State& state, Visit&& visit) const;
  Status wait_inside(ThreadContext& me, Deadline deadline, std::uint32_t generation) const;
  std::uint32_t actor() const;
  Status wait_for_action(ThreadContext& me, const State& state, Deadline deadline, Deadline& check) const;
  bool anybody_slept_in(std::uint32_t generation) const;
  void note_sleeper(std::uint32_t generation) const;
  void sleep(ThreadContext& me, const State& state, Deadline deadline, Deadline& check) const;
  void look_after(ThreadContext& me, const State& state) const;
  void tell_watchers() const;

  ObjectAddress where_;
  BarrierControl* control_;
  std::uint64_t parties_;
};

}  // namespace commonhold::shm
