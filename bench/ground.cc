#include "bench/ground.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <stdexcept>

#include "shm/thread_context.h"

namespace commonhold::bench {

Ground::Ground(std::uint64_t memory_limit) {
  static std::atomic<int> made{0};
  std::string folder = fmt::format("/dev/shm/commonhold-bench-{}-{}", getpid(), made++);
  segment_ = shm::Segment::create({folder, "bench", memory_limit});
  std::filesystem::remove_all(folder);
}

shm::ThreadContext& Ground::me() const {
  shm::ThreadContext* me = segment_->here();
  if (me == nullptr) throw std::runtime_error("no session or thread slot is free");
  return *me;
}

shm::ObjectAddress Ground::make(const shm::ObjectPlan& plan) const {
  shm::ObjectId id;
  expect_ok(shm::create_object(me(), plan, id), "create_object");
  return {segment_.get(), id.index, shm::object_control(*segment_, id)};
}

void expect_ok(shm::Status status, const char* what) {
  if (status != shm::Status::kOk) throw std::runtime_error(fmt::format("{}: {}", what, shm::to_string(status)));
}

}  // namespace commonhold::bench
