#include "support/access_stops.h"

#include <sys/mman.h>

#include "support/kill_stepper_signal.h"

namespace commonhold::test {
void AccessStops::resume() {
  if (board_->access_limit != 0 && !closed_) protect_all(PROT_NONE);
}

bool AccessStops::on_fault(greg_t* regs, std::uint64_t address) {
  if (!closed_ || open_count_ == kMostOpenPages) return false;
  bool ours = false;
  for (std::uint64_t i = 0; i < board_->range_count; ++i) {
    const auto from = reinterpret_cast<std::uint64_t>(board_->ranges[i].address);
    ours = ours || (address >= page_of(from) && address < page_of(from + board_->ranges[i].length + kPage - 1));
  }
  if (!ours) return false;
  // An instruction that accesses two pages faults again with the first one open: it is one access.
  if (open_count_ == 0) count();
  if (board_->access_limit == 0) {
    protect_all(PROT_READ | PROT_WRITE);
    return true;
  }
  protect(page_of(address), page_of(address) + kPage, PROT_READ | PROT_WRITE);
  open_pages_[open_count_++] = page_of(address);
  if (!breakpoint_.planted()) stop_behind(regs);
  return true;
}

void AccessStops::stop_behind(greg_t* regs) {
  const std::uint64_t next = recorder_->next_of_plain(static_cast<std::uint64_t>(regs[REG_RIP]));
  if (next != 0 && !Breakpoint::is_at(next)) {
    breakpoint_.plant(next);
  } else {
    regs[REG_EFL] |= kTrapFlag;
    stepped_from_ = static_cast<std::uint64_t>(regs[REG_RIP]);
  }
}

bool AccessStops::on_step(greg_t* regs) {
  const auto rip = static_cast<std::uint64_t>(regs[REG_RIP]);
  if (breakpoint_.explains(rip)) {
    breakpoint_.remove();
    regs[REG_RIP] = static_cast<greg_t>(rip - 1);
  } else if ((regs[REG_EFL] & kTrapFlag) != 0) {
    regs[REG_EFL] &= ~kTrapFlag;
    recorder_->learn_length(stepped_from_, rip);
  } else {
    return false;
  }
  while (open_count_ > 0) {
    const std::uint64_t page = open_pages_[--open_count_];
    if (closed_) protect(page, page + kPage, PROT_NONE);
  }
  return true;
}

void AccessStops::on_system_call() {
  if (closed_) count();
}

// The last one that is allowed is not done yet when the pause begins; further orders may follow it.
void AccessStops::count() {
  if (board_->access_limit == 0 || ++board_->accesses_done != board_->access_limit) return;
  board_->pause(false);
}

void AccessStops::protect_all(int protection) {
  for (std::uint64_t i = 0; i < board_->range_count; ++i) {
    const auto from = reinterpret_cast<std::uint64_t>(board_->ranges[i].address);
    protect(page_of(from), page_of(from + board_->ranges[i].length + kPage - 1), protection);
  }
  closed_ = protection == PROT_NONE;
  open_count_ = 0;
}

}  // namespace commonhold::test
