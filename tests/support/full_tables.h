// Session and thread tables that are full: of live processes, or of dead ones.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <stdexcept>

#include "shm/liveness.h"
#include "shm/segment.h"
#include "support/process_shared.h"

namespace commonhold::test {

// The pid of a process that is no more.
inline pid_t ended_process() {
  pid_t child = spawn([] {});
  wait_for(child);
  return child;
}

// Makes session records look as a process of that pid left them. They hold nothing.
inline void fill_sessions(const shm::Segment& segment, std::uint32_t first, std::uint32_t end, pid_t pid) {
  for (std::uint32_t index = first; index < end; ++index) {
    shm::SessionRecord& record = segment.session(index);
    if ((record.state.load() & 0xff) != 0) continue;
    record.pid.store(static_cast<shm::Word>(pid));
    record.pid_space.store(shm::own_pid_space());
    record.joined_ns.store(~shm::Word{0} >> 1);  // it was born before
    record.state.store(shm::Word{1} << 32 | static_cast<shm::Word>(shm::SessionState::kLive));
  }
  segment.header().sessions_used.store(shm::kMaxSessions);
}

inline void fill_threads(const shm::Segment& segment, std::uint32_t first, std::uint32_t end, std::uint32_t session) {
  for (std::uint32_t index = first; index < end; ++index) {
    if ((segment.thread(index).claim.load() & 0xffff'ffff) == 0) segment.thread(index).claim.store(session + 1);
  }
  segment.header().threads_used.store(shm::kMaxThreads);
}

// A process that holds the bytes of sessions [first, end), as living ones do, and maps the segment.
class LivingFiller {
 public:
  LivingFiller(const shm::Segment& segment, std::uint32_t first, std::uint32_t end) {
    Shared<std::atomic<int>> ready;
    pid_ = spawn([&] {
      struct flock request {};
      request.l_type = F_WRLCK;
      request.l_start = static_cast<off_t>(shm::kSessionByte + first);
      request.l_len = end - first;
      if (fcntl(segment.lock_fd(), F_SETLK, &request) != 0) throw std::runtime_error("cannot lock the bytes");
      ready->store(1);
      for (;;) pause();
    });
    while (ready->load() == 0) usleep(100);
    fill_sessions(segment, first, end, pid_);
  }
  ~LivingFiller() {
    kill(pid_, SIGKILL);
    wait_for(pid_);
  }
  LivingFiller(const LivingFiller&) = delete;
  LivingFiller& operator=(const LivingFiller&) = delete;

 private:
  pid_t pid_;
};

}  // namespace commonhold::test
