// A segment for kill tests: one whose bytes are put back before each run, and what must be true of it after a recovery.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/kill_stepper.h"
#include "support/shared_image.h"
#include "support/test_segment.h"

namespace commonhold::test {

// One thread of the caller's process uses it. The caller is a session of its own; each victim becomes one in enter().
class KillStage {
 public:
  // `extents` of data are backed by memory at once, so that the image can hold them; `committed` of them are committed
  // at the beginning (more as objects are made), the rest is there for operations that commit more.
  explicit KillStage(std::uint64_t extents = 24, std::uint64_t committed = 16, std::uint64_t memory_limit = 64u << 20);

  TestSegment segment;
  shm::ThreadContext& me() const { return segment.me(); }  // the caller's

  // Takes the segment as it is now for what each run starts from.
  void save() { image_ = std::make_unique<test::SharedImage>(ranges_); }
  void restore() const { image_->restore(); }
  const std::vector<test::MemoryRange>& ranges() const { return ranges_; }
  // In what each run starts from, at most: sessions of processes that died before, whom nobody has recovered.
  int dead_sessions = 0;

  // A plan with prepare, enter (joins; `victim` is then the victim's context) and shared filled in.
  test::KillPlan plan(const std::string& name, std::function<void(shm::ThreadContext& victim)> op);

  // Recovers whoever died, then says what the dead left that they must not: "" when all is in order. Checks every
  // session record, thread slot, the extents' lock, the count of free extents, and that each chunk has a live owner.
  // `least` to `most` sessions must be found dead.
  std::string recover(int least, int most);
  std::string recover() { return recover(1, 1); }
  std::string leftovers() const;
  // Of the living, and of the dead who were not recovered.
  std::size_t claimed_sessions() const;

 private:
  std::string check_owners() const;
  std::vector<test::MemoryRange> ranges_;
  std::unique_ptr<test::SharedImage> image_;
};

// Prints the report's line and fails the running test case when there were failures.
void expect_clean(const test::KillReport& report);

}  // namespace commonhold::test
