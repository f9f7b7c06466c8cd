#include "manager/inspection.h"

#include <algorithm>
#include <map>

#include "shm/extents.h"
#include "shm/object_types.h"
#include "shm/references.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"

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

ThreadIdentity identity_of_session(const shm::Segment& segment, std::uint32_t session) {
  const shm::SessionRecord& record = segment.session(session);
  auto pid = static_cast<std::uint32_t>(record.pid.load(std::memory_order_relaxed));
  return {pid, pid, program_of(record)};
}

struct LockSearch {
  shm::Segment& segment;
  std::multimap<shm::Offset, std::uint32_t> announced;  // lock words, and the threads that announced them
  std::multimap<shm::Offset, std::uint32_t> asleep;     // futexes, and the threads that sleep there
  std::vector<LockSummary> found;
  shm::ObjectInfo object;
  std::uint32_t number = 0;

  // Who owns the word, kMaxThreads for nobody known.
  std::uint32_t owner_of(const shm::LockWord& word, bool& owned, ThreadIdentity& who) const {
    std::uint32_t owner = word.state.load(std::memory_order_acquire) & ~shm::kLockWaiters;
    std::uint32_t thread = owner == 0 ? shm::kMaxThreads : shm::lock_owner_thread(owner);
    owned = owner != 0;
    if (thread >= shm::kMaxThreads) return shm::kMaxThreads;
    shm::Word claim = segment.thread(thread).claim.load(std::memory_order_acquire);
    bool same = (claim >> 32 & shm::kLockGenerationMask) == shm::lock_owner_generation(owner);
    if (same) who = identity_of(segment, thread);
    return thread;
  }

  void add_waiters(LockSummary& summary, const std::multimap<shm::Offset, std::uint32_t>& where, shm::Offset at,
                   std::uint32_t but) const {
    auto [first, last] = where.equal_range(at);
    for (auto it = first; it != last; ++it) {
      if (it->second != but) summary.waiters.push_back(identity_of(segment, it->second));
    }
  }

  void look_at(shm::LockWord& word) {
    LockSummary summary{object, number++, {}, 0, {}};
    bool held = false;
    LockHolder holder;
    std::uint32_t thread = owner_of(word, held, holder.who);
    // An announcement without a holder is a thread just before or after its turn: nobody waits.
    if (!held) return;
    summary.holders.push_back(holder);
    add_waiters(summary, announced, segment.offset_of(&word), thread);
    found.push_back(std::move(summary));
  }

  // Its word is owned by who writes, or by who waits until the readers have left.
  void look_at_rw_lock() {
    LockSummary summary{object, number++, {}, 0, {}};
    const shm::RwLock lock({&segment, object.id.index, object.control});
    auto& control = *segment.at<shm::RwLockControl>(object.control);
    bool held = false;
    ThreadIdentity owner;
    std::uint32_t thread = owner_of(control.word, held, owner);
    if (held && control.exclusive.load(std::memory_order_acquire) != 0) {
      summary.holders.push_back({owner, LockHolder::Use::kWrites, 1});
    } else {
      for (auto& reader : lock.all_readers()) {
        summary.holders.push_back({identity_of(segment, reader.thread), LockHolder::Use::kReads, reader.times});
      }
      if (held) summary.waiters.push_back(owner);
    }
    if (summary.holders.empty()) return;
    add_waiters(summary, announced, object.control, thread);
    found.push_back(std::move(summary));
  }

  void look_at_semaphore() {
    LockSummary summary{object, number++, {}, 0, {}};
    const shm::Semaphore semaphore({&segment, object.id.index, object.control});
    for (auto& holder : semaphore.holders()) {
      summary.holders.push_back(
          {identity_of_session(segment, holder.session), LockHolder::Use::kPermits, holder.permits});
    }
    summary.permits_left = semaphore.value();
    add_waiters(summary, asleep, semaphore.waited_at(), shm::kMaxThreads);
    if (!summary.holders.empty() || !summary.waiters.empty()) found.push_back(std::move(summary));
  }
};

}  // namespace

std::vector<ObjectSummary> summarize_objects(const shm::Segment& segment, std::uint32_t after, std::size_t limit,
                                             std::uint32_t& next) {
  const std::uint32_t count = segment.committed_objects();
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
  LockSearch search{segment, {}, {}, {}, {}};
  const std::uint32_t threads = segment.threads_used();
  for (std::uint32_t thread = 0; thread < threads; ++thread) {
    for (auto& announced : segment.thread(thread).announced) {
      shm::Word word = announced.load(std::memory_order_acquire);
      if ((word & 7) == static_cast<shm::Word>(shm::Announced::kWord)) search.announced.emplace(word & ~7ull, thread);
    }
    shm::Offset sleeps_at = segment.thread(thread).sleeps_at.load(std::memory_order_acquire);
    if (sleeps_at != 0) search.asleep.emplace(sleeps_at, thread);
  }
  search.look_at(segment.header().extents_lock);
  shm::for_each_object(segment, [&](const shm::ObjectInfo& info) {
    const shm::ObjectType* type = shm::object_type(info.kind);
    if (type == nullptr) return;
    search.object = info;
    search.number = 0;
    if (info.kind == shm::ObjectKind::kRwLock) return search.look_at_rw_lock();
    if (info.kind == shm::ObjectKind::kSemaphore) search.look_at_semaphore();  // then the lock inside
    type->each_lock({&segment, info.id.index, info.control}, &search,
                    [](void* context, shm::LockWord& word) { static_cast<LockSearch*>(context)->look_at(word); });
  });
  return std::move(search.found);
}

std::vector<SessionSummary> summarize_sessions(const shm::Segment& segment) {
  std::vector<SessionSummary> found;
  shm::Word server = segment.header().server_session.load(std::memory_order_acquire);
  const std::uint32_t used = segment.sessions_used();
  for (std::uint32_t index = 0; index < used; ++index) {
    const shm::SessionRecord& record = segment.session(index);
    shm::Word state = record.state.load(std::memory_order_acquire);
    if (shm::session_state(state) == shm::SessionState::kFree) continue;
    found.push_back({index, static_cast<std::uint32_t>(record.pid.load(std::memory_order_relaxed)), program_of(record),
                     server == index + 1});
  }
  return found;
}

}  // namespace commonhold::manager
