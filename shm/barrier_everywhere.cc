#include "shm/barrier_everywhere.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace commonhold::shm {

namespace {

bool membarrier(int command) {
  return syscall(SYS_membarrier, command, 0, 0) == 0;
}

std::atomic<bool> taken_part{false};

}  // namespace

bool take_part_in_barriers() {
  static const bool taking_part = membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
  taken_part.store(taking_part, std::memory_order_relaxed);
  return taking_part;
}

void take_part_in_forked_child() {
  if (taken_part.load(std::memory_order_relaxed)) (void)membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

bool barrier_everywhere() {
  return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) || membarrier(MEMBARRIER_CMD_GLOBAL);
}

}  // namespace commonhold::shm
