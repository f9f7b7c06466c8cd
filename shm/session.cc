// Joining and leaving: session records, thread slots, and the contexts of this process's threads.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "shm/lock_file.h"
#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/segment.h"
#include "shm/segment_registry.h"
#include "shm/semaphore.h"

namespace commonhold::shm {

namespace detail {
constinit thread_local ThreadContext* current_context = nullptr;
}
using detail::current_context;

namespace {

// A thread's contexts, one per segment it worked on. Ends with the thread: the slots go back.
struct ThreadContexts {
  std::vector<ThreadContext*> all;
  ~ThreadContexts();
};

thread_local ThreadContexts thread_contexts;

ThreadContexts::~ThreadContexts() {
  current_context = nullptr;
  for (ThreadContext* context : all) delete context;
}

Word pid_space() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

Word boot_clock_ns() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<Word>(now.tv_sec) * 1'000'000'000 + static_cast<Word>(now.tv_nsec);
}

void raise_to(AtomicWord& mark, Word least) {
  Word seen = mark.load(std::memory_order_relaxed);
  while (seen < least && !mark.compare_exchange_weak(seen, least)) {
  }
}

}  // namespace

Status Segment::join_failure() const {
  return join_failure_.load(std::memory_order_relaxed);
}

Status Segment::join() {
  std::lock_guard guard(join_mutex_);
  if (joined()) return Status::kOk;
  if (header().shutting_down.load(std::memory_order_acquire) != 0) return Status::kGone;
  for (std::uint32_t index = 0; index < kMaxSessions; ++index) {
    SessionRecord& record = session(index);
    Word state = record.state.load(std::memory_order_acquire);
    if (static_cast<SessionState>(state & 0xff) != SessionState::kFree) continue;
    if (!try_lock_byte(lock_fd_, kSessionByte + index)) continue;
    state = record.state.load(std::memory_order_acquire);
    if (static_cast<SessionState>(state & 0xff) != SessionState::kFree) {
      unlock_byte(lock_fd_, kSessionByte + index);
      continue;
    }
    // The byte is ours: nobody else writes the record until the state is live.
    record.pid.store(static_cast<Word>(getpid()), std::memory_order_relaxed);
    static const Word space = pid_space();
    record.pid_space.store(space, std::memory_order_relaxed);
    record.joined_ns.store(boot_clock_ns(), std::memory_order_relaxed);
    record.references.store(0, std::memory_order_relaxed);
    for (AtomicWord& noted : record.semaphores) noted.store(0, std::memory_order_relaxed);
    char title[sizeof record.title] = {};
    std::string(program_invocation_short_name).copy(title, sizeof title - 1);
    write_words(record.title, title, sizeof title);
    raise_to(header().sessions_used, index + 1);
    Word generation = (state >> 32) + 1;
    record.state.store(generation << 32 | static_cast<Word>(SessionState::kLive), std::memory_order_release);
    session_.store(index + 1, std::memory_order_release);
    ring_bell();
    return Status::kOk;
  }
  return Status::kTooMany;
}

ThreadContext* Segment::here_slowly() {
  for (ThreadContext* context : thread_contexts.all) {
    if (context->segment_.load(std::memory_order_relaxed) == this) return current_context = context;
  }
  std::erase_if(thread_contexts.all, [](ThreadContext* context) {
    if (context->segment_.load(std::memory_order_relaxed) != nullptr) return false;
    if (current_context == context) current_context = nullptr;
    delete context;
    return true;
  });
  Status joined_status = joined() ? Status::kOk : join();
  if (joined_status != Status::kOk) {
    join_failure_.store(joined_status, std::memory_order_relaxed);
    return nullptr;
  }
  ThreadContext* context = claim_thread();
  if (context == nullptr) {
    join_failure_.store(Status::kTooMany, std::memory_order_relaxed);
    return nullptr;
  }
  thread_contexts.all.push_back(context);
  return current_context = context;
}

ThreadContext* Segment::claim_thread() {
  std::uint32_t own = session_.load(std::memory_order_acquire);
  for (std::uint32_t step = 0; step < kMaxThreads; ++step) {
    std::uint32_t index = (own - 1 + step) % kMaxThreads;
    ThreadRecord& record = thread(index);
    Word claim = record.claim.load(std::memory_order_acquire);
    if ((claim & 0xffff'ffff) != 0) continue;
    raise_to(header().threads_used, index + 1);  // before the claim, so that a scan after our death finds the slot
    Word generation = (claim >> 32) + 1;
    if (!record.claim.compare_exchange_strong(claim, generation << 32 | own)) continue;
    record.kernel_id.store(static_cast<Word>(syscall(SYS_gettid)), std::memory_order_relaxed);
    auto* context = new ThreadContext;
    context->base_ = base_;
    context->record_ = &record;
    context->index_ = index;
    context->owner_ = lock_owner(index, static_cast<std::uint32_t>(generation));
    auto& registry = SegmentRegistry::instance();
    std::lock_guard guard(registry.mutex);
    context->segment_.store(this, std::memory_order_relaxed);
    contexts_.push_back(context);
    return context;
  }
  return nullptr;
}

ThreadContext::~ThreadContext() {
  auto& registry = SegmentRegistry::instance();
  std::lock_guard guard(registry.mutex);
  Segment* segment = segment_.load(std::memory_order_relaxed);
  if (segment == nullptr) return;  // the session ended before its thread
  std::erase(segment->contexts_, this);
  recover_thread(*segment, *this, index_);
}

void Segment::leave() {
  auto& registry = SegmentRegistry::instance();
  std::lock_guard guard(join_mutex_);
  if (!joined()) return;
  SessionIndex own = session_index();
  {
    // Under the mutex as a whole: a thread that ends meanwhile finds its slot either its own or given back.
    std::lock_guard registry_guard(registry.mutex);
    for (ThreadContext* context : contexts_) {
      recover_thread(*this, *context, context->index_);
      context->segment_.store(nullptr, std::memory_order_relaxed);
    }
    contexts_.clear();
  }
  std::unique_ptr<ThreadContext> temporary;
  SessionRecord& record = session(index_of(own));
  bool used_semaphores = record.semaphores[0].load(std::memory_order_relaxed) != 0;
  if (used_semaphores || record.references.load(std::memory_order_relaxed) != 0) {
    temporary.reset(claim_thread());
    // What it still holds is used up: an end in order is no death.
    if (temporary != nullptr && used_semaphores) (void)settle_permits(*temporary, own, false);
    if (temporary != nullptr) drop_all_references(*temporary, own);
  }
  if (temporary != nullptr) recover_thread(*this, *temporary, temporary->index_);
  {
    std::lock_guard registry_guard(registry.mutex);
    if (temporary != nullptr) temporary->segment_.store(nullptr, std::memory_order_relaxed);
    contexts_.clear();
  }
  Word state = record.state.load(std::memory_order_relaxed);
  record.state.store(state >> 32 << 32, std::memory_order_release);
  session_.store(0, std::memory_order_release);
  unlock_byte(lock_fd_, kSessionByte + index_of(own));
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
  const std::unique_ptr<ThreadContext> temporary(joined() ? claim_thread() : nullptr);
  if (temporary != nullptr) (void)settle_permits(*temporary, session_index(), false);
}

// ---- announcements beyond the common case

// Drops what is stale; true when there is room then. Entries move downwards, so whoever looks for one in another
// thread's slot looks from the end: it is seen in its old place or in its new one.
bool ThreadContext::make_room() {
  // Locks that another thread has freed for us leave their announcement behind: drop those first.
  std::uint32_t kept = 0;
  for (std::uint32_t i = 0; i < depth_; ++i) {
    Word entry = record_->announced[i].load(std::memory_order_relaxed);
    bool stale = entry == 0;
    if ((entry & 7) == static_cast<Word>(Announced::kWord)) {
      auto* word = reinterpret_cast<LockWord*>(base_ + (entry & ~Word{7}));
      stale = (word->state.load(std::memory_order_relaxed) & ~kLockWaiters) != owner_;
    }
    // Written to its new place before its old place is reused: a death in between sees it twice, never not at all.
    if (!stale) record_->announced[kept++].store(entry, std::memory_order_release);
  }
  for (std::uint32_t i = kept; i < depth_; ++i) record_->announced[i].store(0, std::memory_order_release);
  depth_ = kept;
  return depth_ < kAnnouncements;
}

void ThreadContext::push_slowly(Word announcement) {
  if (make_room()) {
    record_->announced[depth_++].store(announcement, std::memory_order_relaxed);
  } else {
    record_->overflow.fetch_add(1, std::memory_order_relaxed);
  }
}

bool ThreadContext::retract_shared(Offset control) {
  Word mark = control | static_cast<Word>(Announced::kShared);
  for (std::uint32_t i = depth_; i-- > 0;) {
    if (record_->announced[i].load(std::memory_order_relaxed) != mark) continue;
    record_->announced[i].exchange(0, std::memory_order_seq_cst);
    while (depth_ > 0 && record_->announced[depth_ - 1].load(std::memory_order_relaxed) == 0) --depth_;
    return true;
  }
  return false;
}

void ThreadContext::pop_slowly(Word announcement) {
  for (std::uint32_t i = depth_; i-- > 0;) {
    if (record_->announced[i].load(std::memory_order_relaxed) != announcement) continue;
    record_->announced[i].store(0, std::memory_order_relaxed);
    while (depth_ > 0 && record_->announced[depth_ - 1].load(std::memory_order_relaxed) == 0) --depth_;
    return;
  }
  if (record_->overflow.load(std::memory_order_relaxed) != 0) {
    record_->overflow.fetch_sub(1, std::memory_order_relaxed);
  }
}

}  // namespace commonhold::shm
