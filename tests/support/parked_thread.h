// A thread slot whose thread does nothing: what a sleeper is to others, without a process of its own.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "shm/barrier.h"
#include "shm/condition.h"
#include "support/test_segment.h"

namespace commonhold::test {

class ParkedThread {
 public:
  explicit ParkedThread(const TestSegment& segment) {
    std::unique_lock guard(mutex_);
    thread_ = std::thread([this, &segment] {
      std::unique_lock guard(mutex_);
      context_ = &segment.me();
      changed_.notify_all();
      changed_.wait(guard, [this] { return over_; });
    });
    changed_.wait(guard, [this] { return context_ != nullptr; });
  }
  ~ParkedThread() {
    {
      std::lock_guard guard(mutex_);
      over_ = true;
      changed_.notify_all();
    }
    thread_.join();
  }
  ParkedThread(const ParkedThread&) = delete;
  ParkedThread& operator=(const ParkedThread&) = delete;

  shm::ThreadContext& context() const { return *context_; }

  // Lets it wait in a condition, as Condition::wait does until it sleeps.
  void wait_in(const shm::ObjectAddress& condition) const {
    auto* control = condition.segment->at<shm::ConditionControl>(condition.control);
    auto ticket = control->next_ticket.load();
    (void)shm::begin_wait(*context_, condition.control, ticket);
    control->recent[ticket % shm::kRecentTickets].store(context_->index() + 1);
    control->next_ticket.store(ticket + 1);
  }
  // Lets it be the first inside a barrier that is empty.
  void come_first_to(const shm::ObjectAddress& barrier) const {
    auto* control = barrier.segment->at<shm::BarrierControl>(barrier.control);
    auto low = static_cast<std::uint32_t>(control->state.load());
    (void)shm::begin_wait(*context_, barrier.control, low >> 3);
    control->state.store(shm::Word{context_->index() + 1} << 48 | shm::Word{1} << 32 | low);
  }
  // 'w'aits, was 't'old or 'r'efused, or does 'n'othing.
  char state() const { return "nwtr"[static_cast<int>(shm::waited(context_->record().wait_state.load()))]; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  shm::ThreadContext* context_ = nullptr;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace commonhold::test
