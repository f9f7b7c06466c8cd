#include "tests/support/kill_stepper_victim.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>

// Runs fn(context) between two int3 of its own: the first arms, the second disarms.
extern "C" void commonhold_kill_run_armed(void* context, void (*fn)(void*));
extern "C" const std::uint8_t commonhold_kill_arm[];
extern "C" const std::uint8_t commonhold_kill_disarm[];

asm(R"(
    .text
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

namespace commonhold::testing {
namespace {

constexpr std::uint64_t kPageMask = 4095;
constexpr greg_t kTrapFlag = 0x100;
constexpr std::uint8_t kInt3 = 0xcc;
// A page fault's error code: set when the access was a write.
constexpr greg_t kWriteAccess = 2;
constexpr std::size_t kMaxOpenPages = 64;

// Everything below runs in a victim, most of it in signal handlers, between any two instructions of the
// operation. So it calls nothing outside this file (libc's code may carry the breakpoint) and makes its
// system calls by itself.
struct Victim {
  VictimBoard* board;
  std::uint8_t* planted;  // null: none
  std::uint8_t planted_over;
  std::uint64_t trace_size_at_alarm;
  bool in_syscall;         // recording: an int3 waits behind a system call
  std::size_t open_count;  // recording: pages a store made writable until the next trap
  std::uint64_t open_pages[kMaxOpenPages];
};
Victim victim;
alignas(16) char handler_stack[64 * 1024];

long raw_syscall(long number, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0) {
  long result;
  asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

[[noreturn]] void end(VictimEnding ending, std::uint64_t rip) {
  victim.board->ending = ending;
  victim.board->rip = rip;
  if (ending == VictimEnding::kKilled) {
    raw_syscall(SYS_kill, static_cast<std::uint64_t>(raw_syscall(SYS_getpid)), SIGKILL);
  }
  for (;;) raw_syscall(SYS_exit_group, 0);
}

std::uint64_t address_of(const std::uint8_t* label) {
  return reinterpret_cast<std::uint64_t>(label);
}

void plant(std::uint64_t rip) {
  victim.planted = reinterpret_cast<std::uint8_t*>(rip);
  victim.planted_over = *victim.planted;
  *static_cast<volatile std::uint8_t*>(victim.planted) = kInt3;
}

void unplant() {
  *static_cast<volatile std::uint8_t*>(victim.planted) = victim.planted_over;
  victim.planted = nullptr;
}

// ---- killing ----

void plant_next_stop() {
  const VictimBoard& board = *victim.board;
  if (board.stops_reached < board.stop_count) plant(board.stops[board.stops_reached].rip);
}

void on_trap_to_kill(greg_t* regs) {
  VictimBoard& board = *victim.board;
  const std::uint64_t at = static_cast<std::uint64_t>(regs[REG_RIP]) - 1;
  if (at == address_of(commonhold_kill_arm)) return plant_next_stop();
  if (at == address_of(commonhold_kill_disarm)) {
    end(board.job == VictimJob::kKillAtEnd ? VictimEnding::kKilled : VictimEnding::kFinished, at);
  }
  if (victim.planted == nullptr || at != reinterpret_cast<std::uint64_t>(victim.planted)) {
    end(VictimEnding::kStrayTrap, at);
  }
  unplant();
  const Stop& stop = board.stops[board.stops_reached++];
  regs[REG_RIP] = static_cast<greg_t>(at);
  if (stop.rep_count != 0) regs[REG_RCX] = static_cast<greg_t>(stop.rep_count);
  if (board.stops_reached == board.stop_count) end(VictimEnding::kKilled, at);
  plant_next_stop();
}

// ---- recording ----

void protect(std::uint64_t from, std::uint64_t to, int protection) {
  raw_syscall(SYS_mprotect, from, to - from, static_cast<std::uint64_t>(protection));
}

void protect_ranges(int protection) {
  for (std::uint64_t i = 0; i < victim.board->range_count; ++i) {
    const auto from = reinterpret_cast<std::uint64_t>(victim.board->ranges[i].address);
    const std::uint64_t to = from + victim.board->ranges[i].length;
    protect(from & ~kPageMask, (to + kPageMask) & ~kPageMask, protection);
  }
}

// Whether the address is in a range; or, loosely, on a page of one.
bool in_ranges(std::uint64_t address, bool loosely) {
  const std::uint64_t slack = loosely ? kPageMask : 0;
  for (std::uint64_t i = 0; i < victim.board->range_count; ++i) {
    const auto from = reinterpret_cast<std::uint64_t>(victim.board->ranges[i].address);
    const std::uint64_t to = from + victim.board->ranges[i].length;
    if (address >= (from & ~slack) && address < ((to + slack) & ~slack)) return true;
  }
  return false;
}

void close_pages() {
  while (victim.open_count > 0) {
    const std::uint64_t page = victim.open_pages[--victim.open_count];
    protect(page, page + kPageMask + 1, PROT_READ);
  }
}

// A store into protected memory: notes it and lets it happen.
bool on_store(std::uint64_t address) {
  VictimBoard& board = *victim.board;
  if (!in_ranges(address, true) || victim.open_count == kMaxOpenPages) return false;
  const auto index = static_cast<std::uint32_t>(board.trace_size - 1);
  const bool again = board.store_count > 0 && board.stores[board.store_count - 1] == index;
  if (!again && in_ranges(address, false)) board.stores[board.store_count++] = index;
  const std::uint64_t page = address & ~kPageMask;
  protect(page, page + kPageMask + 1, PROT_READ | PROT_WRITE);
  victim.open_pages[victim.open_count++] = page;
  return true;
}

bool is_syscall(std::uint64_t rip) {
  const auto* code = reinterpret_cast<const std::uint8_t*>(rip);
  return code[0] == 0x0f && code[1] == 0x05;
}

// Before each instruction of the operation.
void on_trap_to_record(greg_t* regs) {
  VictimBoard& board = *victim.board;
  auto rip = static_cast<std::uint64_t>(regs[REG_RIP]);
  if (rip - 1 == address_of(commonhold_kill_arm)) {
    protect_ranges(PROT_READ);
    regs[REG_EFL] |= kTrapFlag;
    return;  // the next trap is after the call, before the operation's first instruction
  }
  if (victim.in_syscall) {
    if (victim.planted == nullptr || rip - 1 != reinterpret_cast<std::uint64_t>(victim.planted)) {
      end(VictimEnding::kStrayTrap, rip);
    }
    unplant();
    victim.in_syscall = false;
    regs[REG_RIP] = static_cast<greg_t>(--rip);
    regs[REG_EFL] |= kTrapFlag;
    protect_ranges(PROT_READ);
  }
  close_pages();
  if (rip == address_of(commonhold_kill_disarm)) {
    protect_ranges(PROT_READ | PROT_WRITE);
    end(VictimEnding::kFinished, rip);
  }
  if (board.trace_size == board.trace_capacity) end(VictimEnding::kTraceFull, rip);
  board.trace[board.trace_size++] = rip;
  if (is_syscall(rip)) {
    // The kernel writes for its caller, and the trap flag does not stop behind a system call but one
    // instruction later.
    board.syscalls[board.syscall_count++] = static_cast<std::uint32_t>(board.trace_size - 1);
    protect_ranges(PROT_READ | PROT_WRITE);
    regs[REG_EFL] &= ~kTrapFlag;
    victim.in_syscall = true;
    plant(rip + 2);
  }
}

// ---- signals ----

void on_trap(int, siginfo_t*, void* context) {
  greg_t* regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (victim.board->job == VictimJob::kRecord) {
    on_trap_to_record(regs);
  } else {
    on_trap_to_kill(regs);
  }
}

// A recording goes on while it makes an instruction per millisecond.
bool on_alarm_while_recording() {
  const std::uint64_t made = victim.board->trace_size - victim.trace_size_at_alarm;
  victim.trace_size_at_alarm = victim.board->trace_size;
  return made >= victim.board->timeout_ms;
}

void on_fatal(int signal, siginfo_t* info, void* context) {
  greg_t* regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const bool recording = victim.board->job == VictimJob::kRecord && victim.board->trace_size > 0;
  if (signal == SIGSEGV && recording && (regs[REG_ERR] & kWriteAccess) != 0 &&
      on_store(reinterpret_cast<std::uint64_t>(info->si_addr))) {
    return;
  }
  if (signal == SIGALRM && recording && on_alarm_while_recording()) return;
  victim.board->signal = signal;
  end(signal == SIGALRM ? VictimEnding::kTimedOut : VictimEnding::kCrashed,
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

void make_code_writable() {
  const std::unique_ptr<FILE, int (*)(FILE*)> maps(std::fopen("/proc/self/maps", "re"), &std::fclose);
  char line[4352];
  while (maps && std::fgets(line, sizeof line, maps.get()) != nullptr) {
    unsigned long from = 0;
    unsigned long to = 0;
    char access[5] = {};
    if (std::sscanf(line, "%lx-%lx %4s", &from, &to, access) != 3) continue;
    if (std::strcmp(access, "r-xp") != 0) continue;
    ::mprotect(reinterpret_cast<void*>(from), to - from, PROT_READ | PROT_WRITE | PROT_EXEC);
  }
}

void run_victim(VictimBoard& board, const std::function<void()>& enter, const std::function<void()>& op) {
  victim.board = &board;
  install_handlers();
  itimerval timer{};
  timer.it_value.tv_sec = board.timeout_ms / 1000;
  timer.it_value.tv_usec = static_cast<suseconds_t>(board.timeout_ms % 1000) * 1000;
  timer.it_interval = timer.it_value;
  ::setitimer(ITIMER_REAL, &timer, nullptr);
  try {
    if (enter) enter();
  } catch (const std::exception& error) {
    std::strncpy(board.message, error.what(), sizeof board.message - 1);
    end(VictimEnding::kThrew, 0);
  } catch (...) {
    end(VictimEnding::kThrew, 0);
  }
  install_handlers();  // enter() may have put its own
  board.armed = true;
  commonhold_kill_run_armed(const_cast<std::function<void()>*>(&op), &call_op);
  end(VictimEnding::kStrayTrap, 0);  // not reached: disarming ends
}

bool is_rep_string(const std::uint8_t* code) {
  bool repeated = false;
  for (int i = 0; i < 15; ++i) {
    const std::uint8_t byte = code[i];
    if (byte == 0xf2 || byte == 0xf3) {
      repeated = true;
    } else if (const bool prefix = byte == 0x66 || byte == 0x67 || (byte & 0xf0) == 0x40 || byte == 0x2e ||
                                   byte == 0x36 || byte == 0x3e || byte == 0x26 || byte == 0x64 ||
                                   byte == 0x65;
               !prefix) {
      const bool string_op = (byte >= 0xa4 && byte <= 0xa7) || (byte >= 0xaa && byte <= 0xaf);
      return repeated && string_op;
    }
  }
  return false;
}

}  // namespace commonhold::testing
