// Joining and leaving: session records, thread slots, and the contexts of this process's threads.
#include <cxxabi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <new>
#include <thread>

#include "shm/deadline.h"
#include "shm/lock_file.h"
#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/reserved_session.h"
#include "shm/segment.h"
#include "shm/segment_registry.h"
#include "shm/semaphore.h"

extern "C" void* __dso_handle;

namespace commonhold::shm {

namespace detail {
constinit thread_local ThreadContext* current_context = nullptr;
}
using detail::current_context;

namespace {

// For how long a process that found a table full tries to make room in it while others are at the same. One attempt,
// the recovery of all dead, is not cut short: it may wait longer for a lock whose holder is stopped.
constexpr std::chrono::seconds kRoomTimeout{5};

// A thread's contexts, one per segment that it worked on. Without a destructor: other destructors of the thread, and
// those of static objects, may use shared objects, whatever their order.
constinit thread_local ThreadContext* thread_contexts = nullptr;
constinit thread_local bool ends_with_thread = false;

bool any_under_recovery(const Segment& segment) {
  const std::uint32_t used = segment.sessions_used();
  for (std::uint32_t index = 0; index < used; ++index) {
    Word state = segment.session(index).state.load(std::memory_order_acquire);
    if (session_state(state) == SessionState::kRecovering) return true;
  }
  return false;
}

constinit thread_local bool recovers_under_registry = false;

// The registry's mutex, for code that recovers slots of this process's threads under it. A repair there may wait for
// the extents' lock, and then looks for its dead holder: that leaves alone what needs the mutex. No repair waits for a
// lock that an ended thread still has, for the extents' lock is freed without memory.
class RecoveryUnderRegistry {
 public:
  RecoveryUnderRegistry() : guard_(SegmentRegistry::instance().mutex) { recovers_under_registry = true; }
  ~RecoveryUnderRegistry() { recovers_under_registry = false; }
  RecoveryUnderRegistry(const RecoveryUnderRegistry&) = delete;
  RecoveryUnderRegistry& operator=(const RecoveryUnderRegistry&) = delete;

 private:
  std::lock_guard<std::mutex> guard_;
};

}  // namespace

// The list of the calling thread's contexts.
class ContextsOfThread {
 public:
  static ThreadContext* find(const Segment* segment) {
    for (ThreadContext* context = thread_contexts; context != nullptr; context = context->next_) {
      if (context->works_on(segment)) return context;
    }
    return nullptr;
  }

  static void add(ThreadContext* context) {
    context->next_ = thread_contexts;
    thread_contexts = context;
    if (ends_with_thread) return;
    ends_with_thread = true;
    // Among the thread's destructors; again when one that runs later made another context. The main thread's run before
    // the static objects' destructors, and what those make ends with the process.
    abi::__cxa_thread_atexit([](void*) { end_all(); }, nullptr, &__dso_handle);
  }

  // Those whose session ended, as a process's does at Segment::leave() and at fork.
  static void drop_ended() {
    for (ThreadContext** link = &thread_contexts; *link != nullptr;) {
      ThreadContext* context = *link;
      if (!context->works_on(nullptr)) {
        link = &context->next_;
        continue;
      }
      *link = context->next_;
      if (current_context == context) current_context = nullptr;
      delete context;
    }
  }

 private:
  static void end_all() {
    ends_with_thread = false;
    current_context = nullptr;
    while (ThreadContext* context = thread_contexts) {
      thread_contexts = context->next_;
      delete context;
    }
  }
};

Status Segment::join_failure() const {
  return join_failure_.load(std::memory_order_relaxed);
}

// Gives what `attempt` gets, if need be once the dead were recovered who keep it from getting it.
template <typename Attempt>
auto Segment::retry_after_recovery(Attempt&& attempt) {
  auto got = attempt();
  for (Deadline deadline = Deadline::after(kRoomTimeout); !got && !deadline.passed();) {
    bool hopeful = true;
    {
      std::lock_guard guard(reserved_mutex_);
      ReservedSession reserved(*this);
      if (reserved) hopeful = recover_all_dead(*this, reserved.me()) != 0 || any_under_recovery(*this);
    }
    got = attempt();
    if (!got && !hopeful) break;
    if (!got) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return got;
}

Status Segment::join() {
  std::lock_guard guard(join_mutex_);
  if (joined()) return Status::kOk;
  if (header().shutting_down.load(std::memory_order_acquire) != 0) return Status::kGone;
  if (lock_fd() < 0) return Status::kNoFile;  // nobody could know that this process lives
  if (serves_.load(std::memory_order_relaxed) && join_reserved()) return Status::kOk;
  return retry_after_recovery([this] { return join_free_record(); }) ? Status::kOk : Status::kTooMany;
}

bool Segment::join_reserved() {
  std::lock_guard guard(reserved_mutex_);
  ReservedSession reserved(*this, true);
  if (!reserved) return false;
  session_.store(index_of(reserved.keep()) + 1, std::memory_order_release);
  ring_bell();
  return true;
}

bool Segment::join_free_record() {
  for (std::uint32_t index = kReservedSessions; index < kMaxSessions; ++index) {
    SessionRecord& record = session(index);
    Word state = record.state.load(std::memory_order_acquire);
    if (session_state(state) != SessionState::kFree) continue;
    if (!try_lock_byte(lock_fd(), kSessionByte + index)) continue;
    // SYNC POINT: record taken: paired with claim_record_for_child(). The system calls before and after make no fence.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const bool for_a_child = byte_is_locked(memory_fd(), kSessionByte + index);
    state = record.state.load(std::memory_order_acquire);
    if (for_a_child || session_state(state) != SessionState::kFree || !back_references(*this, SessionIndex{index})) {
      unlock_byte(lock_fd(), kSessionByte + index);
      continue;
    }
    // The byte is ours: nobody else writes the record until the state is live.
    clear_references(*this, SessionIndex{index});
    write_identity(record);
    raise_to(header().sessions_used, index + 1);
    record.state.store(session_live_after(state), std::memory_order_release);
    session_.store(index + 1, std::memory_order_release);
    ring_bell();
    return true;
  }
  return false;
}

ThreadContext* Segment::here_slowly() {
  if (ThreadContext* context = ContextsOfThread::find(this)) return current_context = context;
  ContextsOfThread::drop_ended();
  if (inherited_fd_.load(std::memory_order_relaxed) >= 0) {
    std::lock_guard no_fork(SegmentRegistry::instance().mutex);  // which would copy a descriptor that nobody knows of
    lock_own_byte_of_child();
  }
  Status joined_status = joined() ? Status::kOk : join();
  if (joined_status != Status::kOk) {
    join_failure_.store(joined_status, std::memory_order_relaxed);
    return nullptr;
  }
  std::unique_ptr<ThreadContext> context = claim_thread();
  if (context == nullptr) {
    join_failure_.store(Status::kTooMany, std::memory_order_relaxed);
    return nullptr;
  }
  {
    std::lock_guard guard(SegmentRegistry::instance().mutex);
    contexts_.reserve(contexts_.size() + 1);
    ended_.reserve(contexts_.size() + ended_.size() + 1);
    contexts_.push_back(context.get());
  }
  ContextsOfThread::add(context.get());
  current_context = context.release();
  recover_ended_threads(*current_context);
  return current_context;
}

std::unique_ptr<ThreadContext> Segment::claim_thread() {
  const std::uint32_t own = session_.load(std::memory_order_acquire);
  return retry_after_recovery([this, own] { return claim_free_slot(own); });
}

std::unique_ptr<ThreadContext> Segment::claim_free_slot(std::uint32_t session) {
  if (session <= kReservedSessions) {
    auto [first, end] = reserved_slots(session - 1);
    if (auto context = claim_slot_in(session, first, end, first)) return context;
  }
  // From a place of its own, so that those who come at once do not all try the same.
  const std::uint32_t from = kReservedThreads + (session > kReservedSessions ? session - kReservedSessions - 1 : 0);
  return claim_slot_in(session, kReservedThreads, kMaxThreads, from);
}

// The first free slot of [first, end), beginning at `from`.
std::unique_ptr<ThreadContext> Segment::claim_slot_in(std::uint32_t session, std::uint32_t first, std::uint32_t end,
                                                      std::uint32_t from) {
  std::unique_ptr<ThreadContext> context(new ThreadContext);  // before a claim that could not be given back
  for (std::uint32_t step = 0; step < end - first; ++step) {
    const std::uint32_t index = first + (from - first + step) % (end - first);
    ThreadRecord& record = thread(index);
    Word claim = record.claim.load(std::memory_order_acquire);
    if ((claim & 0xffff'ffff) != 0) continue;
    raise_to(header().threads_used, index + 1);  // before the claim, so that a scan after our death finds the slot
    const Word generation = (claim >> 32) + 1;
    if (!record.claim.compare_exchange_strong(claim, generation << 32 | session)) continue;
    context->begin(*this, SessionIndex{session - 1}, index, static_cast<std::uint32_t>(generation));
    return context;
  }
  return nullptr;
}

// REQUIRES: the slot is the caller's.
void ThreadContext::begin(Segment& segment, SessionIndex session, std::uint32_t slot, std::uint32_t generation) {
  base_ = segment.base();
  record_ = &segment.thread(slot);
  record_->kernel_id.store(static_cast<Word>(syscall(SYS_gettid)), std::memory_order_relaxed);
  index_ = slot;
  session_ = session;
  owner_ = lock_owner(slot, generation);
  segment_.store(&segment, std::memory_order_relaxed);
}

ThreadContext::~ThreadContext() {
  const RecoveryUnderRegistry guard;
  Segment* segment = segment_.load(std::memory_order_relaxed);
  if (segment == nullptr) return;  // the session ended before its thread
  std::erase(segment->contexts_, this);
  try {
    recover_thread(*segment, *this, index_);
  } catch (const std::bad_alloc&) {
    segment->ended_.push_back(index_);
    segment->has_ended_.store(true, std::memory_order_relaxed);
  }
}

void Segment::recover_each_ended(ThreadContext& me) {
  if (recovers_under_registry) return;
  auto& registry = SegmentRegistry::instance();
  for (;;) {
    std::uint32_t thread = 0;
    {
      std::lock_guard guard(registry.mutex);
      has_ended_.store(!ended_.empty(), std::memory_order_relaxed);
      if (ended_.empty()) return;
      thread = ended_.back();
      ended_.pop_back();
    }
    try {
      recover_thread(*this, me, thread);
    } catch (const std::bad_alloc&) {
      std::lock_guard guard(registry.mutex);
      ended_.push_back(thread);
      return;
    }
  }
}

void Segment::leave() {
  std::lock_guard guard(join_mutex_);
  if (!joined()) return;
  SessionIndex own = session_index();
  // Without memory or a thread slot it cannot end in order: then it ends as if it had died, once it has unmapped the
  // segment.
  bool over = true;
  {
    // Under the mutex as a whole: a thread that ends meanwhile finds its slot either its own or given back.
    const RecoveryUnderRegistry registry_guard;
    for (ThreadContext* context : contexts_) {
      try {
        recover_thread(*this, *context, context->index_);
      } catch (const std::bad_alloc&) {
        over = false;
      }
      context->segment_.store(nullptr, std::memory_order_relaxed);
    }
    contexts_.clear();
    spare_pages_.clear();
  }
  SessionRecord& record = session(index_of(own));
  const bool used_semaphores = record.semaphores[0].load(std::memory_order_relaxed) != 0;
  const bool has_ended = has_ended_.load(std::memory_order_relaxed);
  if (used_semaphores || has_ended || record.references.load(std::memory_order_relaxed) != 0) {
    try {
      const std::unique_ptr<ThreadContext> temporary = claim_thread();
      over = over && temporary != nullptr;
      if (temporary != nullptr) recover_ended_threads(*temporary);
      // What it still holds is used up: an end in order is no death. Where a stopped process is in the way, those who
      // recover this process after its end do it.
      if (over && used_semaphores) over = settle_permits(*temporary, own, false);
      if (over) drop_all_references(*temporary, own);
    } catch (const std::bad_alloc&) {
      over = false;
    }
    over = over && !has_ended_.load(std::memory_order_relaxed);
  }
  ended_.clear();
  has_ended_.store(false, std::memory_order_relaxed);
  if (over) {
    record.state.store(session_free_after(record.state.load(std::memory_order_relaxed)), std::memory_order_release);
    note_garbage();  // the cells of a free record refer to nothing
  }
  session_.store(0, std::memory_order_release);
  unlock_byte(lock_fd(), kSessionByte + index_of(own));
  {
    std::lock_guard no_fork(SegmentRegistry::instance().mutex);  // which would copy it, as above
    close_kept(inherited_fd_.exchange(-1, std::memory_order_relaxed), memory_identity());
  }
  ring_bell();
}

void Segment::leave_at_end() {
  const auto own = static_cast<Word>(syscall(SYS_gettid));
  bool alone = true;
  {
    std::lock_guard guard(SegmentRegistry::instance().mutex);
    for (const ThreadContext* context : contexts_) {
      alone = alone && context->record().kernel_id.load(std::memory_order_relaxed) == own;
    }
  }
  if (alone) return leave();
  // A slot of its own: the calling thread's context may be gone by now.
  const std::unique_ptr<ThreadContext> temporary = joined() ? claim_thread() : nullptr;
  if (temporary != nullptr) (void)settle_permits(*temporary, session_index(), false);
}

}  // namespace commonhold::shm
