// The process that victims are forked from.
#pragma once

#include <sys/types.h>

#include <functional>

#include "support/kill_stepper_victim.h"

namespace commonhold::test {

// How a victim ended, as the nursery's waitpid saw it.
struct VictimFate {
  pid_t pid = -1;
  int wait_status = 0;
};

// A child that keeps the private memory the caller had when this was made, does nothing but fork, and so
// gives every victim the same heap, the same free lists and one thread, whatever the caller does meanwhile.
// It ends with this object, or with its parent.
class VictimNursery {
 public:
  // `enter` and `op` are called in the victims. The board is in a SharedBuffer and outlives this. Throws
  // std::system_error.
  VictimNursery(VictimBoard& board, const std::function<void()>& enter, const std::function<void()>& op);
  VictimNursery(const VictimNursery&) = delete;
  VictimNursery& operator=(const VictimNursery&) = delete;
  ~VictimNursery();

  // Forks a victim that follows the board's orders, and waits until it was reaped. Throws std::runtime_error
  // when the nursery is gone or could not fork.
  [[nodiscard]] VictimFate run_one();
  // The same in two steps.
  void start_one();
  [[nodiscard]] VictimFate await_one();

 private:
  pid_t pid_ = -1;
  int channel_ = -1;
};

}  // namespace commonhold::test
