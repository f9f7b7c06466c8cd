#include "rpc/address.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "shm/layout.h"
#include "shm/printable.h"

namespace commonhold::rpc {

namespace {

using Code = AddressError::Code;

AddressError system_error(const char* doing, const std::string& path, int error) {
  Code code = error == EACCES || error == EPERM ? Code::kPermission : Code::kSystem;
  return AddressError(code, fmt::format("{} {} failed: {}", doing, path, std::strerror(error)));
}

AddressError cannot_make(const std::string& path, int error) {
  AddressError failure = system_error("making the folder", path, error);
  if (error != ENOENT && error != EROFS && error != EACCES && error != EPERM && error != ENOTDIR) return failure;
  return AddressError(failure.code(),
                      fmt::format("{}; mount /dev/shm, or set {} to a folder of your own, best on a tmpfs",
                                  failure.what(), kHomeVariable));
}

// Makes the folder where it is missing; refuses one that others could have prepared. True when it was made.
bool prepare_private_folder(const std::string& path) {
  const bool made = mkdir(path.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) throw cannot_make(path, errno);
  struct stat found;
  if (lstat(path.c_str(), &found) != 0) throw system_error("looking at the folder", path, errno);
  if (!S_ISDIR(found.st_mode)) {
    throw AddressError(Code::kInvalid,
                       fmt::format("{} is not a folder; move it away or set {} to another place", path, kHomeVariable));
  }
  if (found.st_uid != geteuid()) {
    throw AddressError(Code::kPermission,
                       fmt::format("the folder {} belongs to user {}, and this process runs as user {}; set {} to a "
                                   "folder of your own",
                                   path, found.st_uid, geteuid(), kHomeVariable));
  }
  if ((found.st_mode & 077) != 0) {
    throw AddressError(Code::kPermission,
                       fmt::format("the folder {} lets other users in (mode {:04o}); run: chmod 700 {}", path,
                                   found.st_mode & 07777, path));
  }
  return made;
}

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};
using OpenFolder = std::unique_ptr<DIR, CloseFolder>;

bool is_name_character(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

void check_name(std::string_view name) {
  auto refuse = [&](const std::string& why) {
    return AddressError(Code::kInvalid,
                        fmt::format("\"{}\" cannot be a manager's name: {}", shm::printable(name), why));
  };
  if (name.empty()) throw refuse("it is empty; use 1 to 63 of the characters A-Z a-z 0-9 . _ -");
  if (name.size() > kMaxManagerName) throw refuse(fmt::format("it has {} characters, and 63 are allowed", name.size()));
  if (name.front() == '.') throw refuse("it begins with a dot; begin with a letter or a digit");
  for (char c : name) {
    if (!is_name_character(c)) throw refuse("use only the characters A-Z a-z 0-9 . _ -");
  }
}

ManagerAddress address_from(std::string_view name_or_folder, bool anonymous_allowed) {
  if (name_or_folder.find('/') == std::string_view::npos) {
    check_name(name_or_folder);
    if (!anonymous_allowed && name_or_folder.starts_with(kAnonymousPrefix)) {
      throw AddressError(
          Code::kInvalid,
          fmt::format("\"{}\" cannot be a manager's name: names that begin with \"{}\" are given to managers "
                      "without a name; choose another",
                      name_or_folder, kAnonymousPrefix));
    }
    std::string name(name_or_folder);
    return {name, runtime_root() + "/" + name, true};
  }
  std::string folder(name_or_folder);
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  if (folder.front() != '/') {
    std::unique_ptr<char, decltype(&std::free)> here(getcwd(nullptr, 0), &std::free);
    if (here == nullptr) throw system_error("finding the current folder for", folder, errno);
    folder = std::string(here.get()) + "/" + folder;
  }
  if (folder == "/") throw AddressError(Code::kInvalid, "\"/\" cannot be a manager's folder; give a folder of its own");
  return {folder.substr(folder.rfind('/') + 1), folder, false};
}

}  // namespace

bool ManagerAddress::exists() const {
  struct stat found;
  return lstat(segment_file().c_str(), &found) == 0;
}

bool is_manager_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxManagerName && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), is_name_character);
}

std::string runtime_root() {
  const char* home = std::getenv(kHomeVariable);
  if (home == nullptr || *home == '\0') return fmt::format("/dev/shm/commonhold-{}", geteuid());
  std::string root(home);
  if (root.front() != '/') {
    throw AddressError(Code::kInvalid,
                       fmt::format("{} is \"{}\"; it must be a path that begins with a slash", kHomeVariable, root));
  }
  while (root.size() > 1 && root.back() == '/') root.pop_back();
  return root;
}

void prepare_runtime_root() {
  (void)prepare_private_folder(runtime_root());
}

ManagerAddress address_of(std::string_view name_or_folder) {
  return address_from(name_or_folder, false);
}

ManagerAddress existing_address(std::string_view name_or_folder) {
  return address_from(name_or_folder, true);
}

ManagerAddress anonymous_address() {
  std::uint64_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random) random ^= static_cast<std::uint64_t>(getpid()) << 32;
  std::string name = fmt::format("{}{}-{:016x}", kAnonymousPrefix, getpid(), random);
  return {name, runtime_root() + "/" + name, true};
}

bool prepare_folder(const ManagerAddress& address) {
  if (address.under_root) prepare_runtime_root();
  return prepare_private_folder(address.folder);
}

void require_own(const ManagerAddress& address) {
  struct stat found;
  if (lstat(address.folder.c_str(), &found) != 0 || found.st_uid == geteuid()) return;
  throw AddressError(
      Code::kPermission,
      fmt::format("the manager \"{}\" belongs to user {}, and this process runs as user {}: a manager is "
                  "joined by programs of its own user alone, also by none of root's",
                  address.name, found.st_uid, geteuid()));
}

std::vector<ManagerAddress> managers_of_user() {
  std::vector<ManagerAddress> found;
  std::string root = runtime_root();
  OpenFolder folder(opendir(root.c_str()));
  if (folder == nullptr) {
    if (errno == ENOENT) return found;
    throw system_error("reading the folder", root, errno);
  }
  while (dirent* entry = readdir(folder.get())) {
    std::string_view name = entry->d_name;
    if (!is_manager_name(name)) continue;
    ManagerAddress address{std::string(name), root + "/" + std::string(name), true};
    struct stat status;
    if (lstat(address.folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) found.push_back(std::move(address));
  }
  std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.name < b.name; });
  return found;
}

Occupants occupants_of(const ManagerAddress& address) {
  Occupants found;
  struct stat status;
  if (lstat(address.locks_file().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return found;
  int file = open(address.locks_file().c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) return found;
  struct flock server = {};
  server.l_type = F_WRLCK;
  server.l_whence = SEEK_SET;
  server.l_start = shm::kServerByte;
  server.l_len = 1;
  if (fcntl(file, F_GETLK, &server) == 0 && server.l_type != F_UNLCK) found.server_pid = server.l_pid;
  struct flock clients = {};
  clients.l_type = F_WRLCK;
  clients.l_whence = SEEK_SET;
  clients.l_start = shm::kSessionByte;
  clients.l_len = shm::kMaxSessions;
  // The server is a session too; look past it for another process.
  while (fcntl(file, F_GETLK, &clients) == 0 && clients.l_type != F_UNLCK) {
    if (clients.l_pid != found.server_pid) {
      found.has_clients = true;
      break;
    }
    off_t after = clients.l_start + (clients.l_len == 0 ? 1 : clients.l_len);
    off_t end = shm::kSessionByte + shm::kMaxSessions;
    if (after >= end) break;
    clients.l_type = F_WRLCK;
    clients.l_whence = SEEK_SET;
    clients.l_start = after;
    clients.l_len = end - after;
  }
  close(file);
  return found;
}

}  // namespace commonhold::rpc
