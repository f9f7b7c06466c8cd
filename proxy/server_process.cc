#include "proxy/server_process.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string_view>
#include <vector>

#include <commonhold/errors.h>

#include "rpc/authentication.h"
#include "rpc/spawn.h"

extern char** environ;

namespace commonhold::detail {

namespace {

constexpr std::chrono::seconds kStartPatience{20};

struct Pipe {
  OwnedFd read, write;
};

[[noreturn]] void throw_system_error(const char* doing, int error) {
  throw SystemError(error, fmt::format("{} failed: {}", doing, strerror(error)));
}

// Both ends are closed on exec, so that programs started by other threads do not hold them open.
Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw_system_error("making a pipe for a server", errno);
  return {OwnedFd(ends[0]), OwnedFd(ends[1])};
}

// The folder of the file that this code is in: libcommonhold.so, or a program linked with the library's objects.
std::string own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) return {};
  const std::string file = info.dli_fname;
  const auto slash = file.rfind('/');
  return slash == std::string::npos ? std::string() : file.substr(0, slash);
}

// The `commonhold` command that belongs to this library; empty when there is none.
std::string find_command() {
  const std::string folder = own_folder();
  if (folder.empty()) return {};
  // Installed in lib, or in lib/<architecture>; or in a build tree.
  for (const char* place : {"/commonhold", "/../commonhold", "/../bin/commonhold", "/../../bin/commonhold",
                            "/cli/commonhold", "/../cli/commonhold"}) {
    const std::string path = folder + place;
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

// What to execute, and with which environment.
struct Command {
  std::string path;
  bool own_image = false;
};

Command choose_command() {
  if (const char* given = std::getenv(rpc::kServerVariable); given != nullptr && *given != '\0') {
    if (access(given, X_OK) != 0) {
      throw UsageError(
          fmt::format("{} names {}, which cannot be executed: {}", rpc::kServerVariable, given, strerror(errno)));
    }
    return {given, false};
  }
  if (std::string found = find_command(); !found.empty()) return {found, false};
  return {"/proc/self/exe", true};
}

// Strings as execve takes them.
std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> all;
  for (std::string& string : strings) all.push_back(string.data());
  all.push_back(nullptr);
  return all;
}

std::vector<std::string> environment_with(std::vector<std::string> settings) {
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    const std::string_view name = variable.substr(0, variable.find('=') + 1);
    bool replaced = false;
    for (const std::string& setting : settings) replaced = replaced || setting.starts_with(name);
    if (!replaced) settings.emplace_back(variable);
  }
  return settings;
}

struct Actions {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  Actions() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    // The child starts with nothing blocked and nothing caught, whatever the calling thread does.
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Actions() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
};

pid_t spawn(const Command& command, const Actions& actions, std::vector<std::string> arguments,
            std::vector<std::string> environment) {
  auto argv = pointers(arguments);
  auto envp = pointers(environment);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, command.path.c_str(), &actions.files, &actions.attributes, argv.data(), envp.data());
  if (error != 0) throw_system_error(fmt::format("starting a server with {}", command.path).c_str(), error);
  return pid;
}

// The child that was started ends at once, leaving the server to itself. Somebody else may have waited for it.
int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return status;
}

// All that the other end writes until it closes, or until the time is over.
std::string read_to_end(int fd) {
  const auto end = std::chrono::steady_clock::now() + kStartPatience;
  std::string text;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd ready{fd, POLLIN, 0};
    const int polled = left <= 0 ? 0 : poll(&ready, 1, static_cast<int>(left));
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) return text;
    char buffer[1024];
    const ssize_t size = read(fd, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(size));
    if (text.back() == '\n' && text.size() < sizeof buffer) {
      // The ready line is one; what a named server says may be more, and ends with the descriptor.
      if (text.starts_with("ready ") || text.starts_with("failed ")) return text;
    }
  }
}

[[noreturn]] void throw_refusal(const rpc::ReadyLine& line) {
  if (line.code == "already-running") throw NameError(NameError::Reason::kTaken, line.message);
  if (line.code == "invalid") throw NameError(NameError::Reason::kInvalid, line.message);
  if (line.code == "out-of-memory") throw OutOfMemory(line.message);
  if (line.code == "foreign-layout") throw CorruptSegment(line.message);
  throw RemoteError(line.message);
}

std::vector<std::string> key_setting(const ServerPlan& plan) {
  if (!plan.authkey) return {};
  return {fmt::format("{}={}", rpc::kKeyVariable, *plan.authkey)};
}

}  // namespace

OwnedFd& OwnedFd::operator=(OwnedFd&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = other.release();
  }
  return *this;
}

OwnedFd::~OwnedFd() {
  close();
}

int OwnedFd::release() {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

void OwnedFd::close() {
  if (fd_ >= 0) ::close(release());
}

StartedServer start_anonymous_server(const ServerPlan& plan) {
  const Command command = choose_command();
  Pipe ready = make_pipe();
  Pipe lifeline = make_pipe();
  // Above all descriptors of ours, so that the two dup2 below cannot run into each other. dup2 clears close-on-exec.
  OwnedFd lifeline_read(fcntl(lifeline.read.get(), F_DUPFD_CLOEXEC, 16));
  OwnedFd ready_write(fcntl(ready.write.get(), F_DUPFD_CLOEXEC, 16));
  if (lifeline_read.get() < 0 || ready_write.get() < 0) throw_system_error("making a pipe for a server", errno);

  rpc::SpawnRequest request;
  request.lifeline_fd = 3;
  request.ready_fd = 4;
  request.memory_limit = plan.memory_limit;
  request.folder = plan.folder;
  std::vector<std::string> arguments{"commonhold"};
  std::vector<std::string> settings = key_setting(plan);
  if (command.own_image) {
    settings.push_back(fmt::format("{}={}", rpc::kBootstrapVariable, request.environment()));
  } else {
    for (std::string& word : request.arguments()) arguments.push_back(std::move(word));
  }
  Actions actions;
  posix_spawn_file_actions_adddup2(&actions.files, lifeline_read.get(), request.lifeline_fd);
  posix_spawn_file_actions_adddup2(&actions.files, ready_write.get(), request.ready_fd);
  const pid_t child = spawn(command, actions, std::move(arguments), environment_with(std::move(settings)));
  ready.write.close();
  ready_write.close();
  const std::string text = read_to_end(ready.read.get());
  const int status = wait_for(child);

  const auto line = rpc::ReadyLine::parse(text);
  if (!line) {
    throw ServerGone(fmt::format("the server that {} was to become did not come up (wait status {:#x}){}",
                                 command.own_image ? "this program" : command.path, status,
                                 command.own_image ? "; set COMMONHOLD_SERVER to the `commonhold` command" : ""));
  }
  if (!line->ready) throw_refusal(*line);
  return {line->folder, std::move(lifeline.write)};
}

void start_named_server(const std::string& name, const ServerPlan& plan) {
  const Command command = choose_command();
  if (command.own_image) {
    throw UsageError(fmt::format("starting the named manager \"{}\" needs the `commonhold` command: set {} to its path",
                                 name, rpc::kServerVariable));
  }
  std::vector<std::string> arguments{"commonhold", "serve", "--name", name};
  if (plan.memory_limit != 0) {
    arguments.push_back("--memory-limit");
    arguments.push_back(std::to_string(plan.memory_limit));
  }
  Pipe said = make_pipe();
  Actions actions;
  posix_spawn_file_actions_addopen(&actions.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions.files, said.write.get(), STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&actions.files, said.write.get(), STDOUT_FILENO);
  const pid_t child = spawn(command, actions, std::move(arguments), environment_with(key_setting(plan)));
  said.write.close();
  std::string text = read_to_end(said.read.get());
  const int status = wait_for(child);
  if (status == 0) return;
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.find("already") != std::string::npos) throw NameError(NameError::Reason::kTaken, text);
  if (text.empty()) text = fmt::format("the server of \"{}\" did not come up (wait status {:#x})", name, status);
  throw RemoteError(text);
}

}  // namespace commonhold::detail
