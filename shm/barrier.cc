#include "shm/barrier.h"

#include <unistd.h>

#include <bitset>
#include <string>

#include "shm/control_block.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/spin.h"
#include "shm/thread_recovery.h"
#include "shm/waiting.h"
#include "shm/watch.h"

namespace commonhold::shm {

namespace {

enum class Phase : std::uint8_t { kFilling = 0, kActing = 1, kPassing = 2, kBreaking = 3, kBroken = 4, kResetting = 5 };

constexpr std::uint32_t kGenerationMask = (1u << 29) - 1;
constexpr std::chrono::milliseconds kGrace{1000};  // for what takes microseconds, unless a process is stopped

constexpr Word turn_of(std::uint32_t generation, std::uint32_t link) {
  return Word{link} << 32 | generation;
}

}  // namespace

struct Barrier::State {
  Phase phase = Phase::kFilling;
  std::uint32_t generation = 0;
  std::uint32_t count = 0;
  std::uint32_t last = 0;

  static State from(Word word) {
    return {static_cast<Phase>(word & 7), static_cast<std::uint32_t>(word >> 3) & kGenerationMask,
            static_cast<std::uint32_t>(word >> 32 & 0xffff), static_cast<std::uint32_t>(word >> 48)};
  }
  Word word() const { return Word{last} << 48 | Word{count} << 32 | futex(); }
  std::uint32_t futex() const { return generation << 3 | static_cast<std::uint32_t>(phase); }
  State as(Phase other) const { return {other, generation, count, last}; }
  State next(Phase other) const { return {other, (generation + 1) & kGenerationMask, 0, 0}; }

  // False: no writer of ours wrote it.
  bool sound() const { return phase <= Phase::kResetting && count <= kMaxThreads && last <= kMaxThreads; }
  // Somebody has said how the generation ends, and not everybody inside knows.
  bool unsettled() const { return phase == Phase::kPassing || phase == Phase::kBreaking || phase == Phase::kResetting; }
};

Barrier::Barrier(const ObjectAddress& where)
    : where_(where),
      control_(where.segment->at<BarrierControl>(where.control)),
      parties_(load_word(&control_->parties)) {}

Barrier::State Barrier::load() const {
  return State::from(control_->state.load(std::memory_order_acquire));
}

// Calls visit(thread index, record) along the chain; ends where a slot is no longer of this generation, which is only
// so when the generation is over.
template <typename Visit>
void Barrier::each_inside(const State& state, Visit&& visit) const {
  std::uint32_t at = state.last;
  for (std::uint32_t steps = 0; at != 0 && at <= kMaxThreads && steps < state.count; ++steps) {
    ThreadRecord& record = where_.segment->thread(at - 1);
    Word wait = record.wait_state.load(std::memory_order_acquire);  // SYNC POINT: waiting
    Word turn = record.wait_turn.load(std::memory_order_acquire);
    if (record.waits_on.load(std::memory_order_acquire) != where_.control) return;
    if (static_cast<std::uint32_t>(turn) != state.generation) return;
    visit(at - 1, record, wait);
    at = static_cast<std::uint32_t>(turn >> 32);
  }
}

void Barrier::settle(const State& state) const {
  Waited outcome = state.phase == Phase::kPassing ? Waited::kTold : Waited::kRefused;
  each_inside(state, [&](std::uint32_t, ThreadRecord& record, Word wait) {
    if (waited(wait) == Waited::kWaiting) (void)change_wait(record, wait, outcome);
  });
  Word expected = state.word();
  State next = state.next(state.phase == Phase::kBreaking ? Phase::kBroken : Phase::kFilling);
  control_->state.compare_exchange_strong(expected, next.word(), std::memory_order_acq_rel);
}

// From one phase to another, for all who sleep: false when the state was another by now.
bool Barrier::change(ThreadContext& me, const State& from, const State& to) const {
  me.announce_wake(&control_->state);
  Word expected = from.word();
  bool done = control_->state.compare_exchange_strong(expected, to.word(), std::memory_order_acq_rel);
  if (done) {
    tell_watchers();
    if (to.unsettled()) settle(to);
    if (anybody_slept_in(from.generation)) futex_wake_all(low_half(control_->state));
  }
  me.retract_wake(&control_->state);
  return done;
}

// Ends a generation that was not completed.
bool Barrier::stop(ThreadContext& me, const State& from, bool reset, BarrierBreak why, std::uint32_t pid) const {
  control_->broken_by.store(Word{static_cast<std::uint8_t>(why)} << 32 | pid, std::memory_order_release);
  if (from.count == 0) return change(me, from, from.next(reset ? Phase::kFilling : Phase::kBroken));
  return change(me, from, from.as(reset ? Phase::kResetting : Phase::kBreaking));
}

Status Barrier::wait(ThreadContext& me, Deadline deadline, bool has_action, Arrival& arrival) const {
  Deadline check = Deadline::never();
  // One attempt still waits for a round before it that is about to end.
  Deadline next_round = Deadline::never();
  for (bool holds_acting = false;;) {
    State now = load();
    if (now.phase == Phase::kFilling && now.count + 1 >= parties_ && now.sound()) {
      if (has_action && !holds_acting) {
        // Before this generation's action, one of an earlier generation that was broken must be over.
        holds_acting =
            lock(me, control_->acting, deadline.is_already() ? Deadline::after(kGrace) : deadline) == Status::kOk;
        if (!holds_acting && stop(me, now, false, BarrierBreak::kTimeout, static_cast<std::uint32_t>(getpid()))) {
          return Status::kBroken;
        }
        continue;
      }
      arrival = {now.count, has_action, now.generation};
      if (has_action) {
        Word expected = now.word();
        State acting{Phase::kActing, now.generation, now.count + 1, now.last};
        if (control_->state.compare_exchange_strong(expected, acting.word(), std::memory_order_acq_rel)) {
          return Status::kOk;
        }
      } else if (change(me, now, now.as(Phase::kPassing))) {
        return Status::kOk;
      }
      continue;
    }
    if (holds_acting) {
      (void)unlock(me, control_->acting);
      holds_acting = false;
    }
    if (!now.sound()) return Status::kCorrupt;
    if (now.phase == Phase::kBroken) return Status::kBroken;
    if (now.phase == Phase::kActing) {
      if (next_round.is_never()) next_round = deadline.is_already() ? Deadline::after(kGrace) : deadline;
      Status status = wait_for_action(me, now, next_round, check);
      if (status != Status::kOk) return status;
    } else if (now.unsettled()) {
      settle(now);
    } else {
      (void)begin_wait(me, where_.control, turn_of(now.generation, now.last));
      Word expected = now.word();
      State with_me{Phase::kFilling, now.generation, now.count + 1, me.index() + 1};
      bool inside = control_->state.compare_exchange_strong(expected, with_me.word(), std::memory_order_acq_rel);
      if (inside && now.count + 2 >= parties_) tell_watchers();
      Status status = inside ? wait_inside(me, deadline, now.generation) : Status::kOk;
      end_wait(me.record());
      if (!inside) continue;
      arrival = {now.count, false, now.generation};
      return status;
    }
  }
}

Status Barrier::wait_inside(ThreadContext& me, Deadline deadline, std::uint32_t generation) const {
  ThreadRecord& record = me.record();
  Deadline check = Deadline::never();
  if (!deadline.is_already()) (void)spin_until([&] { return load().generation != generation; });
  for (;;) {
    State now = load();
    if (now.generation != generation) break;
    if (!now.sound()) return Status::kCorrupt;
    if (now.unsettled()) {
      settle(now);  // before it leaves: the chain goes through its slot
    } else if (now.phase == Phase::kActing) {
      Status status = wait_for_action(me, now, deadline, check);
      if (status == Status::kCorrupt) return status;
      if (status == Status::kTimedOut)
        (void)stop(me, now, false, BarrierBreak::kStopped, owner_pid(*where_.segment, actor()));
    } else if (deadline.passed()) {
      const BarrierBreak why = deadline.is_cancelled() ? BarrierBreak::kEnded : BarrierBreak::kTimeout;
      (void)stop(me, now, false, why, static_cast<std::uint32_t>(getpid()));
    } else {
      sleep(me, now, deadline, check);
    }
  }
  bool passed = waited(record.wait_state.load(std::memory_order_acquire)) == Waited::kTold;
  return passed ? Status::kOk : Status::kBroken;
}

// Who runs the action, as in lock words; 0: nobody.
std::uint32_t Barrier::actor() const {
  return control_->acting.state.load(std::memory_order_acquire) & ~kLockWaiters;
}

// Sleeps once while somebody runs the action of that state. kTimedOut: the deadline has passed, and the process that
// runs it is stopped. kCorrupt: nobody runs it.
Status Barrier::wait_for_action(ThreadContext& me, const State& state, Deadline deadline, Deadline& check) const {
  const std::uint32_t owner = actor();
  // In this phase `acting` is held from its beginning to its end, and is announced by whom it names.
  const bool there =
      owner != 0 && (announces(*where_.segment, owner, control_->acting) || owner_is_dead(*where_.segment, owner));
  if (!there) return load().word() == state.word() && actor() == owner ? Status::kCorrupt : Status::kOk;
  const bool late = deadline.passed();
  if (late && owner_is_stopped(*where_.segment, owner)) return Status::kTimedOut;
  sleep(me, state, late ? Deadline::never() : deadline, check);
  return Status::kOk;
}

// SYNC POINT: barrier sleepers: `slept` is raised before the sleeper looks at the state (in the kernel), and read after
// the state was changed. It only rises: one who comes late with an old generation must not hide the sleepers of a new.
bool Barrier::anybody_slept_in(std::uint32_t generation) const {
  Word behind = control_->slept.load(std::memory_order_seq_cst) - (generation + 1);
  return (behind & kGenerationMask) <= kGenerationMask / 2;
}

void Barrier::note_sleeper(std::uint32_t generation) const {
  Word seen = control_->slept.load(std::memory_order_seq_cst);
  while (!anybody_slept_in(generation) &&
         !control_->slept.compare_exchange_weak(seen, (generation + 1) & kGenerationMask, std::memory_order_seq_cst)) {
  }
}

void Barrier::sleep(ThreadContext& me, const State& state, Deadline deadline, Deadline& check) const {
  if (check.is_never()) check = Deadline::after(std::chrono::nanoseconds(wait_check_ns()));
  note_sleeper(state.generation);
  (void)futex_wait(low_half(control_->state), state.futex(), deadline.left_ns(check.left_ns(wait_check_ns())));
  if (!check.passed()) return;
  look_after(me, state);
  check = Deadline::after(std::chrono::nanoseconds(wait_check_ns()));
}

void Barrier::tell_watchers() const {
  // SYNC POINT: watched; behind the change of the state, which is a fence.
  if (control_->watched.load(std::memory_order_seq_cst) == 0) [[likely]]
    return;
  tell_watching(*where_.segment->at<AtomicWord>(where_.segment->offset_of(&control_->watched)), control_->changes);
}

// Nobody else may be there to see that one of them died.
void Barrier::look_after(ThreadContext& me, const State& state) const {
  (void)recover_dead_holder(me, control_->acting);
  std::bitset<kMaxThreads> inside;  // noted first: the recovery of one ends the chain
  each_inside(state, [&](std::uint32_t thread, ThreadRecord&, Word) { inside[thread] = thread != me.index(); });
  for (std::uint32_t thread = 0; thread < kMaxThreads; ++thread) {
    if (inside[thread]) (void)recover_dead_thread(me, thread);
  }
}

Status Barrier::finish_action(ThreadContext& me, const Arrival& arrival, bool succeeded) const {
  Status status = Status::kBroken;
  for (State now = load(); now.generation == arrival.generation && now.phase == Phase::kActing; now = load()) {
    if (!succeeded) {
      if (stop(me, now, false, BarrierBreak::kAction, static_cast<std::uint32_t>(getpid()))) break;
    } else if (change(me, now, now.as(Phase::kPassing))) {
      status = Status::kOk;
      break;
    }
  }
  (void)unlock(me, control_->acting);
  return status;
}

void Barrier::abort(ThreadContext& me) const {
  for (;;) {
    State now = load();
    if (now.phase == Phase::kBroken) return;
    if (now.unsettled()) {
      settle(now);
    } else if (stop(me, now, false, BarrierBreak::kAbort, static_cast<std::uint32_t>(getpid()))) {
      return;
    }
  }
}

Status Barrier::reset(ThreadContext& me) const {
  Deadline check = Deadline::never();
  for (;;) {
    State now = load();
    auto pid = static_cast<std::uint32_t>(getpid());
    if (now.phase == Phase::kFilling && now.count == 0) return Status::kOk;
    if (now.phase == Phase::kPassing || now.phase == Phase::kResetting) {
      settle(now);
      return Status::kOk;
    }
    if (now.phase == Phase::kBreaking) {
      settle(now);
    } else if (now.phase == Phase::kActing && actor() != me.owner()) {
      // The barrier is about to pass; if it breaks, it is to be repaired.
      Status status = wait_for_action(me, now, Deadline::never(), check);
      if (status != Status::kOk) return status;
    } else if (stop(me, now, true, BarrierBreak::kReset, pid)) {
      return Status::kOk;
    }
  }
}

void Barrier::finish_change() const {
  State now = load();
  if (now.unsettled()) settle(now);
  tell_watchers();
}

std::uint64_t Barrier::timeout_ns() const {
  return load_word(&control_->timeout_ns);
}

std::uint32_t Barrier::waiting() const {
  State now = load();
  return now.phase == Phase::kFilling || now.phase == Phase::kActing ? now.count : 0;
}

bool Barrier::broken() const {
  State now = load();
  return now.phase == Phase::kBroken || now.phase == Phase::kBreaking;
}

BarrierBreak Barrier::broken_by(std::uint32_t& pid) const {
  Word why = control_->broken_by.load(std::memory_order_acquire);
  pid = static_cast<std::uint32_t>(why);
  return static_cast<BarrierBreak>(why >> 32 & 0xff);
}

void Barrier::forget(ThreadContext& me, const ThreadRecord& dead, Word claim) const {
  Word turn = dead.wait_turn.load(std::memory_order_acquire);
  for (;;) {
    State now = load();
    if (now.generation != static_cast<std::uint32_t>(turn)) return;
    if (now.unsettled()) {
      settle(now);
      continue;
    }
    bool inside = false;
    each_inside(now, [&](std::uint32_t, ThreadRecord& record, Word) { inside = inside || &record == &dead; });
    if (load().word() != now.word()) continue;  // the chain may have been another's
    if (!inside || dead.claim.load(std::memory_order_acquire) != claim) return;
    auto session = static_cast<std::uint32_t>(claim);
    Word pid = session != 0 && session <= kMaxSessions ? where_.segment->session(session - 1).pid.load() : 0;
    if (stop(me, now, false, BarrierBreak::kDeath, static_cast<std::uint32_t>(pid))) return;
  }
}

Status Barrier::create(ThreadContext& me, std::uint32_t object, Word parties, Word timeout_ns, Offset& control) {
  if (parties == 0) return Status::kOutOfRange;
  Offset at = 0;
  Status status = take_control_block(me, object, sizeof(BarrierControl), at);
  if (status != Status::kOk) return status;
  auto* made = me.segment().at<BarrierControl>(at);
  store_word(&made->parties, parties);
  store_word(&made->timeout_ns, timeout_ns);
  control = at;
  return Status::kOk;
}

void Barrier::repair(ThreadContext& me, const ObjectAddress& where, LockWord& held) {
  Barrier barrier(where);
  std::uint32_t pid = owner_pid(*where.segment, dead_owner_of(me, held));
  // Nobody but the holder brings a barrier to this phase.
  for (State now = barrier.load(); now.phase == Phase::kActing; now = barrier.load()) {
    if (barrier.stop(me, now, false, BarrierBreak::kDeath, pid)) return;
  }
}

void Barrier::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  visit(context, where.segment->at<BarrierControl>(where.control)->acting);
}

std::string Barrier::audit(ThreadContext&, const ObjectAddress& where) {
  Barrier barrier(where);
  State now = barrier.load();
  std::uint32_t inside = 0;
  barrier.each_inside(now, [&](std::uint32_t, ThreadRecord&, Word) { ++inside; });
  std::uint32_t counted = now.phase == Phase::kActing ? now.count - 1 : now.count;
  if (now.unsettled()) return "a generation is not settled";
  if (inside != counted) return std::to_string(counted) + " are counted and " + std::to_string(inside) + " are inside";
  return now.phase == Phase::kBroken && counted != 0 ? "it is broken and has threads inside" : "";
}

}  // namespace commonhold::shm
