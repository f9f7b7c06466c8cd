#include <commonhold/detail/tickets.h>

#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "proxy/fork_guard.h"
#include "proxy/object.h"

namespace commonhold::detail {

namespace {

thread_local TicketsWritten* writes = nullptr;
thread_local TicketsRead* reads = nullptr;

// As the system numbers it, so that a forked child's is another.
int this_thread() {
  return static_cast<int>(syscall(SYS_gettid));
}

void end_all(const std::vector<NotedTicket>& tickets) noexcept {
  for (const NotedTicket& ticket : tickets) ticket.end(ticket.text);
}

}  // namespace

TicketsWritten::TicketsWritten() noexcept : outer_(std::exchange(writes, this)) {}

TicketsWritten::~TicketsWritten() {
  writes = outer_;
}

void TicketsWritten::note(const std::string& ticket, EndTicket withdraw) {
  for (TicketsWritten* to = writes; to != nullptr; to = to->outer_) to->all_.push_back({ticket, withdraw});
}

void TicketsWritten::withdraw() noexcept {
  end_all(all_);
  all_.clear();
}

TicketsRead::TicketsRead(Ends ends, std::chrono::nanoseconds patience) noexcept
    : ends_(ends), patience_(patience), outer_(std::exchange(reads, this)) {}

TicketsRead::~TicketsRead() {
  reads = outer_;
}

bool TicketsRead::ends_at_once() noexcept {
  return reads != nullptr && reads->ends_ == Ends::kAtOnce;
}

std::chrono::nanoseconds TicketsRead::patience() noexcept {
  return reads != nullptr ? reads->patience_ : kTicketPatience;
}

void TicketsRead::note(std::string ticket, EndTicket taken) {
  if (reads != nullptr) reads->all_.push_back({std::move(ticket), taken});
}

void TicketsRead::note_void() noexcept {
  if (reads != nullptr) reads->met_void_ = true;
}

void TicketsRead::forget() noexcept {
  all_.clear();
  met_void_ = false;
}

void TicketsRead::taken(Object* redelivering) {
  if (redelivering == nullptr) {
    end_all(all_);
  } else {
    std::lock_guard guard(ForkGuard::instance().mutex);
    redelivering->tickets_in_flight[this_thread()].push_back(std::move(all_));
  }
  forget();
}

void end_oldest_tickets(Object& queue) {
  std::vector<NotedTicket> oldest;
  {
    std::lock_guard guard(ForkGuard::instance().mutex);
    auto own = queue.tickets_in_flight.find(this_thread());
    if (own == queue.tickets_in_flight.end()) own = queue.tickets_in_flight.begin();
    if (own == queue.tickets_in_flight.end()) return;
    oldest = std::move(own->second.front());
    own->second.pop_front();
    if (own->second.empty()) queue.tickets_in_flight.erase(own);
  }
  end_all(oldest);
}

}  // namespace commonhold::detail
