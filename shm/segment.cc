#include "shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fstream>

#include "shm/extents.h"
#include "shm/file_mapping.h"
#include "shm/folder.h"
#include "shm/heap.h"
#include "shm/lock_file.h"
#include "shm/object_table.h"
#include "shm/segment_registry.h"

namespace commonhold::shm {

namespace {

using Code = SegmentError::Code;

// Empty where the system has none. Throws when it cannot be read now: for want of a descriptor, say.
std::string read_boot_id() {
  constexpr char kPath[] = "/proc/sys/kernel/random/boot_id";
  const FileDescriptor file(::open(kPath, O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && (errno == ENOENT || errno == EACCES)) return {};
  char id[sizeof SegmentHeader::boot_id] = {};
  ssize_t size = file.get() < 0 ? -1 : read(file.get(), id, sizeof id - 1);
  if (size < 0) throw segment_system_error("read", kPath, errno);
  while (size > 0 && id[size - 1] == '\n') --size;
  return {id, static_cast<std::size_t>(size)};
}

// Of objects: a slot names an entry with 38 bits of 16 bytes, and the tables grow with the limit.
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;
// Behind the last extent: a structure at an offset that is garbage, of which only the beginning was checked, ends here.
constexpr std::uint64_t kSlackBytes = kExtent;

std::uint64_t tables_end(std::uint64_t max_extents, SegmentHeader& header) {
  header.sessions_at = kPage;
  header.threads_at = header.sessions_at + sizeof(SessionRecord) * kMaxSessions;
  header.objects_at = header.threads_at + sizeof(ThreadRecord) * kMaxThreads + kReferencePagesBytes;
  header.extents_at = header.objects_at + sizeof(ObjectRecord) * std::uint64_t{kMaxObjects};
  header.granules_at = header.extents_at + round_up(max_extents * sizeof(Word), kPage);
  return round_up(header.granules_at + max_extents * kGranulesPerExtent * sizeof(std::uint32_t), kExtent);
}

std::uint64_t tables_bytes(std::uint64_t max_extents) {
  SegmentHeader header{};
  return tables_end(max_extents, header);
}

// What a manager may hold when nobody says: all of its file system, or, where the address space of processes is limited,
// so much that programs which are as limited can map the segment and have most of their space for themselves.
std::uint64_t default_limit(std::uint64_t file_system_bytes) {
  std::uint64_t limit = std::min(file_system_bytes, kMostBytes);
  struct rlimit space {};
  if (getrlimit(RLIMIT_AS, &space) != 0 || space.rlim_cur == RLIM_INFINITY) return limit;
  std::uint64_t used_pages = 0;
  std::ifstream("/proc/self/statm") >> used_pages;
  const std::uint64_t taken = used_pages * kPage + tables_bytes(space.rlim_cur / kExtent);
  const std::uint64_t room = space.rlim_cur > taken ? space.rlim_cur - taken : 0;
  return std::min(limit, std::max(room / 4, kExtent));
}

std::uint64_t eagerly_backed(const SegmentHeader& header) {
  return header.objects_at - kReferencePagesBytes + kPagesBackedAtFirst * kReferencePageBytes;
}

void make_folder(const std::string& folder) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) throw segment_system_error("make the folder", folder, errno);
}

// Says in words why a header is not ours, or nothing.
std::string foreign(const SegmentHeader& header, std::uint64_t file_bytes) {
  if (header.magic != kMagic)
    return fmt::format("its magic is {:#x}, not {:#x}: no segment of Commonhold", header.magic, kMagic);
  if (header.format_version != kFormatVersion) {
    return fmt::format("its format version is {}, this program's is {}", header.format_version, kFormatVersion);
  }
  if (header.layout_hash != layout_hash()) {
    return fmt::format("its layout hash is {:#x}, this program's is {:#x} (another architecture or build)",
                       header.layout_hash, layout_hash());
  }
  if (header.total_bytes != file_bytes) {
    return fmt::format("its header says {} bytes, the file has {}", header.total_bytes, file_bytes);
  }
  SegmentHeader expected{};
  if (header.max_extents > kMostBytes / kExtent || header.data_at != tables_end(header.max_extents, expected) ||
      header.sessions_at != expected.sessions_at || header.threads_at != expected.threads_at ||
      header.objects_at != expected.objects_at || header.extents_at != expected.extents_at ||
      header.granules_at != expected.granules_at ||
      header.total_bytes != header.data_at + header.max_extents * kExtent + kSlackBytes) {
    return "its table offsets do not fit its size";
  }
  std::string boot = read_boot_id();
  if (boot.compare(0, sizeof header.boot_id - 1, header.boot_id) != 0) {
    return fmt::format("it was made in boot {}, this is boot {}", header.boot_id, boot);
  }
  return {};
}

}  // namespace

std::uint32_t layout_hash() {
  const std::uint16_t one = 1;
  const std::uint64_t facts[] = {sizeof(SegmentHeader),
                                 sizeof(SessionRecord),
                                 sizeof(ThreadRecord),
                                 sizeof(ObjectRecord),
                                 sizeof(HeapState),
                                 sizeof(void*),
                                 kGranule,
                                 kExtent,
                                 kMaxSessions,
                                 kMaxThreads,
                                 kMaxObjects,
                                 kReferencePagesBytes,
                                 kAnnouncements,
                                 *reinterpret_cast<const std::uint8_t*>(&one)};
  std::uint64_t hash = 0xcbf29ce484222325;
  for (std::uint64_t fact : facts) hash = (hash ^ fact) * 0x100000001b3;
  return static_cast<std::uint32_t>(hash ^ hash >> 32);
}

Segment::Segment() = default;

Segment::~Segment() {
  if (base_ != nullptr) leave();
  for (KeptFile* file : {&memory_, &locks_, &bell_}) file->close();
  // Last: whoever opens the segment again waits for it, since to close the lock file drops the locks that were taken
  // through any descriptor.
  SegmentRegistry::instance().remove(this);
}

void Segment::check_memory_limit(std::uint64_t bytes) {
  if (bytes < kExtent) {
    throw SegmentError(Code::kInvalid,
                       fmt::format("a memory limit of {} bytes is too small; {} is the least", bytes, kExtent));
  }
  if (bytes > kMostBytes) {
    throw SegmentError(Code::kInvalid,
                       fmt::format("a memory limit of {} bytes is too large; {} is the most", bytes, kMostBytes));
  }
}

std::shared_ptr<Segment> Segment::create(const CreateOptions& options) {
  if (options.name.size() > kMaxNameBytes) {
    throw SegmentError(Code::kInvalid, fmt::format("the name \"{}\" has {} bytes; at most {} are allowed", options.name,
                                                   options.name.size(), kMaxNameBytes));
  }
  if (options.memory_limit != 0) check_memory_limit(options.memory_limit);
  make_folder(options.folder);
  const Folder folder(options.folder);
  folder.refuse_unless_plain("locks");
  const std::string path = options.folder + "/segment";
  const std::string temporary = fmt::format("segment.{}", getpid());

  struct statvfs space {};
  if (fstatvfs(folder.fd(), &space) != 0) throw segment_system_error("look at", options.folder, errno);
  const std::uint64_t limit =
      options.memory_limit != 0 ? options.memory_limit : default_limit(space.f_blocks * space.f_frsize);
  check_memory_limit(limit);

  SegmentHeader header{};
  header.magic = kMagic;
  header.format_version = kFormatVersion;
  header.layout_hash = layout_hash();
  read_boot_id().copy(header.boot_id, sizeof header.boot_id - 1);
  header.max_extents = limit / kExtent;
  header.data_at = tables_end(header.max_extents, header);
  header.total_bytes = header.data_at + header.max_extents * kExtent + kSlackBytes;
  options.name.copy(header.name, kMaxNameBytes);
  if (getrandom(&header.nonce, sizeof header.nonce, 0) < 0) {
    throw segment_system_error("draw random bytes for", path, errno);
  }

  // The header first: what a maker that dies leaves under the temporary name shows whose it is.
  unlinkat(folder.fd(), temporary.c_str(), 0);
  const FileDescriptor fd(openat(folder.fd(), temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd.get() < 0) throw segment_system_error("make", options.folder + "/" + temporary, errno);
  int error = 0;
  if (pwrite(fd.get(), static_cast<void*>(&header), sizeof header, 0) != sizeof header) error = errno;
  if (error == 0 && ftruncate(fd.get(), static_cast<off_t>(header.total_bytes)) != 0) error = errno;
  if (error == 0) error = posix_fallocate(fd.get(), 0, static_cast<off_t>(eagerly_backed(header)));
  // The lock file and the bell before the segment has its name: who finds a segment finds all of it. The lock file is
  // not opened: to close it would drop the locks of a server of the same name in this process.
  if (error == 0 && mknodat(folder.fd(), "locks", S_IFREG | 0600, 0) != 0 && errno != EEXIST) error = errno;
  if (error == 0 && mkfifoat(folder.fd(), "bell", 0600) != 0 && errno != EEXIST) error = errno;
  // link() and not rename(): it fails when somebody else was first.
  if (error == 0 && linkat(folder.fd(), temporary.c_str(), folder.fd(), "segment", 0) != 0) error = errno;
  unlinkat(folder.fd(), temporary.c_str(), 0);
  if (error != 0) throw segment_system_error("make the segment", path, error);
  // `fd` is open until then: nobody takes the file for one without users.
  try {
    return adopt(options.folder);
  } catch (...) {
    if (folder.still_names("segment", fd.get()) && !is_in_use_elsewhere(fd.get())) {
      unlinkat(folder.fd(), "segment", 0);
      unlinkat(folder.fd(), "locks", 0);
    }
    throw;
  }
}

std::shared_ptr<Segment> Segment::open(const std::string& folder_path, bool make_companions) {
  const std::string path = folder_path + "/segment";
  std::lock_guard opening(SegmentRegistry::instance().opening);
  const Folder folder(folder_path);
  FileDescriptor file = folder.open_file("segment");
  struct stat status {};
  if (fstat(file.get(), &status) != 0) throw segment_system_error("look at", path, errno);
  if (auto known = SegmentRegistry::instance().find(status.st_dev, status.st_ino)) return known;
  if (status.st_uid != geteuid() && geteuid() != 0) {
    throw SegmentError(Code::kPermission,
                       fmt::format("{} belongs to user {}, not to user {}", path, status.st_uid, geteuid()));
  }

  SegmentHeader header{};
  ssize_t got = pread(file.get(), static_cast<void*>(&header), sizeof header, 0);
  if (got != sizeof header) {
    throw SegmentError(Code::kForeignLayout, fmt::format("{} has {} bytes, less than a header", path, got));
  }
  std::string why = foreign(header, static_cast<std::uint64_t>(status.st_size));
  if (!why.empty()) {
    throw SegmentError(Code::kForeignLayout,
                       fmt::format("{} cannot be used: {}. Stop the programs that use it and remove {}, or use the "
                                   "version that made it",
                                   path, why, folder_path));
  }
  std::shared_ptr<Segment> segment(new Segment);
  segment->folder_ = folder_path;
  segment->tables_ = {header.sessions_at, header.threads_at, header.objects_at, header.extents_at,
                      header.granules_at, header.data_at,    header.max_extents};
  segment->memory_.keep(file.release(), path, O_RDWR);
  segment->map_file(path);
  const int locks = folder.open_file("locks", make_companions ? O_CREAT : 0).release();
  segment->locks_.keep(locks, folder_path + "/locks", O_RDWR);
  segment->bell_.keep(folder.open_bell(make_companions).release(), folder_path + "/bell", O_RDWR | O_NONBLOCK);
  // Its files go one after the other when a manager ends, the segment before the lock file: while the segment is there,
  // the lock file is the one that belongs to it.
  if (!folder.still_names("segment", segment->memory_.get()) || !folder.still_names("locks", locks)) {
    throw SegmentError(Code::kNotFound, fmt::format("the manager in {} ended while it was opened", folder_path));
  }
  SegmentRegistry::instance().add(status.st_dev, status.st_ino, segment);
  return segment;
}

void Segment::map_file(const std::string& path) {
  mapping_ = std::make_unique<FileMapping>(memory_.get(), path);
  base_ = mapping_->base();
  (void)holds_after_growth(0, 0);
}

int Segment::memory_fd() const {
  return get_and_keep_locks(memory_);
}

int Segment::bell_fd() const {
  return get_and_keep_locks(bell_);
}

int Segment::lock_fd() const {
  bool renewed = false;
  const int fd = locks_.get(&renewed);
  if (renewed) take_bytes_again(fd);
  return fd;
}

// Whoever closed one of the files has probably closed the lock file, too.
int Segment::get_and_keep_locks(const KeptFile& file) const {
  bool renewed = false;
  const int fd = file.get(&renewed);
  if (renewed) (void)lock_fd();
  return fd;
}

// To this process's user of the folder nobody else is entitled; one who only looks holds a byte for a moment.
void Segment::take_bytes_again(int lock_fd) const {
  constexpr int kTries = 100;
  const auto take = [&](std::uint64_t byte) {
    for (int i = 0; i < kTries && !try_lock_byte(lock_fd, byte); ++i) usleep(100);
  };
  if (serves_.load(std::memory_order_relaxed)) take(kServerByte);
  for (const auto* session : {&session_, &reserved_}) {
    if (const std::uint32_t number = session->load(std::memory_order_acquire)) take(kSessionByte + number - 1);
  }
}

bool Segment::holds_after_growth(Offset offset, std::uint64_t size) const {
  const std::uint64_t backed = committed_extents() * kExtent;
  return offset >= tables_.data && size <= backed && offset - tables_.data <= backed - size;
}

// Whoever commits memory writes to each page of object records, and of the granule table, before it says so: from then
// on the kernel tells such a page from a hole. True also where it cannot tell.
bool Segment::is_backed(Offset offset) const {
  const off_t page = static_cast<off_t>(offset / kPage * kPage);
  const off_t found = lseek(memory_fd(), page, SEEK_DATA);
  return found == page || (found < 0 && errno != ENXIO);
}

// They are committed from the first to the last, so the last one speaks for all: its page of the granule table, which
// stays when extents go back to the system. It speaks for 16 extents.
std::uint64_t Segment::extents_after_growth(Word said) const {
  constexpr std::uint64_t kEntries = kGranulesPerExtent * sizeof(std::uint32_t);
  const std::uint64_t seen = backed_bytes_.load(std::memory_order_relaxed) / kExtent;
  if (said > tables_.max_extents || !is_backed(tables_.granules + said * kEntries - 1)) return seen;
  backed_bytes_.store(said * kExtent, std::memory_order_relaxed);
  return said;
}

std::uint32_t Segment::objects_after_growth(Word said) const {
  const std::uint32_t seen = backed_objects_.load(std::memory_order_relaxed);
  if (said > kMaxObjects || !is_backed(tables_.objects + said * sizeof(ObjectRecord) - 1)) return seen;
  backed_objects_.store(static_cast<std::uint32_t>(said), std::memory_order_relaxed);
  return static_cast<std::uint32_t>(said);
}

SessionRecord& Segment::session(std::uint32_t index) const {
  return at<SessionRecord>(tables_.sessions)[index];
}

ThreadRecord& Segment::thread(std::uint32_t index) const {
  return at<ThreadRecord>(tables_.threads)[index];
}

void Segment::ring_bell() const {
  char byte = 1;
  if (write(bell_fd(), &byte, 1) < 0) {
    // EAGAIN: the pipe is full, so the housekeeper has every reason to look anyway.
  }
}

}  // namespace commonhold::shm
