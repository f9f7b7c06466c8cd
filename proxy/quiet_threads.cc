#include <commonhold/detail/quiet_threads.h>

#include <utility>

#include "shm/blocked_signals.h"

namespace commonhold::detail {

BlockedSignals::BlockedSignals() : blocked_(std::make_unique<shm::BlockedSignals>()) {}

BlockedSignals::~BlockedSignals() = default;

const sigset_t& BlockedSignals::before() const {
  return blocked_->before();
}

int start_quiet_thread(std::function<void()> body) {
  return shm::start_quiet_thread(std::move(body));
}

}  // namespace commonhold::detail
