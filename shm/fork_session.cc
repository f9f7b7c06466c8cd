// A forked child's session is made before the fork, by its parent, so that the child refers to all that it inherits
// from its first instruction on, whoever is killed when.
//
//   parent, before the fork                       parent, after it        child, after it
//   ------------------------                      ----------------        ---------------
//   locks byte i of the memory file with an       closes its              writes who it is, its pid last
//   open-file-description lock, through a         descriptor              locks byte i of the lock file
//   descriptor of its own                                                 closes its descriptor
//   record i: live, pid 0; copies its references
//
// INVARIANT: from the moment when the record is live, one of the two bytes is locked as long as the child lives or may
// still come into being: the first lock belongs to the open file, which parent and child share. So a record with pid 0
// and both bytes free has no process: the fork failed, or parent or child were killed in between. Recovery frees it
// (liveness.h). The memory file and not the lock file: closing a descriptor drops all fcntl locks that the process has
// on that file. A child that does not get its byte of the lock file, because a joining process is probing it, keeps the
// descriptor until it does, or leaves: as long as it is open nobody takes the record.
//
// A process that joins locks its byte of the lock file, then looks at that of the memory file; who prepares a fork locks
// in the memory file, then looks at the lock file. So no record is taken by both.
//
// Where nothing can be prepared (no free record, no descriptor, no memory for more references than a session's own page
// has), the fork goes on, and the child joins and refers at its first change.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <utility>

#include "shm/extents.h"
#include "shm/liveness.h"
#include "shm/lock_file.h"
#include "shm/references.h"
#include "shm/reserved_session.h"
#include "shm/segment.h"
#include "shm/segment_registry.h"

namespace commonhold::shm {

namespace {

// For how long a fork waits for the lock that memory for the child's references needs: its owner may be stopped.
constexpr std::chrono::milliseconds kForkTimeout{20};

bool is_free(const SessionRecord& record) {
  return session_state(record.state.load(std::memory_order_acquire)) == SessionState::kFree;
}

}  // namespace

void Segment::reserve_for_child() {
  if (!joined()) return;
  const std::size_t wanted = pages_for_copy(*this, session_index());
  {
    std::lock_guard guard(SegmentRegistry::instance().mutex);
    if (wanted <= spare_pages_.size()) return;
  }
  ThreadContext* me = here();
  if (me == nullptr) return;
  const Deadline deadline = Deadline::after(kForkTimeout);
  for (std::size_t i = 0; i <= wanted; ++i) {  // one more: other threads go on
    Offset page = 0;
    if (take_reference_page(*me, deadline, page) != Status::kOk) return;
    std::lock_guard guard(SegmentRegistry::instance().mutex);
    spare_pages_.push_back(page);
  }
}

// A free record whose byte of the memory file is locked through `fd`.
bool Segment::claim_record_for_child(int fd, std::uint32_t& index) const {
  for (index = kReservedSessions; index < kMaxSessions; ++index) {
    if (!is_free(session(index)) || !try_lock_open_file(fd, kSessionByte + index)) continue;
    // SYNC POINT: record taken: paired with join_free_record(). The system calls before and after make no fence.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!byte_is_locked_by_anyone(lock_fd(), kSessionByte + index) && is_free(session(index))) return true;
    unlock_open_file(fd, kSessionByte + index);
  }
  return false;
}

void Segment::prepare_child() {
  child_fd_ = -1;
  if (!joined() || header().shutting_down.load(std::memory_order_acquire) != 0) return;
  if (!has_references(*this, session_index())) return;
  // Not blocking: whoever looks whether the file is in use may have a lease on it.
  const int fd = ::open((folder_ + "/segment").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return;
  std::uint32_t index = 0;
  if (!memory_identity().is(fd) || !claim_record_for_child(fd, index) || !back_references(*this, SessionIndex{index})) {
    close(fd);
    return;
  }
  SessionRecord& record = session(index);
  record.pid.store(0, std::memory_order_relaxed);
  const SessionRecord& own = session(index_of(session_index()));
  record.pid_space.store(own.pid_space.load(std::memory_order_relaxed), std::memory_order_relaxed);
  record.joined_ns.store(own.joined_ns.load(std::memory_order_relaxed), std::memory_order_relaxed);
  char title[sizeof record.title];
  read_words(title, own.title, sizeof title);
  write_words(record.title, title, sizeof title);
  for (AtomicWord& noted : record.semaphores) noted.store(0, std::memory_order_relaxed);
  clear_references(*this, SessionIndex{index});
  raise_to(header().sessions_used, index + 1);
  record.state.store(session_live_after(record.state.load(std::memory_order_relaxed)), std::memory_order_seq_cst);
  if (!copy_references(*this, session_index(), SessionIndex{index}, spare_pages_)) {
    close(fd);  // as if the child had died: recovery gives the record back
    ring_bell();
    return;
  }
  child_fd_ = fd;
  child_index_ = index;
}

void Segment::after_fork_in_parent() {
  if (child_fd_ < 0) return;
  close(child_fd_);
  child_fd_ = -1;
  // A fork that failed, or a child that died before it said who it is: nobody but recovery frees the record.
  const bool unknown = session(child_index_).pid.load(std::memory_order_acquire) == 0;
  if (unknown && !byte_is_locked(memory_fd(), kSessionByte + child_index_)) ring_bell();
}

// True when the child refers to all that its parent referred to.
bool Segment::after_fork_in_child() {
  spare_pages_.clear();  // the parent's
  session_.store(0, std::memory_order_relaxed);
  // Its lock is the parent's, and would outlive it here.
  close_kept(inherited_fd_.exchange(-1, std::memory_order_relaxed), memory_identity());
  if (child_fd_ < 0) return false;
  SessionRecord& record = session(child_index_);
  inherited_fd_.store(std::exchange(child_fd_, -1), std::memory_order_relaxed);
  write_process(record);
  session_.store(child_index_ + 1, std::memory_order_release);
  lock_own_byte_of_child();
  ring_bell();
  return true;
}

// A joining process may be probing the byte: then the open file's lock says the same, until the next attempt. REQUIRES:
// no fork meanwhile.
void Segment::lock_own_byte_of_child() {
  int fd = inherited_fd_.load(std::memory_order_relaxed);
  if (fd < 0 || !try_lock_byte(lock_fd(), kSessionByte + index_of(session_index()))) return;
  if (inherited_fd_.compare_exchange_strong(fd, -1)) close_kept(fd, memory_identity());
}

}  // namespace commonhold::shm
