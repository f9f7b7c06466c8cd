#include "manager/adoption.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>

#include "shm/lock_file.h"
#include "shm/object_table.h"
#include "shm/recovery.h"
#include "shm/thread_context.h"

namespace commonhold::manager {

namespace {

constexpr int kRaces = 20;  // how often others may create or remove the folder while we look

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
  return stat(path.c_str(), &by_path) == 0 && fstat(fd, &by_fd) == 0 && by_path.st_dev == by_fd.st_dev &&
         by_path.st_ino == by_fd.st_ino;
}

// Removes a segment that this program cannot use, when nobody can miss it. Throws otherwise.
void replace_foreign(const rpc::ManagerAddress& address, const shm::SegmentError& error,
                     const std::function<void(const std::string&)>& log) {
  rpc::Occupants occupants = rpc::occupants_of(address);
  if (occupants.server_pid != 0) throw already_running(address, occupants.server_pid);
  bool replaceable = !occupants.has_clients && (address.is_anonymous() || is_of_another_boot(address));
  if (!replaceable) throw from_segment(error);
  log(fmt::format("replaced what was left in {}: {}", address.folder, error.what()));
  rpc::remove_folder(address);
  rpc::prepare_folder(address);
}

}  // namespace

Tenure::Tenure(const rpc::ManagerAddress& address, std::uint64_t memory_limit,
               const std::function<void(const std::string&)>& log)
    : address_(address) {
  try {
    rpc::prepare_folder(address);
  } catch (const rpc::AddressError& error) {
    throw ServerError(error.code() == rpc::AddressError::Code::kPermission ? ServerError::Code::kPermission
                                                                           : ServerError::Code::kSystem,
                      error.what());
  }
  for (int race = 0; segment_ == nullptr; ++race) {
    try {
      adopted_ = access(address.segment_file().c_str(), F_OK) == 0;
      segment_ = adopted_ ? shm::Segment::open(address.folder)
                          : shm::Segment::create({address.folder, address.name, memory_limit});
    } catch (const shm::SegmentError& error) {
      using Code = shm::SegmentError::Code;
      bool raced = error.code() == Code::kExists || error.code() == Code::kNotFound;
      if (error.code() == Code::kForeignLayout) {
        replace_foreign(address, error, log);
      } else if (!raced) {
        throw from_segment(error);
      }
      if (race == kRaces) throw from_segment(error);
      rpc::prepare_folder(address);
      continue;
    }
    if (!take_server_byte(address)) segment_.reset();
    if (race == kRaces) throw already_running(address, 0);
  }
  announce();
  if (adopted_) {
    shm::ThreadContext* me = segment_->here();
    int recovered = shm::recover_all_dead(*segment_, *me);
    shm::sweep_unowned_chunks(*me);
    log(fmt::format("adopted the segment in {}: {} objects' records, {} dead sessions recovered", address.folder,
                    segment_->header().objects_committed.load(), recovered));
    std::uint64_t limit = segment_->header().max_extents * shm::kExtent;
    if (memory_limit != 0 && memory_limit / shm::kExtent != segment_->header().max_extents) {
      log(fmt::format("its memory limit stays {} bytes: it was fixed when the segment was made", limit));
    }
  }
}

// False when the segment was removed while we took the byte: there is another one by now, or none.
bool Tenure::take_server_byte(const rpc::ManagerAddress& address) {
  shm::SegmentHeader& header = segment_->header();
  // The kernel's byte locks do not tell two servers of one process apart; the header does.
  if (segment_->joined() && header.server_session.load() == shm::index_of(segment_->session_index()) + 1) {
    throw already_running(address, getpid());
  }
  if (!shm::try_lock_byte(segment_->lock_fd(), shm::kServerByte)) {
    int pid = 0;
    if (!shm::byte_is_locked(segment_->lock_fd(), shm::kServerByte, &pid)) return false;  // it left this moment
    throw already_running(address, pid);
  }
  if (is_same_file(address.segment_file(), segment_->memory_fd())) return true;
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
  header.server_starts.fetch_add(1, std::memory_order_relaxed);
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
  // Files first, byte second: who finds the byte free finds no files to adopt.
  rpc::remove_folder(address_);
  withdraw();
}

int remove_abandoned_folders(const rpc::ManagerAddress& own, std::chrono::seconds at_least_old) {
  int removed = rpc::remove_ended_folders();
  for (const rpc::ManagerAddress& address : rpc::managers_of_user()) {
    if (!address.is_anonymous() || address.folder == own.folder) continue;
    struct stat status;
    if (stat(address.folder.c_str(), &status) != 0) continue;
    if (std::chrono::seconds(time(nullptr) - status.st_ctime) < at_least_old) continue;
    rpc::Occupants occupants = rpc::occupants_of(address);
    if (occupants.server_pid != 0 || occupants.has_clients) continue;
    if (rpc::remove_folder(address)) ++removed;
  }
  return removed;
}

}  // namespace commonhold::manager
