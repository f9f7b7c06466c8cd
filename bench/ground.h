// A segment to measure in, and objects in it, without a server. Its folder loses its name at once, so that nothing is
// left behind however the program ends.
#pragma once

#include <cstdint>
#include <memory>

#include "shm/object_address.h"
#include "shm/object_table.h"
#include "shm/segment.h"

namespace commonhold::bench {

class Ground {
 public:
  explicit Ground(std::uint64_t memory_limit = 512u << 20);

  shm::Segment& operator*() const { return *segment_; }

  // The calling thread as an owner; throws when there is no place for it.
  shm::ThreadContext& me() const;

  shm::ObjectAddress make(const shm::ObjectPlan& plan) const;
  shm::ObjectAddress make_dict() const { return make({shm::ObjectKind::kDict, "", "dict<text,struct>", {}}); }

 private:
  std::shared_ptr<shm::Segment> segment_;
};

// Ends a worker's session in good order when the worker's work ends.
class Stay {
 public:
  explicit Stay(const Ground& ground) : ground_(ground), me_(ground.me()) {}
  ~Stay() { (*ground_).leave(); }
  Stay(const Stay&) = delete;
  Stay& operator=(const Stay&) = delete;
  shm::ThreadContext& me() const { return me_; }

 private:
  const Ground& ground_;
  shm::ThreadContext& me_;
};

// Throws with the status in words unless it is kOk.
void expect_ok(shm::Status status, const char* what);

}  // namespace commonhold::bench
