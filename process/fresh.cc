#include "process/fresh.h"

#include <commonhold/fresh.h>
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <iostream>
#include <map>
#include <vector>

#include "process/child.h"
#include "process/identity.h"

extern char** environ;

namespace commonhold {

namespace detail {

namespace {

// The number of a descriptor that holds the request.
constexpr char kFreshVariable[] = "COMMONHOLD_FRESH_PROCESS";

bool can_run_fresh = false;

// nullptr: two functions have this name.
std::map<std::string_view, FreshFunction>& entries() {
  static auto* all = new std::map<std::string_view, FreshFunction>;
  return *all;
}

struct OpenFile {
  explicit OpenFile(int fd) : fd(fd) {}
  ~OpenFile() { ::close(fd); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd;
};

struct Actions {
  posix_spawn_file_actions_t files;
  Actions() { posix_spawn_file_actions_init(&files); }
  ~Actions() { posix_spawn_file_actions_destroy(&files); }
};

using Request = std::tuple<
    std::string, std::string, bool, bool, std::string, std::int64_t, std::string, std::string,
    std::vector<std::byte>>;  // name, numbers, daemon, wait_for_threads, authkey, parent, its name, entry, arguments

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw SystemError(errno, std::string("writing a process's arguments failed: ") + strerror(errno));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string read_all(int fd) {
  struct stat status {};
  std::string bytes(fstat(fd, &status) == 0 ? static_cast<std::size_t>(status.st_size) : 0, '\0');
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = pread(fd, bytes.data() + size, bytes.size() - size, static_cast<off_t>(size));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace

bool can_start_fresh() noexcept {
  return can_run_fresh;
}

bool enter_fresh(const char* name, FreshFunction function) noexcept {
  auto [at, is_new] = entries().try_emplace(name, function);
  if (!is_new && at->second != function) at->second = nullptr;
  return is_new;
}

pid_t spawn_fresh(const Child& child, const FreshCall& call) {
  if (!can_run_fresh) {
    throw ProcessError(child.name +
                       " cannot be started afresh: main() must call commonhold::run_if_fresh() first, or the "
                       "new process would run the whole program again");
  }
  const auto entry = entries().find(call.entry);
  if (entry == entries().end() || entry->second == nullptr) {
    throw ProcessError(child.name + " cannot be started afresh: the program has several functions of the name " +
                       call.entry + "; give it a name of its own, outside unnamed namespaces");
  }
  auto* bytes = reinterpret_cast<const std::byte*>(call.arguments.data());
  const Identity& self = identity();
  Packer out;
  pack(out, Request(child.name, child.numbers, child.daemon, child.waits_for_threads, self.authkey, getpid(), self.name,
                    call.entry, std::vector<std::byte>(bytes, bytes + call.arguments.size())));
  const OpenFile request(memfd_create("commonhold-process", MFD_CLOEXEC));
  if (request.fd < 0) throw SystemError(errno, std::string("making a process's arguments failed: ") + strerror(errno));
  write_all(request.fd, out.take());

  std::vector<std::string> settings{std::string(kFreshVariable) + "=" + std::to_string(request.fd)};
  std::vector<char*> environment;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) environment.push_back(*at);
  environment.push_back(settings[0].data());
  environment.push_back(nullptr);
  char* arguments[] = {program_invocation_name, nullptr};
  Actions actions;
  posix_spawn_file_actions_adddup2(&actions.files, request.fd, request.fd);  // open in the new program
  pid_t pid = 0;
  const int error = posix_spawn(&pid, "/proc/self/exe", &actions.files, nullptr, arguments, environment.data());
  if (error != 0) throw SystemError(error, "starting " + child.name + " failed: " + strerror(error));
  if (call.tickets != nullptr) call.tickets->are_sent();
  return pid;
}

}  // namespace detail

void run_if_fresh() {
  using namespace detail;
  can_run_fresh = true;
  const char* text = getenv(kFreshVariable);
  if (text == nullptr || getauxval(AT_SECURE) != 0) return;
  const std::string value(text);
  unsetenv(kFreshVariable);
  int fd = -1;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), fd);
  const auto refuse = [&](const std::string& why) {
    std::cerr << "commonhold: " << kFreshVariable << " is \"" << value << "\": " << why << std::endl;
    _exit(2);
  };
  if (error != std::errc() || end != value.data() + value.size() || fd < 0) refuse("it is set by the library alone");
  try {
    std::string bytes = read_all(fd);
    close(fd);
    Unpacker in(bytes);
    auto [name, numbers, daemon, waits_for_threads, authkey, parent, parent_name, entry, arguments] =
        unpack<Request>(in);
    Identity& self = identity();
    self.name = name;
    self.numbers = numbers;
    self.daemon = daemon;
    self.waits_for_threads = waits_for_threads;
    self.authkey = authkey;
    self.parent = static_cast<pid_t>(parent);
    self.parent_name = parent_name;
    if (daemon) end_with_parent(self.parent);
    const auto found = entries().find(entry);
    if (found == entries().end() || found->second == nullptr) refuse("this program has no function " + entry);
    end_as_child();
    struct Call {
      FreshFunction function;
      std::string_view arguments;
    } call{found->second, {reinterpret_cast<const char*>(arguments.data()), arguments.size()}};
    run_child([](void* of) { static_cast<Call*>(of)->function(static_cast<Call*>(of)->arguments); }, &call);
  } catch (const std::exception& failure) {
    refuse(failure.what());
  }
}

}  // namespace commonhold
