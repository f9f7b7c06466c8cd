#include "rpc/folder_removal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "shm/folder.h"
#include "shm/layout.h"
#include "shm/lock_file.h"
#include "shm/printable.h"
#include "shm/segment_registry.h"

namespace commonhold::rpc {

namespace {

using shm::FileDescriptor;

constexpr std::string_view kEndedPrefix = ".ended-";

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// The rest behind "PREFIX<digits>-", or nothing when the name does not begin so.
std::optional<std::string_view> behind_pid(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  const std::size_t dash = name.find('-');
  if (dash == std::string_view::npos || !is_digits(name.substr(0, dash))) return std::nullopt;
  return name.substr(dash + 1);
}

// Names that only the library gives.
bool is_anonymous_name(std::string_view name) {
  const auto random = behind_pid(name, kAnonymousPrefix);
  return random && random->size() == 16 && is_hex(*random);
}
bool is_ended_name(std::string_view name) {
  const auto former = behind_pid(name, kEndedPrefix);
  return former && is_manager_name(*former);
}

// What an entry of that name is in a manager's folder: a type as in st_mode; 0 for none of a manager's.
unsigned type_of_entry(std::string_view name) {
  if (name == "segment" || name == "locks" || name == "authkey" || name == "authkey.new") return S_IFREG;
  if (name.starts_with("segment.") && is_digits(name.substr(8))) return S_IFREG;
  if (name == "bell") return S_IFIFO;
  if (name == "socket" || name == "socket.new") return S_IFSOCK;
  return 0;
}

bool is_temporary(std::string_view name) {
  return type_of_entry(name) != 0 && name.find('.') != std::string_view::npos;
}

bool holds_segment(std::string_view name) {
  return name.starts_with("segment");
}

std::vector<std::string> entries_of(int folder) {
  std::vector<std::string> found;
  // A description of its own: reading moves its position.
  const int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> open_folder(again < 0 ? nullptr : fdopendir(again), &closedir);
  if (open_folder == nullptr) return found;
  while (const dirent* entry = readdir(open_folder.get())) {
    const std::string_view name(entry->d_name);
    if (name != "." && name != "..") found.emplace_back(name);
  }
  return found;
}

struct Contents {
  std::vector<std::string> names;
  bool has_segment = false;  // under its name or a temporary one
  std::optional<std::string> objection;
};

bool begins_with_magic(int folder, const char* name) {
  const FileDescriptor file(openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  shm::Word magic = 0;
  return file.get() >= 0 && pread(file.get(), &magic, sizeof magic, 0) == sizeof magic && magic == shm::kMagic;
}

// Looks at everything in the folder; `name` is the folder's own.
Contents look_into(int folder, std::string_view name) {
  Contents found;
  const auto object = [&](std::string why) { found.objection = std::move(why); };
  struct stat status {};
  if (fstat(folder, &status) != 0) {
    object(std::strerror(errno));
    return found;
  }
  if (status.st_uid != geteuid()) object(fmt::format("it belongs to user {}", status.st_uid));
  if ((status.st_mode & 077) != 0) object(fmt::format("it lets other users in (mode {:04o})", status.st_mode & 07777));
  if (found.objection) return found;
  found.names = entries_of(folder);
  bool magic = false;
  for (const std::string& entry : found.names) {
    const unsigned type = type_of_entry(entry);
    const bool looked = fstatat(folder, entry.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (!looked && errno == ENOENT) continue;  // gone meanwhile
    if (type == 0 || !looked || (status.st_mode & S_IFMT) != type || status.st_uid != geteuid()) {
      object(fmt::format("\"{}\" in it is no file of a manager's", shm::printable(entry)));
      return found;
    }
    // A maker that died between its link() and its unlink() left one segment under both of its names.
    const auto twin = [&](const std::string& other) { return other != entry && holds_segment(other); };
    const bool may_have_two = holds_segment(entry) && std::any_of(found.names.begin(), found.names.end(), twin);
    if (status.st_nlink > (may_have_two ? 2u : 1u)) {
      object(fmt::format("\"{}\" in it has another name elsewhere", entry));
      return found;
    }
    if (!holds_segment(entry)) continue;
    found.has_segment = true;
    if (begins_with_magic(folder, entry.c_str())) {
      magic = true;
    } else if (entry == "segment" || status.st_size != 0) {
      object(fmt::format("\"{}\" in it is no segment", entry));
      return found;
    }
  }
  if (!magic && !is_anonymous_name(name) && !is_ended_name(name)) object("there is no segment in it");
  return found;
}

bool is_mapped_here(int folder) {
  struct stat status {};
  return fstatat(folder, "segment", &status, AT_SYMLINK_NOFOLLOW) == 0 &&
         shm::SegmentRegistry::instance().has(status.st_dev, status.st_ino);
}

// The lock on the server's byte, for as long as the descriptor is open.
std::optional<std::string> why_alive(int folder, const Contents& contents, FileDescriptor& locks) {
  locks = FileDescriptor(openat(folder, "locks", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (locks.get() >= 0) {
    if (!shm::try_lock_byte(locks.get(), shm::kServerByte)) return "a server runs there";
    if (shm::any_byte_is_locked(locks.get(), shm::kSessionByte, shm::kMaxSessions)) return "clients use it";
  } else if (errno != ENOENT) {
    return fmt::format("its lock file cannot be opened: {}", std::strerror(errno));
  }
  for (const std::string& name : contents.names) {
    if (!holds_segment(name)) continue;
    const FileDescriptor segment(openat(folder, name.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (segment.get() < 0 && errno != ENOENT) return fmt::format("cannot look at {}: {}", name, std::strerror(errno));
    if (segment.get() >= 0 && shm::is_in_use_elsewhere(segment.get())) return "a process has its segment open";
  }
  return std::nullopt;
}

void unlink_entries(int folder, bool (*wanted)(std::string_view)) {
  for (const std::string& name : entries_of(folder)) {
    if (type_of_entry(name) != 0 && wanted(name)) unlinkat(folder, name.c_str(), 0);
  }
}

// In a folder that still has its name: the segment first, for without it there is nothing to adopt; the lock file last,
// for it keeps a new server out until nothing of this one is left.
void empty_in_place(int folder) {
  unlinkat(folder, "segment", 0);
  unlink_entries(folder, [](std::string_view name) { return name != "locks"; });
  unlinkat(folder, "locks", 0);
}

// In a folder that was moved aside: the segment last, for it proves whose the folder is.
void empty_aside(int folder) {
  unlink_entries(folder, [](std::string_view name) { return !holds_segment(name); });
  unlink_entries(folder, holds_segment);
}

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

FileDescriptor open_directory(int at, const char* path) {
  return FileDescriptor(openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

bool remove_directory(int at, const char* path) {
  return unlinkat(at, path, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

// Removes the open folder's files and the folder. True when it is gone.
bool remove_open_folder(const ManagerAddress& address, int folder) {
  if (address.under_root) {
    const FileDescriptor root = open_directory(AT_FDCWD, runtime_root().c_str());
    const std::string aside = fmt::format("{}{}-{}", kEndedPrefix, getpid(), address.name);
    struct stat ours {
    }, moved{};
    // Moved out of the way atomically, so that a new server of the name never meets half a folder.
    if (root.get() >= 0 && fstat(folder, &ours) == 0 &&
        renameat2(root.get(), address.name.c_str(), root.get(), aside.c_str(), RENAME_NOREPLACE) == 0) {
      if (fstatat(root.get(), aside.c_str(), &moved, AT_SYMLINK_NOFOLLOW) == 0 && is_same_file(ours, moved)) {
        empty_aside(folder);
        return remove_directory(root.get(), aside.c_str());
      }
      // Another folder has the name by now: it gets it back.
      renameat2(root.get(), aside.c_str(), root.get(), address.name.c_str(), RENAME_NOREPLACE);
      return false;
    }
  }
  empty_in_place(folder);
  return remove_directory(AT_FDCWD, address.folder.c_str());
}

}  // namespace

bool remove_folder(const ManagerAddress& address) {
  const FileDescriptor folder = open_directory(AT_FDCWD, address.folder.c_str());
  if (folder.get() < 0) return errno == ENOENT;
  return remove_open_folder(address, folder.get());
}

void remove_unfinished_folder(const ManagerAddress& address) {
  const FileDescriptor folder = open_directory(AT_FDCWD, address.folder.c_str());
  if (folder.get() < 0) return;
  std::lock_guard opening(shm::SegmentRegistry::instance().opening);
  if (address.exists()) return;  // this process may have it mapped: closing `locks` would give up its locks on it
  // Who has just made a segment there and opened this lock file does not get the server's byte of it, or finds then
  // that it has lost its name, and opens another one.
  const FileDescriptor locks(openat(folder.get(), "locks", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (locks.get() >= 0) {
    if (!shm::try_lock_byte(locks.get(), shm::kServerByte) || address.exists()) return;
    unlinkat(folder.get(), "bell", 0);
    unlinkat(folder.get(), "locks", 0);
  } else if (errno == ENOENT && !address.exists()) {
    unlinkat(folder.get(), "bell", 0);
  }
  remove_directory(AT_FDCWD, address.folder.c_str());
}

std::optional<std::string> remove_if_dead(const ManagerAddress& address, std::chrono::seconds at_least_old) {
  const FileDescriptor folder = open_directory(AT_FDCWD, address.folder.c_str());
  if (folder.get() < 0) return fmt::format("it cannot be opened: {}", std::strerror(errno));
  const Contents contents = look_into(folder.get(), address.name);
  if (contents.objection) return contents.objection;
  struct stat status {};
  if (!contents.has_segment && fstat(folder.get(), &status) == 0 &&
      std::chrono::seconds(time(nullptr) - status.st_ctime) < at_least_old) {
    return "it may be in the making";
  }
  // Nobody in this process maps the segment meanwhile: to close `locks` gives up all locks that the process has on it.
  std::lock_guard opening(shm::SegmentRegistry::instance().opening);
  if (is_mapped_here(folder.get())) return "this process has its segment open";
  FileDescriptor locks;  // open until all is done: it keeps servers out
  if (auto alive = why_alive(folder.get(), contents, locks)) return alive;
  if (!remove_open_folder(address, folder.get())) return "something is left in it";
  return std::nullopt;
}

std::optional<std::string> why_not_a_managers(const ManagerAddress& address) {
  const FileDescriptor folder = open_directory(AT_FDCWD, address.folder.c_str());
  if (folder.get() < 0) return fmt::format("it cannot be opened: {}", std::strerror(errno));
  return look_into(folder.get(), address.name).objection;
}

int remove_ended_folders() {
  int removed = 0;
  const FileDescriptor root = open_directory(AT_FDCWD, runtime_root().c_str());
  if (root.get() < 0) return removed;
  for (const std::string& name : entries_of(root.get())) {
    if (!is_ended_name(name)) continue;
    const FileDescriptor folder = open_directory(root.get(), name.c_str());
    if (folder.get() < 0 || look_into(folder.get(), name).objection) continue;
    empty_aside(folder.get());
    if (remove_directory(root.get(), name.c_str())) ++removed;
  }
  return removed;
}

void remove_temporaries(const ManagerAddress& address) {
  const FileDescriptor folder = open_directory(AT_FDCWD, address.folder.c_str());
  if (folder.get() >= 0) unlink_entries(folder.get(), is_temporary);
}

}  // namespace commonhold::rpc
