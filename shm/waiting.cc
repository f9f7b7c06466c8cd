#include "shm/waiting.h"

#include "shm/barrier.h"
#include "shm/condition.h"
#include "shm/extents.h"
#include "shm/object_table.h"

namespace commonhold::shm {

namespace {
std::atomic<std::int64_t> check_ns{500'000'000};
}

std::int64_t wait_check_ns() {
  return check_ns.load(std::memory_order_relaxed);
}

void set_wait_check_for_test(std::chrono::nanoseconds interval) {
  check_ns.store(interval.count(), std::memory_order_relaxed);
}

namespace {

// The live object that has this address in its control block; kNone for none.
ObjectInfo object_at(const Segment& segment, Offset at) {
  ChunkOwner owner = chunk_owner(segment, at);
  ObjectInfo info;
  bool found = owner && owner.object() < kMaxObjects && object_info(segment, owner.object(), info) == Status::kOk;
  return found ? info : ObjectInfo{};
}

}  // namespace

void finish_wake(Segment& segment, Offset futex) {
  if (!segment.holds(futex, sizeof(Word))) return;
  ObjectInfo info = object_at(segment, futex);
  if (info.kind == ObjectKind::kBarrier) Barrier({&segment, info.id.index, info.control}).finish_change();
  futex_wake_all(*segment.at<std::atomic<std::uint32_t>>(futex));
}

void forget_wait(ThreadContext& me, ThreadRecord& record, Word claim) {
  Offset control = record.waits_on.load(std::memory_order_acquire);
  if (control == 0) return;
  Segment& segment = me.segment();
  ObjectInfo info = object_at(segment, control);
  if (info.control == control) {
    ObjectAddress where{&segment, info.id.index, control};
    if (info.kind == ObjectKind::kCondition) Condition(where).forget(record, claim);
    if (info.kind == ObjectKind::kBarrier) Barrier(where).forget(me, record, claim);
  }
}

}  // namespace commonhold::shm
