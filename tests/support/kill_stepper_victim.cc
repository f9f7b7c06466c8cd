#include "support/kill_stepper_victim.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>

#include "support/access_stops.h"
#include "support/kill_stepper_recorder.h"
#include "support/kill_stepper_signal.h"

// Runs fn(context) between two int3 of its own: the first arms, the second disarms.
extern "C" void commonhold_kill_run_armed(void* context, void (*fn)(void*));

asm(R"(
    .text
    .globl commonhold_kill_run_armed, commonhold_kill_arm, commonhold_kill_disarm
    .hidden commonhold_kill_run_armed, commonhold_kill_arm, commonhold_kill_disarm
    .type commonhold_kill_run_armed, @function
commonhold_kill_run_armed:
    .cfi_startproc
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register %rbp
commonhold_kill_arm:
    int3
    callq *%rsi
commonhold_kill_disarm:
    int3
    popq %rbp
    .cfi_def_cfa %rsp, 8
    retq
    .cfi_endproc
    .size commonhold_kill_run_armed, . - commonhold_kill_run_armed
)");

namespace commonhold::test {
namespace {

VictimBoard* board;  // of this victim
KillRecorder recorder;
AccessStops accesses;
Breakpoint breakpoint;
// Of a `rep` that was let go for some of its iterations: where it is, and how many more it has.
std::uint64_t rep_at, rep_rest;
alignas(16) char handler_stack[64 * 1024];

bool recording() {
  return board->job == VictimJob::kRecord || board->job == VictimJob::kRecordSteps;
}

void plant_next_stop() {
  if (board->stops_reached < board->stop_count) breakpoint.plant(board->stops[board->stops_reached].rip);
}

void on_trap_to_kill(greg_t* regs) {
  const std::uint64_t at = static_cast<std::uint64_t>(regs[REG_RIP]) - 1;
  if (at == arm_address()) {
    plant_next_stop();
    return accesses.resume();
  }
  if (at == disarm_address()) {
    const bool here = board->job == VictimJob::kKillAtEnd && board->pause == nullptr;
    if (board->pause != nullptr) board->pause(true);
    end_victim(*board, here ? VictimEnding::kKilled : VictimEnding::kFinished, at);
  }
  if (!breakpoint.explains(at + 1)) end_victim(*board, VictimEnding::kStrayTrap, at);
  breakpoint.remove();
  const Stop& stop = board->stops[board->stops_reached++];
  regs[REG_RIP] = static_cast<greg_t>(at);
  if (stop.rep_count != 0) {
    rep_at = at;
    rep_rest = static_cast<std::uint64_t>(regs[REG_RCX]) - stop.rep_count;
    regs[REG_RCX] = static_cast<greg_t>(stop.rep_count);
  }
  if (board->stops_reached == board->stop_count) {
    if (board->pause == nullptr) end_victim(*board, VictimEnding::kKilled, at);
    board->pause(false);
    if (rep_rest != 0) {
      regs[REG_RIP] = static_cast<greg_t>(rep_at);
      regs[REG_RCX] = static_cast<greg_t>(std::exchange(rep_rest, 0));
    }
    accesses.resume();
  }
  plant_next_stop();
}

void on_trap(int, siginfo_t*, void* context) {
  greg_t* regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (recording()) {
    recorder.on_trap(regs);
  } else if (!accesses.on_step(regs)) {
    on_trap_to_kill(regs);
  }
}

void on_fatal(int signal, siginfo_t* info, void* context) {
  greg_t* regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto address = reinterpret_cast<std::uint64_t>(info->si_addr);
  if (recording()) {
    if (signal == SIGSEGV && recorder.on_fault(regs, address)) return;
    if (signal == SIGALRM && recorder.on_alarm()) return;
  } else if (signal == SIGSEGV && accesses.on_fault(regs, address)) {
    return;
  }
  board->signal = signal;
  end_victim(*board, signal == SIGALRM ? VictimEnding::kTimedOut : VictimEnding::kCrashed,
             static_cast<std::uint64_t>(regs[REG_RIP]));
}

void install_handlers() {
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof handler_stack;
  ::sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigfillset(&action.sa_mask);
  action.sa_sigaction = &on_trap;
  ::sigaction(SIGTRAP, &action, nullptr);
  action.sa_sigaction = &on_fatal;
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM}) {
    ::sigaction(signal, &action, nullptr);
  }
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGTRAP, SIGSEGV, SIGALRM}) sigaddset(&wanted, signal);
  ::sigprocmask(SIG_UNBLOCK, &wanted, nullptr);
}

void call_op(void* op) noexcept {
  (*static_cast<const std::function<void()>*>(op))();
}

}  // namespace

void order_next(VictimBoard& next, VictimJob job, std::uint32_t timeout_ms) {
  next.job = job;
  next.timeout_ms = timeout_ms;
  next.ending = VictimEnding::kNone;
  next.armed = false;
  next.signal = 0;
  next.stops_reached = next.rip = next.accesses_done = 0;
  next.trace_size = next.store_count = next.syscall_count = next.access_count = 0;
  next.message[0] = '\0';
}

void make_code_writable() {
  const std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen("/proc/self/maps", "re"), &std::fclose);
  char line[4352];
  while (maps && std::fgets(line, sizeof line, maps.get()) != nullptr) {
    unsigned long from = 0;
    unsigned long to = 0;
    char access[5] = {};
    if (std::sscanf(line, "%lx-%lx %4s", &from, &to, access) != 3) continue;
    if (std::strcmp(access, "r-xp") != 0) continue;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address in the code
    ::mprotect(reinterpret_cast<void*>(from), to - from, PROT_READ | PROT_WRITE | PROT_EXEC);
  }
}

void follow_access_orders() {
  if (!recording()) accesses.resume();
}

void count_system_call() {
  accesses.on_system_call();  // by the same path in a recording, which finds this function's calls by its address
}

void run_victim(VictimBoard& orders, const std::function<void()>& enter, const std::function<void()>& op) {
  board = &orders;
  recorder.start(orders);
  accesses.start(orders, recorder);
  install_handlers();
  itimerval timer{};
  timer.it_value.tv_sec = orders.timeout_ms / 1000;
  timer.it_value.tv_usec = static_cast<suseconds_t>(orders.timeout_ms % 1000) * 1000;
  timer.it_interval = timer.it_value;
  ::setitimer(ITIMER_REAL, &timer, nullptr);
  try {
    if (enter) enter();
  } catch (const std::exception& error) {
    std::strncpy(orders.message, error.what(), sizeof orders.message - 1);
    end_victim(orders, VictimEnding::kThrew, 0);
  } catch (...) {
    end_victim(orders, VictimEnding::kThrew, 0);
  }
  install_handlers();  // enter() may have put its own
  orders.armed = true;
  commonhold_kill_run_armed(const_cast<std::function<void()>*>(&op), &call_op);
  end_victim(orders, VictimEnding::kStrayTrap, 0);  // not reached: disarming ends
}

}  // namespace commonhold::test
