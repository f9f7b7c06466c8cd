#include "manager/inspection.h"

#include <algorithm>
#include <map>

#include "shm/extents.h"
#include "shm/object_types.h"
#include "shm/references.h"

namespace commonhold::manager {

namespace {

std::vector<std::uint64_t> bytes_by_object(const shm::Segment& segment, std::uint32_t objects) {
  std::vector<std::uint64_t> bytes(objects);
  auto add = [&](shm::ChunkOwner owner, std::uint64_t size) {
    if (owner && owner.object() < objects) bytes[owner.object()] += size;
  };
  std::uint64_t committed = segment.committed_extents();
  for (std::uint64_t e = 0; e < committed; ++e) {
    shm::Word word = shm::extent_entry(segment, e).load(std::memory_order_acquire);
    if (shm::extent_kind(word) == shm::ExtentKind::kWhole) add(shm::extent_owner(word), shm::kExtent);
    if (shm::extent_kind(word) != shm::ExtentKind::kSplit || shm::extent_granules(word) == 0) continue;
    for (std::uint32_t g = 0; g < shm::kGranulesPerExtent; g += shm::extent_granules(word)) {
      add(shm::ChunkOwner(shm::granule_entry(segment, e, g).load(std::memory_order_acquire)),
          shm::extent_granules(word) * shm::kGranule);
    }
  }
  return bytes;
}

std::string program_of(const shm::SessionRecord& record) {
  char title[sizeof record.title];
  shm::read_words(title, record.title, sizeof title);
  title[sizeof title - 1] = '\0';
  return title;
}

// Whose slot this is, as its record says now.
ThreadIdentity identity_of(const shm::Segment& segment, std::uint32_t thread) {
  const shm::ThreadRecord& record = segment.thread(thread);
  auto session = static_cast<std::uint32_t>(record.claim.load(std::memory_order_acquire) & 0xffff'ffff);
  if (session == 0 || session > shm::kMaxSessions) return {};
  const shm::SessionRecord& of = segment.session(session - 1);
  return {static_cast<std::uint32_t>(of.pid.load(std::memory_order_relaxed)),
          static_cast<std::uint32_t>(record.kernel_id.load(std::memory_order_relaxed)), program_of(of)};
}

struct LockSearch {
  shm::Segment& segment;
  std::multimap<shm::Offset, std::uint32_t> announced;  // lock words, and the threads that announced them
  std::vector<LockSummary> found;
  shm::ObjectInfo object;
  std::uint32_t number = 0;

  void look_at(shm::LockWord& word) {
    LockSummary summary{object, number++, false, {}, {}};
    std::uint32_t owner = word.state.load(std::memory_order_acquire) & ~shm::kLockWaiters;
    std::uint32_t holder = owner == 0 ? shm::kMaxThreads : shm::lock_owner_thread(owner);
    summary.held = owner != 0;
    if (holder < shm::kMaxThreads) {
      shm::Word claim = segment.thread(holder).claim.load(std::memory_order_acquire);
      if ((claim >> 32 & shm::kLockGenerationMask) == shm::lock_owner_generation(owner)) {
        summary.holder = identity_of(segment, holder);
      }
    }
    auto [first, last] = announced.equal_range(segment.offset_of(&word));
    for (auto at = first; at != last; ++at) {
      if (at->second != holder) summary.waiters.push_back(identity_of(segment, at->second));
    }
    // An announcement without a holder is a thread just before or after its turn: nobody waits.
    if (summary.held) found.push_back(std::move(summary));
  }
};

}  // namespace

std::vector<ObjectSummary> summarize_objects(const shm::Segment& segment, std::uint32_t after, std::size_t limit,
                                             std::uint32_t& next) {
  auto count = static_cast<std::uint32_t>(segment.header().objects_committed.load(std::memory_order_acquire));
  std::vector<ObjectSummary> found;
  next = 0;
  for (std::uint32_t index = after + 1; index < count; ++index) {
    ObjectSummary summary;
    if (shm::object_info(segment, index, summary.info) != shm::Status::kOk) continue;
    if (found.size() == limit) {
      next = found.back().info.id.index;
      break;
    }
    found.push_back(std::move(summary));
  }
  std::vector<std::uint64_t> bytes = bytes_by_object(segment, count);
  std::vector<std::uint32_t> sessions = shm::count_all_references(segment);
  for (ObjectSummary& summary : found) {
    std::uint32_t index = summary.info.id.index;
    summary.bytes = bytes[index];
    summary.sessions = index < sessions.size() ? sessions[index] : 0;
  }
  return found;
}

std::vector<LockSummary> summarize_locks(shm::Segment& segment) {
  LockSearch search{segment, {}, {}, {}};
  auto threads = static_cast<std::uint32_t>(
      std::min<shm::Word>(segment.header().threads_used.load(std::memory_order_acquire), shm::kMaxThreads));
  for (std::uint32_t thread = 0; thread < threads; ++thread) {
    for (auto& announced : segment.thread(thread).announced) {
      shm::Word word = announced.load(std::memory_order_acquire);
      if ((word & 7) == static_cast<shm::Word>(shm::Announced::kWord)) search.announced.emplace(word & ~7ull, thread);
    }
  }
  search.look_at(segment.header().extents_lock);
  shm::for_each_object(segment, [&](const shm::ObjectInfo& info) {
    const shm::ObjectType* type = shm::object_type(info.kind);
    if (type == nullptr) return;
    search.object = info;
    search.number = 0;
    type->each_lock({&segment, info.id.index, info.control}, &search,
                    [](void* context, shm::LockWord& word) { static_cast<LockSearch*>(context)->look_at(word); });
  });
  return std::move(search.found);
}

std::vector<SessionSummary> summarize_sessions(const shm::Segment& segment) {
  std::vector<SessionSummary> found;
  shm::Word server = segment.header().server_session.load(std::memory_order_acquire);
  auto used = static_cast<std::uint32_t>(
      std::min<shm::Word>(segment.header().sessions_used.load(std::memory_order_acquire), shm::kMaxSessions));
  for (std::uint32_t index = 0; index < used; ++index) {
    const shm::SessionRecord& record = segment.session(index);
    shm::Word state = record.state.load(std::memory_order_acquire);
    if (static_cast<shm::SessionState>(state & 0xff) == shm::SessionState::kFree) continue;
    found.push_back({index, static_cast<std::uint32_t>(record.pid.load(std::memory_order_relaxed)), program_of(record),
                     server == index + 1});
  }
  return found;
}

}  // namespace commonhold::manager
