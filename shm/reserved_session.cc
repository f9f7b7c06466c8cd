#include "shm/reserved_session.h"

#include <errno.h>
#include <unistd.h>

#include <new>
#include <string>

#include "shm/boot_clock.h"
#include "shm/liveness.h"
#include "shm/lock_file.h"
#include "shm/recovery.h"
#include "shm/references.h"

namespace commonhold::shm {

namespace {

// Whether nobody alive has to do with a record whose byte the caller holds.
bool is_abandoned(const Segment& segment, std::uint32_t index, Word state) {
  if (session_state(state) == SessionState::kLive) return session_process_is_gone(segment, SessionIndex{index});
  if (session_state(state) != SessionState::kRecovering) return false;
  const std::uint32_t recoverer = recoverer_of(state);
  return recoverer != 0 && recoverer <= kMaxSessions && recoverer != index + 1 && recoverer_is_dead(segment, state);
}

}  // namespace

void raise_to(AtomicWord& mark, Word least) {
  Word seen = mark.load(std::memory_order_relaxed);
  while (seen < least && !mark.compare_exchange_weak(seen, least)) {
  }
}

void write_process(SessionRecord& record) {
  record.pid_space.store(own_pid_space(), std::memory_order_relaxed);
  record.joined_ns.store(boot_clock_ns(), std::memory_order_relaxed);
  char title[sizeof record.title] = {};
  std::string(program_invocation_short_name).copy(title, sizeof title - 1);
  write_words(record.title, title, sizeof title);
  record.pid.store(static_cast<Word>(getpid()), std::memory_order_release);
}

void write_identity(SessionRecord& record) {
  record.references.store(0, std::memory_order_relaxed);
  for (AtomicWord& noted : record.semaphores) noted.store(0, std::memory_order_relaxed);
  write_process(record);
}

ReservedSession::ReservedSession(Segment& segment, bool is_server) : segment_(segment) {
  if (is_server && take(0)) return;
  for (std::uint32_t index = kReservedSessions - 1; index > 0; --index) {
    if (take(index)) return;
  }
  if (!is_server) (void)take(0);
}

ReservedSession::~ReservedSession() {
  if (context_ == nullptr) return;
  free_slot();
  if (!kept_) free_record();
  let_go();
}

SessionIndex ReservedSession::keep() {
  kept_ = true;
  return SessionIndex{index_};
}

bool ReservedSession::take(std::uint32_t index) {
  if (segment_.is_own(SessionIndex{index})) return false;
  index_ = index;
  // Before the byte: to our own threads it looks free.
  segment_.reserved_.store(index + 1, std::memory_order_release);
  bool was_used = false;
  if (claim_record(index, was_used)) {
    const bool has_slot = claim_slot(index);
    try {
      if (has_slot && (!was_used || recover_predecessor(segment_, *context_))) {
        if (was_used) write_identity(segment_.session(index));
        return true;
      }
      if (has_slot) free_slot();
    } catch (const std::bad_alloc&) {
      forget_slot();  // with what it left
    }
    // What the predecessor left and could not be recovered keeps the record in use, for the next who tries.
    if (!was_used) free_record();
  }
  let_go();
  return false;
}

bool ReservedSession::claim_record(std::uint32_t index, bool& was_used) {
  SessionRecord& record = segment_.session(index);
  if (!try_lock_byte(segment_.lock_fd(), kSessionByte + index)) return false;
  holds_byte_ = true;
  Word state = record.state.load(std::memory_order_acquire);
  was_used = session_state(state) != SessionState::kFree;
  if (was_used) {
    // The generation differs, so whoever had the proof of the predecessor's death before we had the byte fails.
    return is_abandoned(segment_, index, state) &&
           record.state.compare_exchange_strong(state, session_live_after(state));
  }
  clear_references(segment_, SessionIndex{index});
  write_identity(record);
  raise_to(segment_.header().sessions_used, index + 1);
  record.state.store(session_live_after(state), std::memory_order_release);
  return true;
}

bool ReservedSession::claim_slot(std::uint32_t index) {
  const std::uint32_t slot = reserved_slots(index).first;
  std::unique_ptr<ThreadContext> context(new ThreadContext);
  ThreadRecord& record = segment_.thread(slot);
  Word claim = record.claim.load(std::memory_order_acquire);
  const bool is_predecessors = (claim & 0xffff'ffff) == index + 1;
  if (!is_predecessors) {
    if ((claim & 0xffff'ffff) != 0) return false;  // no writer of ours leaves that
    raise_to(segment_.header().threads_used, slot + 1);
    const Word taken = ((claim >> 32) + 1) << 32 | (index + 1);
    if (!record.claim.compare_exchange_strong(claim, taken)) return false;
    claim = taken;
  }
  // A predecessor's slot is used as its owner, who recovers itself as a thread does that ends with locks held.
  context->begin(segment_, SessionIndex{index}, slot, static_cast<std::uint32_t>(claim >> 32));
  if (is_predecessors) context->depth_ = kAnnouncements;
  context_ = std::move(context);
  return true;
}

void ReservedSession::free_slot() {
  recover_thread(segment_, *context_, context_->index());
  forget_slot();
}

void ReservedSession::forget_slot() {
  context_->segment_.store(nullptr, std::memory_order_relaxed);
  context_.reset();
}

void ReservedSession::free_record() {
  AtomicWord& state = segment_.session(index_).state;
  state.store(session_free_after(state.load(std::memory_order_relaxed)), std::memory_order_release);
}

void ReservedSession::let_go() {
  if (holds_byte_ && !kept_) unlock_byte(segment_.lock_fd(), kSessionByte + index_);
  holds_byte_ = false;
  segment_.reserved_.store(0, std::memory_order_release);
}

}  // namespace commonhold::shm
