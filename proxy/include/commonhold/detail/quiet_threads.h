// The library's own threads get no signals: those are for the program's. shm/blocked_signals.h for process/.
#pragma once

#include <csignal>
#include <functional>
#include <memory>

#include <commonhold/detail/call.h>

namespace commonhold::shm {
class BlockedSignals;
}

namespace commonhold::detail {

// Threads and processes made while this lives have all signals blocked that others send (shm/blocked_signals.h).
class BlockedSignals {
 public:
  BlockedSignals();
  ~BlockedSignals();
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

  // What the calling thread had blocked.
  const sigset_t& before() const;

 private:
  std::unique_ptr<shm::BlockedSignals> blocked_;
};

// Starts a thread that gets no signals and that nobody joins. 0, or the error for which there is none.
COMMONHOLD_CALL int start_quiet_thread(std::function<void()> body);

}  // namespace commonhold::detail
