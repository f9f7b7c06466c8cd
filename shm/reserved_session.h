// A session record and a thread slot that the dead cannot keep others from: for a process that has to recover the dead
// before there is room for it, and for the server.
//
// The first records of the session table and the first thread slots are reserved, and each reserved slot belongs to
// one reserved record. Whoever gets the record's byte of the lock file may use both, also when a dead process left
// them in use: then the predecessor is recovered first, in the name of the very record, so that it takes no third one.
//
// What a death leaves: a live record whose byte is free and whose process is gone, which anybody recovers or takes over
// like any other. The identity of the predecessor stays in the record until it is recovered, so that a death before
// leaves the record as it was found.
//
// Thread safety: one at a time in a process (Segment::reserved_mutex_): its own byte looks free to every thread of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "shm/ids.h"
#include "shm/segment.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

// The reserved thread slots of a reserved session: [first, end).
struct ReservedSlots {
  std::uint32_t first, end;
};
constexpr ReservedSlots reserved_slots(std::uint32_t session) {
  return session == 0 ? ReservedSlots{0, kServerThreads}
                      : ReservedSlots{kServerThreads + session - 1, kServerThreads + session};
}

class ReservedSession {
 public:
  // Takes a reserved record that no live process uses; none when there is none. The server's record is the last choice
  // of everybody but the server, whose first it is.
  explicit ReservedSession(Segment& segment, bool is_server = false);
  // Gives the slot back, and the record unless keep() was called.
  ~ReservedSession();
  ReservedSession(const ReservedSession&) = delete;
  ReservedSession& operator=(const ReservedSession&) = delete;

  explicit operator bool() const { return context_ != nullptr; }
  ThreadContext& me() const { return *context_; }
  // The record stays this process's session.
  SessionIndex keep();

 private:
  bool take(std::uint32_t index);
  bool claim_record(std::uint32_t index, bool& was_used);
  bool claim_slot(std::uint32_t index);
  void free_slot();
  void forget_slot();
  void free_record();
  void let_go();

  Segment& segment_;
  std::uint32_t index_ = 0;
  std::unique_ptr<ThreadContext> context_;
  bool holds_byte_ = false, kept_ = false;
};

// Writes which process this is, its pid last.
void write_process(SessionRecord& record);

// The same for a new session. REQUIRES: the caller holds the record's byte, and its state is free or was taken over.
void write_identity(SessionRecord& record);

// At least: a mark of how far a table is in use.
void raise_to(AtomicWord& mark, Word least);

}  // namespace commonhold::shm
