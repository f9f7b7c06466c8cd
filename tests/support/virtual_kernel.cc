#include "support/virtual_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "support/kill_stepper_signal.h"

// The linker's, of the section that COMMONHOLD_AT_ONCE names.
extern "C" const char __start_commonhold_at_once[], __stop_commonhold_at_once[];

namespace commonhold::test {

namespace {

World* world = nullptr;
ActorBoard* self = nullptr;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kLook = 100;              // ns that pass at each look at the clock
constexpr std::int64_t kEpoch = 1000 * kSecond;  // of the clock, so that no time is 0

long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

long with_errno(long result) {
  if (result >= 0 || result < -4095) return result;
  errno = static_cast<int>(-result);
  return -1;
}

long real_futex(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value, const timespec* timeout) {
  return raw(SYS_futex, reinterpret_cast<long>(&word), operation, static_cast<long>(value),
             reinterpret_cast<long>(timeout));
}

std::int64_t deadline_of(const timespec* timeout) {
  if (timeout == nullptr || timeout->tv_sec > 1'000'000'000) return kNoDeadline;
  return world->now.load() + timeout->tv_sec * kSecond + timeout->tv_nsec;
}

// What the kernel does at once: nobody is interrupted in the middle of it. Has a section of its own in the program.
#define COMMONHOLD_AT_ONCE [[gnu::section("commonhold_at_once"), gnu::noinline]]

// False: its time was over before anybody woke it.
[[gnu::always_inline]] inline bool sleep_until(std::uint64_t word, std::int64_t deadline) {
  if (world->records) end_victim(self->victim, VictimEnding::kFinished, 0);
  self->sleeps_on = word;
  self->wakes_at = deadline;
  self->woken = false;
  self->fell_asleep = ++world->sleepers;
  self->minds_time = true;
  if (word != 0) note_call(kFellAsleep);
  stop_running(ActorState::kAsleep);
  self->sleeps_on = 0;
  follow_access_orders();
  return self->woken.load();
}

COMMONHOLD_AT_ONCE long virtual_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                                     const timespec* timeout) {
  if (word.load(std::memory_order_seq_cst) != expected) return -EAGAIN;
  return sleep_until(reinterpret_cast<std::uint64_t>(&word), deadline_of(timeout)) ? 0 : -ETIMEDOUT;
}

COMMONHOLD_AT_ONCE long virtual_wake(const std::atomic<std::uint32_t>& word, std::uint32_t count) {
  std::uint32_t woken = 0;
  while (woken < count) {
    ActorBoard* first = nullptr;
    for (std::size_t i = 0; i < world->actors; ++i) {
      ActorBoard& actor = world->actor[i];
      const bool sleeps = actor.state == ActorState::kAsleep && !actor.woken &&
                          actor.sleeps_on == reinterpret_cast<std::uint64_t>(&word);
      if (sleeps && (first == nullptr || actor.fell_asleep < first->fell_asleep)) first = &actor;
    }
    if (first == nullptr) break;
    first->woken = true;
    ++woken;
  }
  return woken;
}

long virtual_sleep(const timespec& time) {
  (void)sleep_until(0, deadline_of(&time));
  return 0;
}

// A place where another actor can come between: an access to shared memory is one without this.
void before_system_call() {
  if (self != nullptr) count_system_call();
}

// The scheduler recovers the dead in its own process. Where that waits for an actor that is stopped, the actor goes on: the
// recovery is over later. False: there is none that goes on before time passes.
bool hand_over(World& to, bool time_may_pass) {
  std::size_t next = to.actors, sleeper = to.actors;
  for (std::size_t i = 0; i < to.actors; ++i) {
    const ActorBoard& actor = to.actor[i];
    if (is_runnable(to, i)) {
      next = i;
    } else if (actor.state == ActorState::kAsleep && actor.wakes_at != kNoDeadline) {
      if (sleeper == to.actors || actor.wakes_at < to.actor[sleeper].wakes_at) sleeper = i;
    }
  }
  if (next == to.actors && sleeper != to.actors && time_may_pass) {
    next = sleeper;
    to.now = to.actor[sleeper].wakes_at.load();
  }
  return next != to.actors && let_run(to, next);
}

long scheduler_waits(const std::atomic<std::uint32_t>& word, std::uint32_t expected, long operation,
                     const timespec* timeout) {
  constexpr int kMostWaits = 300, kWaitsBeforeTimePasses = 5;
  static int in_vain = 0;
  if (word.load(std::memory_order_seq_cst) != expected) return -EAGAIN;
  if (hand_over(*world, in_vain >= kWaitsBeforeTimePasses)) {
    in_vain = 0;
    return 0;
  }
  if (++in_vain == kMostWaits) {
    constexpr char kText[] = "the recovery waits for somebody who does not go on, in the schedule ";
    (void)raw(SYS_write, 2, reinterpret_cast<long>(kText), sizeof kText - 1);
    (void)raw(SYS_write, 2, reinterpret_cast<long>(world->schedule), static_cast<long>(std::strlen(world->schedule)));
    (void)raw(SYS_write, 2, reinterpret_cast<long>("\n"), 1);
    std::abort();
  }
  return real_futex(word, static_cast<int>(operation), expected, timeout);
}

long dispatch(long number, long a, long b, long c, long d, long e, long f) {
  before_system_call();
  if (world == nullptr || number != SYS_futex) return raw(number, a, b, c, d, e, f);
  const auto& word = *reinterpret_cast<const std::atomic<std::uint32_t>*>(a);
  const long operation = b & FUTEX_CMD_MASK;
  const auto value = static_cast<std::uint32_t>(c);
  if (operation == FUTEX_WAKE) return virtual_wake(word, value);
  if (operation != FUTEX_WAIT) return raw(number, a, b, c, d, e, f);
  const auto* timeout = reinterpret_cast<const timespec*>(d);
  return self != nullptr ? virtual_wait(word, value, timeout) : scheduler_waits(word, value, b, timeout);
}

}  // namespace

void belong_to(World* to) {
  world = to;
}

void become_actor(std::size_t index) {
  self = &world->actor[index];
  self->pid = static_cast<std::int32_t>(raw(SYS_getpid));
}

COMMONHOLD_AT_ONCE void note_call(CallEvent event) {
  const std::size_t index = world->events.load(std::memory_order_relaxed);
  if (index >= sizeof world->event) return;
  world->event[index] = static_cast<std::uint8_t>(event | (self - world->actor));
  world->events.store(index + 1, std::memory_order_seq_cst);
}

void stop_running(ActorState state) {
  ActorBoard& me = *self;
  me.may_run.store(0, std::memory_order_seq_cst);
  me.state.store(state, std::memory_order_seq_cst);
  world->turn.fetch_add(1, std::memory_order_seq_cst);
  (void)real_futex(world->turn, FUTEX_WAKE, 1, nullptr);
  while (me.may_run.load(std::memory_order_seq_cst) == 0) (void)real_futex(me.may_run, FUTEX_WAIT, 0, nullptr);
}

bool let_run(World& in, std::size_t index) {
  ActorBoard& actor = in.actor[index];
  actor.state.store(ActorState::kRunning, std::memory_order_seq_cst);
  actor.may_run.store(1, std::memory_order_seq_cst);
  (void)real_futex(actor.may_run, FUTEX_WAKE, 1, nullptr);
  return await_stop(in, index);
}

bool await_stop(World& in, std::size_t index) {
  ActorBoard& actor = in.actor[index];
  constexpr int kSeconds = 40;  // on a busy machine
  for (int second = 0; second < kSeconds; ++second) {
    const std::uint32_t turn = in.turn.load(std::memory_order_seq_cst);
    if (actor.state.load(std::memory_order_seq_cst) != ActorState::kRunning) return true;
    const timespec timeout{1, 0};
    (void)real_futex(in.turn, FUTEX_WAIT, turn, &timeout);
  }
  return actor.state.load(std::memory_order_seq_cst) != ActorState::kRunning;
}

bool is_done_at_once(std::uint64_t rip) {
  return rip >= reinterpret_cast<std::uint64_t>(__start_commonhold_at_once) &&
         rip < reinterpret_cast<std::uint64_t>(__stop_commonhold_at_once);
}

bool is_runnable(const World& in, std::size_t index) {
  const ActorBoard& actor = in.actor[index];
  const ActorState state = actor.state.load();
  if (state != ActorState::kAsleep) return state == ActorState::kPaused;
  return actor.woken.load() || actor.wakes_at.load() <= in.now.load();
}

}  // namespace commonhold::test

using commonhold::test::dispatch;

extern "C" {

long syscall(long number, ...) noexcept {
  va_list all;
  va_start(all, number);
  long argument[6];
  for (long& one : argument) one = va_arg(all, long);
  va_end(all);
  return commonhold::test::with_errno(
      dispatch(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]));
}

// In programs with this file the clock is read by a system call: the path through the vdso depends on the time.
int clock_gettime(clockid_t clock, timespec* now) noexcept {
  using namespace commonhold::test;
  if (self == nullptr) {
    return static_cast<int>(with_errno(raw(SYS_clock_gettime, clock, reinterpret_cast<long>(now))));
  }
  before_system_call();
  self->minds_time = true;
  const std::int64_t time = kEpoch + world->now.fetch_add(kLook);
  *now = {time / kSecond, time % kSecond};
  return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left) {
  using namespace commonhold::test;
  if (self == nullptr || flags != 0) {
    return static_cast<int>(
        -raw(SYS_clock_nanosleep, clock, flags, reinterpret_cast<long>(time), reinterpret_cast<long>(left)));
  }
  before_system_call();
  return static_cast<int>(virtual_sleep(*time));
}

int nanosleep(const timespec* time, timespec* left) {
  using namespace commonhold::test;
  if (self == nullptr)
    return static_cast<int>(with_errno(raw(SYS_nanosleep, reinterpret_cast<long>(time), reinterpret_cast<long>(left))));
  before_system_call();
  return static_cast<int>(virtual_sleep(*time));
}

// Weak: a test of its own may let these fail.
[[gnu::weak]] int fallocate(int file, int mode, off_t from, off_t length) {
  using namespace commonhold::test;
  before_system_call();
  return static_cast<int>(with_errno(raw(SYS_fallocate, file, mode, from, length)));
}

[[gnu::weak]] int posix_fallocate(int file, off_t from, off_t length) {
  using namespace commonhold::test;
  before_system_call();
  return static_cast<int>(-raw(SYS_fallocate, file, 0, from, length));
}

int fcntl(int file, int command, ...) {
  using namespace commonhold::test;
  va_list all;
  va_start(all, command);
  const long argument = va_arg(all, long);
  va_end(all);
  before_system_call();
  return static_cast<int>(with_errno(raw(SYS_fcntl, file, command, argument)));
}
}
