#include "support/kill_stepper_recorder.h"

#include <sys/mman.h>

#include <atomic>

#include "support/kill_stepper_decode.h"

namespace commonhold::test {
namespace {

// A page fault's error code: set when the access was a write.
constexpr greg_t kWriteAccess = 2;

}  // namespace

void KillRecorder::share_what_is_learned() {
  static const SharedBuffer memory(kLengths * sizeof(Length));
  known_lengths = static_cast<Length*>(memory.data());
}

void KillRecorder::on_trap(greg_t* regs) {
  VictimBoard& board = *board_;
  auto rip = static_cast<std::uint64_t>(regs[REG_RIP]);
  regs[REG_EFL] &= ~kTrapFlag;
  if (rip - 1 == arm_address()) {
    protect_ranges(closed());
    regs[REG_EFL] |= kTrapFlag;
    return;  // the next trap is behind the call, before the operation's first instruction
  }
  if (breakpoint_.planted()) {
    if (!breakpoint_.explains(rip)) end_victim(board, VictimEnding::kStrayTrap, rip);
    breakpoint_.remove();
    regs[REG_RIP] = static_cast<greg_t>(--rip);  // the trace has it already
    if (in_syscall_) protect_ranges(closed());
    in_syscall_ = false;
  } else {
    if (board.trace_size > 0) learn_length(board.trace[board.trace_size - 1], rip);
    append(rip);
  }
  close_pages();
  if (rip == disarm_address()) {
    --board.trace_size;
    protect_ranges(PROT_READ | PROT_WRITE);
    end_victim(board, VictimEnding::kFinished, rip);
  }
  run_begin_ = board.trace_size - 1;
  go_on(regs, rip);
}

// Lets the instruction at rip, the trace's last, execute: up to some next stop.
void KillRecorder::go_on(greg_t* regs, std::uint64_t rip) {
  const CodeStep step = decode_step(rip);
  if (step.kind == CodeKind::kSyscall || step.kind == CodeKind::kFlags) {
    // The trap flag would not stop right behind a system call, would be pushed by pushf, taken away by popf.
    if (step.kind == CodeKind::kSyscall) {
      board_->syscalls[board_->syscall_count++] = static_cast<std::uint32_t>(board_->trace_size - 1);
      protect_ranges(PROT_READ | PROT_WRITE);  // the kernel writes for its caller
      in_syscall_ = true;
    }
    append(step.next);
    breakpoint_.plant(step.next);
  } else if (board_->job == VictimJob::kRecordSteps || !go_by_run(regs, rip)) {
    regs[REG_EFL] |= kTrapFlag;
  }
}

// Appends what follows rip for certain, with a breakpoint at the end of it; false when nothing is certain.
bool KillRecorder::go_by_run(const greg_t* regs, std::uint64_t rip) {
  const std::uint64_t begin = board_->trace_size;
  std::uint64_t at = successor(regs, rip);
  if (at == 0 || at == rip) return false;
  append(at);
  while (board_->trace_size - begin < kMaxRun) {
    const std::uint64_t length = length_of(at);
    // Not back to rip: a breakpoint there would be hit before rip has executed.
    if (length == 0 || at + length == rip) break;
    append(at += length);
  }
  breakpoint_.plant(at);
  return true;
}

// Where control goes after the instruction the victim stands at; 0 if that is not certain.
std::uint64_t KillRecorder::successor(const greg_t* regs, std::uint64_t rip) {
  const CodeStep step = decode_step(rip);
  switch (step.kind) {
    case CodeKind::kPlain:
      return next_of_plain(rip);
    case CodeKind::kJump:
    case CodeKind::kCall:
      return step.target;
    case CodeKind::kBranch: {
      const auto flags = static_cast<std::uint64_t>(regs[REG_EFL]);
      return branch_is_taken(step.condition, flags) ? step.target : step.next;
    }
    case CodeKind::kReturn:
      // NOLINTNEXTLINE(performance-no-int-to-ptr): the stack
      return *reinterpret_cast<const std::uint64_t*>(regs[REG_RSP]);
    case CodeKind::kSyscall:
    case CodeKind::kFlags:
    case CodeKind::kRep:
    case CodeKind::kOther:
      break;
  }
  return 0;
}

KillRecorder::Length& KillRecorder::length_slot(std::uint64_t rip) {
  constexpr std::size_t kProbes = 16;
  std::size_t slot = (rip * 0x9e3779b97f4a7c15u) >> 48;
  for (std::size_t probe = 1; probe < kProbes; ++probe) {
    if (lengths_[slot].rip == rip || lengths_[slot].rip == 0) break;
    slot = (slot + 1) % kLengths;
  }
  return lengths_[slot];  // a full neighbourhood forgets: the instruction is stepped again
}

// Of an instruction that cannot jump and was stepped over before, else 0.
std::uint64_t KillRecorder::length_of(std::uint64_t rip) {
  const Length& known = length_slot(rip);
  return known.rip == rip ? known.length : 0;
}

void KillRecorder::learn_length(std::uint64_t rip, std::uint64_t next) {
  constexpr std::uint64_t kLongest = 15;
  if (next - rip > kLongest || decode_step(rip).kind != CodeKind::kPlain) return;
  Length& known = length_slot(rip);
  // The victim may die in between.
  known.rip = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  known.length = next - rip;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  known.rip = rip;
}

bool KillRecorder::on_fault(const greg_t* regs, std::uint64_t address) {
  VictimBoard& board = *board_;
  const bool write = (regs[REG_ERR] & kWriteAccess) != 0;
  const bool wanted = write || board.accesses != nullptr;
  if (!wanted || board.trace_size == 0 || !in_ranges(address, true) || open_count_ == kMaxOpenPages) return false;
  const auto rip = static_cast<std::uint64_t>(regs[REG_RIP]);
  std::uint64_t index = run_begin_;
  while (index < board.trace_size && board.trace[index] != rip) ++index;
  if (index == board.trace_size) return false;

  if (in_ranges(address, false)) {
    if (write) note(board.stores, board.store_count, index);
    if (board.accesses != nullptr) note(board.accesses, board.access_count, index);
  }
  protect(page_of(address), page_of(address) + kPage, PROT_READ | PROT_WRITE);
  open_pages_[open_count_++] = page_of(address);
  if (breakpoint_.planted()) {  // in a run: stop behind the store instead, to close the page
    breakpoint_.remove();
    board.trace_size = index + 2;
    breakpoint_.plant(board.trace[index + 1]);
  }
  return true;
}

// An instruction may fault more than once.
void KillRecorder::note(std::uint32_t* indices, std::uint64_t& count, std::uint64_t index) {
  if (count == 0 || indices[count - 1] != index) indices[count++] = static_cast<std::uint32_t>(index);
}

// The ranges' protection while nothing is let through.
int KillRecorder::closed() const {
  return board_->accesses != nullptr ? PROT_NONE : PROT_READ;
}

bool KillRecorder::on_alarm() {
  const std::uint64_t before = trace_size_at_alarm_;
  trace_size_at_alarm_ = board_->trace_size;
  return board_->trace_size >= before + board_->timeout_ms;
}

void KillRecorder::append(std::uint64_t rip) {
  if (board_->trace_size == board_->trace_capacity) end_victim(*board_, VictimEnding::kTraceFull, rip);
  if (rip == reinterpret_cast<std::uint64_t>(&count_system_call)) {
    note(board_->syscalls, board_->syscall_count, board_->trace_size);
  }
  board_->trace[board_->trace_size++] = rip;
}

void KillRecorder::protect_ranges(int protection) {
  for (std::uint64_t i = 0; i < board_->range_count; ++i) {
    const auto from = reinterpret_cast<std::uint64_t>(board_->ranges[i].address);
    const std::uint64_t to = from + board_->ranges[i].length;
    protect(page_of(from), page_of(to + kPage - 1), protection);
  }
}

bool KillRecorder::in_ranges(std::uint64_t address, bool whole_pages) const {
  for (std::uint64_t i = 0; i < board_->range_count; ++i) {
    const auto from = reinterpret_cast<std::uint64_t>(board_->ranges[i].address);
    const std::uint64_t to = from + board_->ranges[i].length;
    if (address >= (whole_pages ? page_of(from) : from) && address < (whole_pages ? page_of(to + kPage - 1) : to)) {
      return true;
    }
  }
  return false;
}

void KillRecorder::close_pages() {
  while (open_count_ > 0) {
    const std::uint64_t page = open_pages_[--open_count_];
    protect(page, page + kPage, closed());
  }
}

}  // namespace commonhold::test
