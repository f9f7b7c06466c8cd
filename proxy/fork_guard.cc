#include "proxy/fork_guard.h"

#include <pthread.h>

#include <commonhold/detail/object_handle.h>

#include "shm/segment_registry.h"

namespace commonhold::detail {

std::atomic<unsigned> attention{0};

ForkGuard& ForkGuard::instance() {
  static auto* guard = new ForkGuard;  // leaked: objects may end after static destruction
  return *guard;
}

ForkGuard::ForkGuard() {
  // Handlers run in the reverse order of registration before a fork: our mutex is taken before that of shm/.
  shm::SegmentRegistry::instance();
  pthread_atfork(
      [] {
        shm::SegmentRegistry::instance().get_ready_for_fork();
        instance().mutex.lock();
      },
      [] { instance().mutex.unlock(); },
      [] {
        attention.store(1, std::memory_order_relaxed);
        instance().mutex.unlock();
      });
}

unsigned ForkGuard::generation() const {
  return shm::SegmentRegistry::instance().generation();
}

}  // namespace commonhold::detail
