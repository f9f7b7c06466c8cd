#include "shm/gate.h"

#include <climits>

namespace commonhold::shm {

void wake_some(Gate& gate, int count) {
  gate.wanted.store(0, std::memory_order_seq_cst);
  gate.event.fetch_add(1, std::memory_order_seq_cst);
  // Where there was one there may be more: the last sleeper costs one call that finds nobody.
  if (futex_wake(gate.event, count) > 0) gate.wanted.store(1, std::memory_order_seq_cst);
}

void wake_all(Gate& gate) {
  gate.event.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(gate.event);
}

}  // namespace commonhold::shm
