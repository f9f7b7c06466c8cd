// A process that dies in the middle of an operation and leaves its session in a kill stage, for tests of what others do
// before, while and after it is recovered.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "support/actors.h"
#include "support/kill_stage.h"
#include "support/kill_stepper_nursery.h"
#include "support/kill_stepper_trace.h"

namespace commonhold::test {

class DyingOperation {
 public:
  // Takes the segment as it is for what the operation finds. `enter` runs before it, in the process that is to die.
  // REQUIRES: the stage outlives this.
  DyingOperation(KillStage& stage, Call operation, Call enter = {});
  // Puts the segment back to how it was.
  ~DyingOperation();
  DyingOperation(const DyingOperation&) = delete;
  DyingOperation& operator=(const DyingOperation&) = delete;

  // The instructions that store to the segment, or call the system, and the end: a death between two of them leaves
  // what one before the second leaves. Records the operation. REQUIRES: it does not wait.
  std::vector<std::size_t> points();
  // These put the segment back, let the operation die there, and save the stage with the dead session in it.
  void die_before(std::size_t point);
  // In its sleep. REQUIRES: it sleeps.
  void die_asleep();

 private:
  void end_saved();
  KillStage& stage_;
  Call operation_, enter_;
  SharedImage before_;
  SharedBuffer memory_{sizeof(VictimBoard)};
  VictimBoard& board_;
  KillTrace trace_;  // mapped before the nursery, whose victims write to it
  std::unique_ptr<VictimNursery> nursery_;
};

}  // namespace commonhold::test
