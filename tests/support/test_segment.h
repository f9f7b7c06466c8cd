// A segment of its own for a test, gone with it; and objects in it without a server.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "shm/dict.h"
#include "shm/extents.h"
#include "shm/object_address.h"
#include "shm/object_table.h"
#include "shm/segment.h"
#include "shm/thread_context.h"

namespace commonhold::test {

class TestSegment {
 public:
  explicit TestSegment(std::uint64_t memory_limit = 256u << 20) {
    static std::atomic<int> made{0};
    folder_ = fmt::format("/dev/shm/commonhold-test-{}-{}", getpid(), made++);
    segment_ = shm::Segment::create({folder_, "test", memory_limit});
  }
  ~TestSegment() {
    segment_.reset();
    if (getpid() == owner_) std::filesystem::remove_all(folder_);
  }
  TestSegment(const TestSegment&) = delete;
  TestSegment& operator=(const TestSegment&) = delete;

  shm::Segment& operator*() const { return *segment_; }
  shm::Segment* operator->() const { return segment_.get(); }
  const std::shared_ptr<shm::Segment>& shared() const { return segment_; }
  const std::string& folder() const { return folder_; }

  // The calling thread as an owner; a child that was forked gets its own.
  shm::ThreadContext& me() const {
    shm::ThreadContext* me = segment_->here();
    if (me == nullptr) throw std::runtime_error("no session or thread slot is free");
    return *me;
  }

  shm::ObjectAddress make(const shm::ObjectPlan& plan) const {
    shm::ObjectId id;
    shm::Status status = shm::create_object(me(), plan, id);
    if (status != shm::Status::kOk) throw std::runtime_error(fmt::format("create_object: {}", shm::to_string(status)));
    return {segment_.get(), id.index, shm::object_control(*segment_, id)};
  }
  shm::ObjectAddress make_dict(std::uint64_t shards = 0) const {
    return make({shm::ObjectKind::kDict, "", "dict<text,text>", {shards}});
  }

 private:
  pid_t owner_ = getpid();
  std::string folder_;
  std::shared_ptr<shm::Segment> segment_;
};

inline shm::Item text(std::string_view bytes) {
  return {shm::ItemKind::kText, bytes.data(), bytes.size()};
}
inline shm::Item integer(const std::int64_t& word) {
  return {shm::ItemKind::kInt64, &word, 8};
}

}  // namespace commonhold::test
