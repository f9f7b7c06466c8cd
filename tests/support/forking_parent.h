// A process that is held up in the middle of an operation and forks there, as another thread of it may at any moment; and
// what becomes of the two.
//
// How: the parent is stopped at an instruction of its operation (kill_stepper_victim.h), forks where it stands, and both
// wait for the test, which lets them go on by turns, or kills them. No breakpoint is planted at that time, so the child
// runs free of them. It never goes back to its parent's operation: the thread that was in it is not in the child.
#pragma once

#include <memory>
#include <string>

#include "support/actors.h"
#include "support/kill_stage.h"
#include "support/kill_stepper_nursery.h"
#include "support/kill_stepper_trace.h"
#include "support/virtual_kernel.h"

namespace commonhold::test {

class ForkingParent {
 public:
  enum class Fate { kParentFirst, kChildFirst, kParentDies, kChildDies, kBothDie };
  struct Result {
    std::string wrong;  // "" is well
    std::string parent, child, contents;
    bool operator==(const Result&) const = default;
  };

  // `enter` runs before the operation, in the parent, which is not held up in it. A child has a session from the
  // beginning if its parent refers to something. REQUIRES: the stage is saved; it and the observation outlive this.
  ForkingParent(KillStage& stage, Call enter, Call operation, Call of_child, const Observation& observation);
  ~ForkingParent();
  ForkingParent(const ForkingParent&) = delete;
  ForkingParent& operator=(const ForkingParent&) = delete;

  const KillTrace& trace() const { return trace_; }
  // The fork comes before that instruction; trace().size() is the end.
  Result run(std::size_t instruction, Fate fate);

 private:
  void record();
  void start(std::size_t instruction);
  void go_on(std::size_t actor, std::string& wrong);
  void finish_both(std::string& wrong);
  void kill_one(std::size_t actor);
  void recover(std::size_t most, std::string& wrong);
  void observe(Result& result);

  KillStage& stage_;
  Call enter_, operation_, of_child_;
  const Observation& observation_;
  SharedBuffer memory_{sizeof(World)};
  World& world_;
  KillTrace trace_;  // mapped before the nursery, whose victims write to it
  std::unique_ptr<VictimNursery> nursery_;
  bool alive_[2] = {};
  bool orphan_ = false;  // the child is to be reaped
  pid_t child_ = 0;
};

}  // namespace commonhold::test
