// What the kernel does for processes that a test schedules: futexes, sleeps and the clock, exactly and without waiting.
//
// A test makes a world in shared memory and forks actors. Inside one, futex_wait() does not sleep in the kernel: the
// actor notes on which word it sleeps, and until when, and gives the processor to the scheduler, which runs in the
// test's process and lets one actor go on at a time. futex_wake() wakes those that note that word, in the order in which
// they fell asleep. Each read of the clock advances it a little, so that a loop that polls it ends; when all sleep the
// scheduler moves it to the first deadline.
//
// How: the program defines the C library's syscall(), clock_gettime(), nanosleep(), clock_nanosleep(), fallocate() and fcntl(), through which
// the library does these. Outside a world they are the kernel's. Not for sanitizer builds.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "support/kill_stepper_victim.h"

namespace commonhold::test {

inline constexpr std::size_t kMostActors = 3;
inline constexpr std::int64_t kNoDeadline = std::numeric_limits<std::int64_t>::max();

enum class ActorState : std::uint32_t {
  kNone,
  kRunning,
  kPaused,    // where its orders say
  kAsleep,    // in futex_wait(), or for a time
  kFinished,  // its operation is over; the process is still there
};

// In shared memory. Written by the actor while it runs, by the scheduler while it does not.
struct ActorBoard {
  VictimBoard victim;  // the orders, and what becomes of it
  std::atomic<ActorState> state{ActorState::kNone};
  std::atomic<std::uint32_t> may_run{0};  // a futex
  std::atomic<std::int32_t> pid{0};
  std::atomic<std::uint64_t> sleeps_on{0};  // the futex word's address, at which all have it; 0: only for a time
  std::atomic<std::int64_t> wakes_at{0};
  std::atomic<std::uint64_t> fell_asleep{0};  // in which order
  std::atomic<bool> woken{false};
  std::atomic<bool> minds_time{false};  // it has slept, or looked at the clock
  char result[2048];
};

// What becomes of an operation's call.
enum CallEvent : std::uint8_t { kReturned = 0, kBegan = 0x40, kFellAsleep = 0x80 };
inline constexpr std::uint8_t kActorOfEvent = 0x3f;

struct World {
  std::atomic<std::int64_t> now{0};    // ns
  std::atomic<std::uint32_t> turn{0};  // a futex: raised by an actor that stops running
  std::atomic<std::uint64_t> sleepers{0};
  std::atomic<bool> stops_at_calls{false};  // actors pause between the calls of their operations
  std::atomic<bool> records{false};         // an actor that would sleep ends instead
  std::size_t actors = 0;
  char schedule[512] = {};  // that is being run, for who finds that it gets nowhere
  std::atomic<std::size_t> events{0};
  std::uint8_t event[512];  // what became of calls, in this order: CallEvent | the actor's number
  ActorBoard actor[kMostActors];
};

// This process, and those that it forks, belong to the world: they wake its actors. nullptr: to none.
void belong_to(World* world);
// This process is an actor of the world that it belongs to.
void become_actor(std::size_t index);
// Of this actor's operation. Further ones than there is room for are not noted.
void note_call(CallEvent event);
// Waits until the scheduler lets this actor go on. Calls no libc: it may be called in a signal handler.
void stop_running(ActorState state);

// ---- for the scheduler

// Waits until the actor stops running; false: it did not within forty seconds, or is gone.
bool await_stop(World& world, std::size_t index);
// Lets it run until then.
bool let_run(World& world, std::size_t index);
// Whether it would go on by itself: woken, or its deadline has passed.
bool is_runnable(const World& world, std::size_t index);
// Whether the instruction is of what the kernel does at once, so that nobody is interrupted there.
bool is_done_at_once(std::uint64_t rip);

}  // namespace commonhold::test
