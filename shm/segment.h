// The shared-memory segment as one process sees it: a folder with the memory file, the lock file and the bell, mapped
// once per process, never remapped, never moved.
//
//   FOLDER/segment   the memory: sparse, `total_bytes` long, backed extent by extent
//   FOLDER/locks     fcntl byte locks: who is alive (liveness.h)
//   FOLDER/bell      a FIFO: a byte wakes the server's housekeeper
//   FOLDER/socket    the server's address (rpc/)
//
// Thread safety: everything here may be called from any thread. A forked child keeps the mapping and becomes a session
// of its own at its first change (here()).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "shm/ids.h"
#include "shm/kept_file.h"
#include "shm/layout.h"
#include "shm/segment_error.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

class FileMapping;

class Segment : public std::enable_shared_from_this<Segment> {
 public:
  struct CreateOptions {
    std::string folder;              // made with mode 0700 if absent
    std::string name;                // shown to people
    std::uint64_t memory_limit = 0;  // bytes for objects; 0 = all that the file system holds
  };

  // Makes the segment under a temporary name and links it to its own. Throws SegmentError: kExists when there is one,
  // kInvalid before anything is made. A death at any instruction leaves a folder in which the next create() or adopt()
  // finds its way.
  static std::shared_ptr<Segment> create(const CreateOptions& options);
  // kInvalid for a memory limit that create() refuses.
  static void check_memory_limit(std::uint64_t bytes);

  // Maps an existing segment; gives the same object for the same folder. Throws SegmentError: kNotFound,
  // kForeignLayout (magic, version, layout, boot: the message says which), kPermission.
  static std::shared_ptr<Segment> open(const std::string& folder) { return open(folder, false); }
  // The same for a server, which makes the lock file and the bell where somebody removed them.
  static std::shared_ptr<Segment> adopt(const std::string& folder) { return open(folder, true); }

  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  std::byte* base() const { return base_; }
  SegmentHeader& header() const { return *reinterpret_cast<SegmentHeader*>(base_); }
  const std::string& folder() const { return folder_; }
  // Where things are. Copied from the header when it was checked: what is written there later moves nothing.
  struct Tables {
    Offset sessions = 0, threads = 0, objects = 0, extents = 0, granules = 0, data = 0;
    std::uint64_t max_extents = 0;
  };
  const Tables& tables() const { return tables_; }
  // The folder's files, opened again where the program closed them behind our back; -1 where that cannot be done. Locks
  // that were lost with the lock file's descriptor are taken again.
  int memory_fd() const;
  int lock_fd() const;
  int bell_fd() const;
  const FileIdentity& memory_identity() const { return memory_.identity(); }

  // REQUIRES: the caller knows that `offset` holds a T (it wrote it, or checked it).
  template <typename T>
  T* at(Offset offset) const {
    return reinterpret_cast<T*>(base_ + offset);
  }
  Offset offset_of(const void* address) const {
    return static_cast<Offset>(static_cast<const std::byte*>(address) - base_);
  }

  // True when [offset, offset + size) lies in memory that is backed and holds objects. The check for every offset
  // that was read from the segment.
  bool holds(Offset offset, std::uint64_t size) const {
    std::uint64_t backed = backed_bytes_.load(std::memory_order_relaxed);
    if (size <= backed && offset - tables_.data <= backed - size) [[likely]]
      return true;
    return holds_after_growth(offset, size);
  }

  // The backed memory as last seen, for code that has many offsets to check.
  struct Backed {
    std::byte* base;
    Offset from;
    std::uint64_t bytes;

    // For what cannot reach over an extent's end: 8, 16, 32 or 64 bytes, aligned to their size. One comparison.
    // False also when memory has grown meanwhile: holds() knows.
    bool holds_unit(Offset offset) const { return offset - from < bytes; }
    // For up to kBlock bytes from there. One comparison; false also for the last kBlock bytes.
    static constexpr std::uint64_t kBlock = 2048;
    bool holds_block(Offset offset) const { return offset - from < (bytes > kBlock ? bytes - kBlock : 0); }
    template <typename T>
    T* at(Offset offset) const {
      return reinterpret_cast<T*>(base + offset);
    }
  };
  Backed backed() const { return {base_, tables_.data, backed_bytes_.load(std::memory_order_relaxed)}; }

  // How much of each table is in use, as the header says, and never more than is there: what bounds a walk over a table
  // is read through these.
  //
  // SYNC POINT: committed. Extents and object records are counted as far as this process has seen that the kernel has
  // memory for them: reading a hole would take memory, or end in SIGBUS where there is none left.
  std::uint64_t committed_extents() const {
    const std::uint64_t said = header().committed_extents.load(std::memory_order_acquire);
    const std::uint64_t seen = backed_bytes_.load(std::memory_order_relaxed) / kExtent;
    return said <= seen ? said : extents_after_growth(said);
  }
  std::uint32_t committed_objects() const {
    const Word said = header().objects_committed.load(std::memory_order_acquire);
    const std::uint32_t seen = backed_objects_.load(std::memory_order_relaxed);
    return said <= seen ? static_cast<std::uint32_t>(said) : objects_after_growth(said);
  }
  std::uint32_t threads_used() const {
    const Word said = header().threads_used.load(std::memory_order_seq_cst);
    return said < kMaxThreads ? static_cast<std::uint32_t>(said) : kMaxThreads;
  }
  std::uint32_t sessions_used() const {
    const Word said = header().sessions_used.load(std::memory_order_acquire);
    return said < kMaxSessions ? static_cast<std::uint32_t>(said) : kMaxSessions;
  }

  SessionRecord& session(std::uint32_t index) const;
  ThreadRecord& thread(std::uint32_t index) const;

  // The calling thread's owner identity, joining as a session first where needed. nullptr: no session or thread slot is
  // free, or the segment is shutting down (join_failure() says which).
  ThreadContext* here() {
    ThreadContext* context = ThreadContext::current();
    if (context != nullptr && context->segment_.load(std::memory_order_relaxed) == this) [[likely]]
      return context;
    return here_slowly();
  }
  Status join_failure() const;

  // This process's session, or none while it only read.
  bool joined() const { return session_.load(std::memory_order_acquire) != 0; }
  SessionIndex session_index() const { return SessionIndex{session_.load(std::memory_order_acquire) - 1}; }
  // Where the tables are full, the dead among those who fill them are recovered first.
  Status join();
  // Whether the session is this process's: the one that it joined as, or a reserved one in whose name it recovers.
  bool is_own(SessionIndex session) const {
    std::uint32_t number = index_of(session) + 1;
    return session_.load(std::memory_order_acquire) == number || reserved_.load(std::memory_order_acquire) == number;
  }
  // From then on this process joins by a record that is reserved for a server. For whoever serves the segment.
  void set_serving(bool serves) { serves_.store(serves, std::memory_order_relaxed); }
  // session_index() + 1, 0 for none: for code that looks at it often.
  const std::atomic<std::uint32_t>& session_number() const { return session_; }

  // Ends this process's session in good order: thread slots freed, references dropped, the server told.
  // REQUIRES: no thread of this process uses the segment meanwhile.
  void leave();

  // Gives back the slots of threads that ended while there was no memory for it. Called by waiters and by new threads.
  void recover_ended_threads(ThreadContext& me) {
    if (has_ended_.load(std::memory_order_relaxed)) [[unlikely]]
      recover_each_ended(me);
  }

  // At the end of the process, whose other threads go on until it is gone. Leaves, unless one of them may be in the
  // middle of a change: then the session ends with the process, and what they left is repaired as after a death. But
  // permits that the process holds are used up, as by any end in order.
  void leave_at_end();

  // ---- forks (fork_session.cc), in this order; the registry's handlers call them

  // Takes memory for the child's references. REQUIRES: the registry's mutex is not held. It may wait, for short.
  void reserve_for_child();
  // REQUIRES, of these: the registry's mutex is held. They wait for nobody.
  void prepare_child();
  void after_fork_in_parent();
  // True when the child refers to all that its parent referred to.
  bool after_fork_in_child();
  // The process (SegmentRegistry::generation) that noted the first of the references that this session has: a child's
  // may be its parent's.
  unsigned references_since() const { return references_since_.load(std::memory_order_relaxed); }

  // The state of garbage that this process last awaited in vain (sweep.cc).
  std::atomic<Word>& awaited_in_vain() const { return awaited_in_vain_; }

  // Says that something may be destroyed now, and rings the bell, unless it was rung for what the sweep has not seen
  // yet. Then again from time to time: whoever was to ring may be stopped.
  void note_garbage() const {
    constexpr Word kRingEach = 64;
    // SYNC POINT: garbage: paired with the end of the sweep, which looks once more.
    const Word noted = header().garbage_noted.fetch_add(1, std::memory_order_seq_cst);
    if ((noted - header().garbage_swept.load(std::memory_order_seq_cst)) % kRingEach == 0) ring_bell();
  }

  // Wakes the server's housekeeper. Never blocks; two system calls.
  void ring_bell() const;

 private:
  friend class SegmentRegistry;
  friend class ThreadContext;
  friend class ReservedSession;
  friend class ContextsOfThread;
  Segment();
  static std::shared_ptr<Segment> open(const std::string& folder, bool make_companions);
  void map_file(const std::string& path);
  bool holds_after_growth(Offset offset, std::uint64_t size) const;
  int get_and_keep_locks(const KeptFile& file) const;
  void take_bytes_again(int lock_fd) const;
  bool is_backed(Offset offset) const;
  std::uint64_t extents_after_growth(Word said) const;
  std::uint32_t objects_after_growth(Word said) const;
  ThreadContext* here_slowly();
  void recover_each_ended(ThreadContext& me);
  bool join_reserved();
  bool join_free_record();
  // A slot for the calling thread, which the caller makes known in contexts_.
  std::unique_ptr<ThreadContext> claim_thread();
  std::unique_ptr<ThreadContext> claim_free_slot(std::uint32_t session);
  std::unique_ptr<ThreadContext> claim_slot_in(std::uint32_t session, std::uint32_t first, std::uint32_t end,
                                               std::uint32_t from);
  template <typename Attempt>
  auto retry_after_recovery(Attempt&& attempt);
  bool claim_record_for_child(int fd, std::uint32_t& index) const;
  void lock_own_byte_of_child();

  std::unique_ptr<FileMapping> mapping_;
  std::byte* base_ = nullptr;
  Tables tables_;
  mutable std::atomic<std::uint64_t> backed_bytes_{0};    // of data, as last seen
  mutable std::atomic<std::uint32_t> backed_objects_{0};  // object records, likewise
  std::string folder_;
  KeptFile memory_, locks_, bell_;
  std::atomic<std::uint32_t> session_{0};  // index + 1
  // index + 1 of a reserved session that a thread recovers in the name of (reserved_session.h)
  std::atomic<std::uint32_t> reserved_{0};
  std::atomic<bool> serves_{false};
  mutable std::atomic<Word> awaited_in_vain_{~Word{0}};
  std::atomic<Status> join_failure_{Status::kOk};
  std::mutex join_mutex_;
  std::mutex reserved_mutex_;  // one thread at a time recovers in the name of a reserved session
  std::atomic<unsigned> references_since_{0};
  std::vector<Offset> spare_pages_;  // reference pages for a forked child; guarded by the registry's mutex
  int child_fd_ = -1;                // while a fork is under way
  // Of a child that did not get its byte of the lock file: it lives by this one (fork_session.cc).
  std::atomic<int> inherited_fd_{-1};
  std::uint32_t child_index_ = 0;  // likewise
  // Guarded by the registry's mutex: the contexts of this process's threads, and the slots of those that could not be
  // recovered. The second has room for all of the first.
  std::vector<ThreadContext*> contexts_;
  std::vector<std::uint32_t> ended_;
  std::atomic<bool> has_ended_{false};
};

}  // namespace commonhold::shm
