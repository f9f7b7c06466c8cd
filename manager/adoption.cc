#include "manager/adoption.h"

#include <errno.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <thread>

#include "rpc/folder_removal.h"
#include "shm/extents_release.h"
#include "shm/lock_file.h"
#include "shm/object_table.h"
#include "shm/recovery.h"
#include "shm/sweep.h"
#include "shm/thread_context.h"

namespace commonhold::manager {

namespace {

// How long others may be about to create, remove or examine the folder, one after the other, while we look.
constexpr auto kRaceTimeout = std::chrono::seconds(2);
constexpr auto kRacePause = std::chrono::milliseconds(1);

ServerError already_running(const rpc::ManagerAddress& address, int pid) {
  return ServerError(
      ServerError::Code::kAlreadyRunning,
      fmt::format("a server for \"{}\" runs already (process {}); connect to it, stop it with `commonhold stop "
                  "{}`, or choose another name",
                  address.name, pid, address.under_root ? address.name : address.folder));
}

ServerError from_segment(const shm::SegmentError& error) {
  using From = shm::SegmentError::Code;
  using To = ServerError::Code;
  To code = error.code() == From::kForeignLayout ? To::kForeignLayout
            : error.code() == From::kPermission  ? To::kPermission
            : error.code() == From::kOutOfMemory ? To::kOutOfMemory
            : error.code() == From::kInvalid     ? To::kInvalid
                                                 : To::kSystem;
  return ServerError(code, error.what());
}

// True when the segment's header says that it is of an earlier boot: nobody can be using it.
bool is_of_another_boot(const rpc::ManagerAddress& address) {
  std::string now;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> now;
  char stored[sizeof(shm::SegmentHeader::boot_id)] = {};
  std::ifstream file(address.segment_file(), std::ios::binary);
  file.seekg(offsetof(shm::SegmentHeader, boot_id));
  file.read(stored, sizeof stored - 1);
  std::string then(stored);
  // Only what looks like a boot id is believed.
  return !now.empty() && then.size() == now.size() && then[8] == '-' && then != now;
}

bool is_same_file(const std::string& path, int fd) {
  struct stat by_path, by_fd;
  return lstat(path.c_str(), &by_path) == 0 && fstat(fd, &by_fd) == 0 && by_path.st_dev == by_fd.st_dev &&
         by_path.st_ino == by_fd.st_ino;
}

// Whether `pid`, which has the server's byte, serves the segment for others to see: one that is starting or ending, or
// looks whether the folder can go, does not.
bool is_announced(shm::Segment& segment, int pid) {
  const shm::SegmentHeader& header = segment.header();
  if (header.shutting_down.load(std::memory_order_acquire) != 0) return false;
  const shm::Word server = header.server_session.load(std::memory_order_acquire);
  if (server == 0 || server > shm::kMaxSessions) return false;
  const auto session = static_cast<std::uint32_t>(server - 1);
  return segment.session(session).pid.load(std::memory_order_relaxed) == static_cast<shm::Word>(pid);
}

// Removes a segment that this program cannot use, when nobody can miss it. Throws otherwise.
void replace_foreign(const rpc::ManagerAddress& address, const shm::SegmentError& error,
                     const std::function<void(const std::string&)>& log) {
  rpc::Occupants occupants = rpc::occupants_of(address);
  if (occupants.server_pid != 0) throw already_running(address, occupants.server_pid);
  if (!address.is_anonymous() && !is_of_another_boot(address)) throw from_segment(error);
  if (rpc::remove_if_dead(address)) throw from_segment(error);
  log(fmt::format("replaced what was left in {}: {}", address.folder, error.what()));
}

// A start that fails takes back the folder that it made. Others may be starting there by now: a segment stays.
class UndoneFolder {
 public:
  explicit UndoneFolder(const rpc::ManagerAddress& address) : address_(address), made_(rpc::prepare_folder(address)) {}
  ~UndoneFolder() {
    if (made_ && !address_.exists()) rpc::remove_unfinished_folder(address_);
  }
  UndoneFolder(const UndoneFolder&) = delete;
  UndoneFolder& operator=(const UndoneFolder&) = delete;
  void keep() { made_ = false; }

 private:
  const rpc::ManagerAddress& address_;
  bool made_;
};

}  // namespace

Tenure::Tenure(const rpc::ManagerAddress& address, std::uint64_t memory_limit,
               const std::function<void(const std::string&)>& log)
    : address_(address) {
  try {
    if (memory_limit != 0) shm::Segment::check_memory_limit(memory_limit);
    UndoneFolder folder(address_);
    take_segment(memory_limit, log);
    try {
      announce();
    } catch (...) {
      segment_.reset();
      if (!adopted_) (void)rpc::remove_if_dead(address_);
      throw;
    }
    folder.keep();
  } catch (const rpc::AddressError& error) {
    throw ServerError(error.code() == rpc::AddressError::Code::kPermission ? ServerError::Code::kPermission
                                                                           : ServerError::Code::kSystem,
                      error.what());
  } catch (const shm::SegmentError& error) {
    throw from_segment(error);
  }
  rpc::remove_temporaries(address_);
  if (adopted_) {
    shm::ThreadContext* me = segment_->here();
    int recovered = shm::recover_all_dead(*segment_, *me);
    shm::finish_release(*me);
    shm::finish_sweep(*me);
    log(fmt::format("adopted the segment in {}: {} objects' records, {} dead sessions recovered", address.folder,
                    segment_->committed_objects(), recovered));
    std::uint64_t limit = segment_->header().max_extents * shm::kExtent;
    if (memory_limit != 0 && memory_limit / shm::kExtent != segment_->header().max_extents) {
      log(fmt::format("its memory limit stays {} bytes: it was fixed when the segment was made", limit));
    }
  }
}

// Opens or makes the segment and takes the server's byte of the lock file that belongs to it.
void Tenure::take_segment(std::uint64_t memory_limit, const std::function<void(const std::string&)>& log) {
  const auto end = std::chrono::steady_clock::now() + kRaceTimeout;
  const auto late = [&] { return std::chrono::steady_clock::now() > end; };
  for (;; std::this_thread::sleep_for(kRacePause)) {
    try {
      adopted_ = address_.exists();
      segment_ = adopted_ ? shm::Segment::adopt(address_.folder)
                          : shm::Segment::create({address_.folder, address_.name, memory_limit});
    } catch (const shm::SegmentError& error) {
      using Code = shm::SegmentError::Code;
      bool raced = error.code() == Code::kExists || error.code() == Code::kNotFound;
      if (error.code() == Code::kForeignLayout) {
        replace_foreign(address_, error, log);
      } else if (!raced) {
        throw;
      }
      if (late()) throw;
      rpc::prepare_folder(address_);
      continue;
    }
    if (take_server_byte()) return;
    int holder = 0;
    (void)shm::byte_is_locked(segment_->lock_fd(), shm::kServerByte, &holder);
    segment_.reset();
    if (late()) throw already_running(address_, holder);
    rpc::prepare_folder(address_);
  }
}

// False when the byte was not to be had, and may be soon: who has it is ending, or the segment was removed meanwhile.
bool Tenure::take_server_byte() {
  shm::SegmentHeader& header = segment_->header();
  // The kernel's byte locks do not tell two servers of one process apart; the header does.
  if (segment_->joined() && header.server_session.load() == shm::index_of(segment_->session_index()) + 1) {
    throw already_running(address_, getpid());
  }
  if (!shm::try_lock_byte(segment_->lock_fd(), shm::kServerByte)) {
    int pid = 0;
    if (!shm::byte_is_locked(segment_->lock_fd(), shm::kServerByte, &pid)) return false;  // it left this moment
    if (!is_announced(*segment_, pid)) return false;
    throw already_running(address_, pid);
  }
  if (is_same_file(address_.segment_file(), segment_->memory_fd()) &&
      is_same_file(address_.locks_file(), segment_->lock_fd())) {
    return true;
  }
  shm::unlock_byte(segment_->lock_fd(), shm::kServerByte);
  return false;
}

void Tenure::announce() {
  shm::SegmentHeader& header = segment_->header();
  header.shutting_down.store(0, std::memory_order_release);  // a predecessor may have died while it shut down
  segment_->set_serving(true);
  if (segment_->here() == nullptr) {
    shm::Status status = segment_->join_failure();
    segment_->set_serving(false);
    shm::unlock_byte(segment_->lock_fd(), shm::kServerByte);
    throw ServerError(ServerError::Code::kSystem, fmt::format("the server cannot join its own segment in {}: {}",
                                                              address_.folder, shm::to_string(status)));
  }
  header.server_starts.fetch_add(1, std::memory_order_release);  // SYNC POINT: a server is counted
  header.server_session.store(shm::index_of(segment_->session_index()) + 1, std::memory_order_release);
}

void Tenure::withdraw() {
  segment_->set_serving(false);
  segment_->header().server_session.store(0, std::memory_order_release);
  shm::unlock_byte(segment_->lock_fd(), shm::kServerByte);
}

Tenure::~Tenure() {
  if (!closed_) withdraw();
}

void Tenure::close() {
  if (closed_) return;
  closed_ = true;
  segment_->header().shutting_down.store(1, std::memory_order_release);
  // Files first, byte second: who finds the byte free finds no files to adopt. A folder of the name that is another one by
  // now, because somebody removed ours, stays.
  if (is_same_file(address_.segment_file(), segment_->memory_fd())) rpc::remove_folder(address_);
  withdraw();
}

int remove_abandoned_folders(const rpc::ManagerAddress& own, std::chrono::seconds at_least_old) {
  int removed = rpc::remove_ended_folders();
  for (const rpc::ManagerAddress& address : rpc::managers_of_user()) {
    if (!address.is_anonymous() || address.folder == own.folder) continue;
    if (!rpc::remove_if_dead(address, at_least_old)) ++removed;
  }
  return removed;
}

}  // namespace commonhold::manager
