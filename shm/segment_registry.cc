#include "shm/segment_registry.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "shm/barrier_everywhere.h"
#include "shm/segment.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

SegmentRegistry& SegmentRegistry::instance() {
  static auto* registry = new SegmentRegistry;  // leaked: threads end after static destruction
  return *registry;
}

SegmentRegistry::SegmentRegistry() {
  pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

std::shared_ptr<Segment> SegmentRegistry::find(std::uint64_t device, std::uint64_t inode) {
  for (bool closing = true; closing; std::this_thread::sleep_for(std::chrono::microseconds(100))) {
    std::lock_guard guard(mutex);
    closing = false;
    for (auto& entry : entries_) {
      if (entry.device != device || entry.inode != inode) continue;
      if (auto segment = entry.owner.lock()) return segment;
      closing = true;
    }
    if (!closing) break;
  }
  return nullptr;
}

void SegmentRegistry::add(std::uint64_t device, std::uint64_t inode, const std::shared_ptr<Segment>& segment) {
  std::lock_guard guard(mutex);
  entries_.push_back({device, inode, segment.get(), segment});
}

void SegmentRegistry::remove(Segment* segment) {
  std::lock_guard guard(mutex);
  std::erase_if(entries_, [&](const Entry& entry) { return entry.segment == segment; });
}

bool SegmentRegistry::has(std::uint64_t device, std::uint64_t inode) {
  std::lock_guard guard(mutex);
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return entry.device == device && entry.inode == inode; });
}

bool SegmentRegistry::empty() {
  std::lock_guard guard(mutex);
  return entries_.empty();
}

namespace {
constinit thread_local bool is_ready_for_fork = false;
}

void SegmentRegistry::get_ready_for_fork() {
  is_ready_for_fork = true;
  std::vector<std::shared_ptr<Segment>> segments;
  {
    std::lock_guard guard(mutex);
    for (const Entry& entry : entries_) {
      if (auto segment = entry.owner.lock()) segments.push_back(std::move(segment));
    }
  }
  for (const auto& segment : segments) segment->reserve_for_child();
}

void SegmentRegistry::before_fork() {
  if (!is_ready_for_fork) instance().get_ready_for_fork();
  is_ready_for_fork = false;
  instance().mutex.lock();
  for (const Entry& entry : instance().entries_) {
    if (!entry.owner.expired()) entry.segment->prepare_child();
  }
}

void SegmentRegistry::after_fork_in_parent() {
  for (const Entry& entry : instance().entries_) entry.segment->after_fork_in_parent();
  instance().mutex.unlock();
}

// The child owns nothing of its parent's: sessions, slots and locks stay the parent's. What the parent referred to, the
// child refers to in a session of its own.
void SegmentRegistry::after_fork_in_child() {
  take_part_in_forked_child();
  auto& registry = instance();
  ++registry.generation_;
  new (&registry.opening) std::mutex;  // as join_mutex_ below
  // Those that a thread was closing, which is not in the child, will never be closed here.
  std::erase_if(registry.entries_, [](const Entry& entry) {
    if (!entry.owner.expired()) return false;
    for (int fd : {entry.segment->child_fd_, entry.segment->inherited_fd_.load()}) {
      close_kept(fd, entry.segment->memory_identity());
    }
    return true;
  });
  for (auto& entry : registry.entries_) {
    Segment& segment = *entry.segment;
    segment.reserved_.store(0, std::memory_order_relaxed);
    segment.serves_.store(false, std::memory_order_relaxed);
    if (!segment.after_fork_in_child()) {
      segment.references_since_.store(registry.generation_, std::memory_order_relaxed);
    }
    new (&segment.join_mutex_) std::mutex;  // a thread that is not in the child may have held it
    new (&segment.reserved_mutex_) std::mutex;
    for (ThreadContext* context : segment.contexts_) {
      context->segment_.store(nullptr, std::memory_order_relaxed);
    }
    segment.contexts_.clear();
    segment.ended_.clear();
    segment.has_ended_.store(false, std::memory_order_relaxed);
  }
  registry.mutex.unlock();
}

}  // namespace commonhold::shm
