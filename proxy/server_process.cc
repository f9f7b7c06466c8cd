#include "proxy/server_process.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/single_threaded.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <vector>

#include <commonhold/errors.h>
#include <commonhold/type.h>

#include "rpc/authentication.h"
#include "rpc/call_loop.h"
#include "rpc/custom_types.h"
#include "rpc/spawn.h"
#include "shm/segment_registry.h"

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
  bool own_image = false;  // executed again, with the request in the environment
  bool late = false;       // it takes the request when it calls serve_if_asked
};

// Set once this program has called serve_if_asked: executed again, it will serve there.
std::atomic<bool> serves_when_asked{false};

Command choose_command() {
  // No other image knows this program's types.
  if (rpc::has_custom_types() && serves_when_asked) return {"/proc/self/exe", true, true};
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

// The threads of this process now: glibc's mark stays once there was a second one.
bool has_one_thread() {
  if (__libc_single_threaded) return true;
  std::error_code error;
  std::filesystem::directory_iterator tasks("/proc/self/task", error);
  return !error && std::distance(tasks, std::filesystem::directory_iterator()) == 1;
}

// True when a fork of this program can become a server as it is, which saves the 3 ms of executing another image: it
// has one thread, no KJ loop, and so little memory of its own that a server may keep a copy of it.
// With types of its own the program is forked however large it is: another image would not know them.
bool can_fork_server() {
  constexpr unsigned long kMostPages = 16384 / 4;  // 16 MiB
  if (rpc::serve_in_this_image == nullptr) return false;
  if (!shm::SegmentRegistry::instance().empty() || rpc::thread_has_loop()) return false;
  if (rpc::has_custom_types()) return has_one_thread();
  if (!__libc_single_threaded) return false;
  std::ifstream file("/proc/self/statm");
  unsigned long size = 0, resident = 0, shared = 0;
  return file >> size >> resident >> shared && resident - shared < kMostPages;
}

pid_t fork_server(const rpc::SpawnRequest& request, const ServerPlan& plan) {
  const pid_t pid = fork();
  if (pid < 0) throw_system_error("starting a server by fork", errno);
  if (pid != 0) return pid;
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (plan.authkey) setenv(rpc::kKeyVariable, plan.authkey->c_str(), 1);
  _exit(rpc::serve_in_this_image(request));
}

// The child that was started ends at once, leaving the server to itself. Somebody else may have waited for it.
int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return status;
}

// What the other end writes until it ends the line or closes, or until the time is over.
std::string read_line(int fd) {
  const auto end = std::chrono::steady_clock::now() + kStartPatience;
  std::string text;
  while (text.empty() || text.back() != '\n') {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd ready{fd, POLLIN, 0};
    const int polled = left <= 0 ? 0 : poll(&ready, 1, static_cast<int>(left));
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) break;
    char buffer[1024];
    const ssize_t size = read(fd, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    text.append(buffer, static_cast<std::size_t>(size));
  }
  return text;
}

// How a child ended that was to become a server and said nothing.
std::string end_in_words(int status) {
  if (status == -1) return "another part of this program waited for it, so its exit status is unknown";
  if (WIFSIGNALED(status))
    return fmt::format("it was killed by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  if (WEXITSTATUS(status) == 127) return "exit status 127: the program, or a library that it needs, was not found";
  if (WEXITSTATUS(status) == 126) return "exit status 126: the program cannot be executed";
  return fmt::format("exit status {}, and not a word whether it is ready", WEXITSTATUS(status));
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

}  // namespace commonhold::detail

void commonhold::serve_if_asked() {
  namespace rpc = commonhold::rpc;
  commonhold::detail::serves_when_asked = rpc::serve_in_this_image != nullptr;
  const char* value = getenv(rpc::kLateBootstrapVariable);
  if (value == nullptr || getauxval(AT_SECURE) != 0) return;
  const std::string words(value);
  unsetenv(rpc::kLateBootstrapVariable);
  if (rpc::serve_in_this_image == nullptr) return;
  if (const auto request = rpc::SpawnRequest::from_environment(words)) _exit(rpc::serve_in_this_image(*request));
  fprintf(stderr, "commonhold: %s is \"%s\", which is no request; it is set by the library alone, unset it\n",
          rpc::kLateBootstrapVariable, words.c_str());
  _exit(2);
}

namespace commonhold::detail {

OwnedFd& OwnedFd::operator=(OwnedFd&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = other.release();
    identity_ = other.identity_;
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
  shm::close_kept(release(), identity_);
}

namespace {

// Starts a server and waits for its ready line; gives its folder. `lifeline` is the read end, -1 for none.
std::string start(rpc::SpawnRequest request, const ServerPlan& plan, int lifeline) {
  const char* given = std::getenv(rpc::kServerVariable);
  const bool forks = (given == nullptr || *given == '\0' || rpc::has_custom_types()) && can_fork_server();
  const Command command = forks ? Command{"a fork of this program"} : choose_command();
  Pipe ready = make_pipe();
  // Above all descriptors that the child gets, so that the two dup2 below cannot run into each other. dup2 clears
  // close-on-exec.
  OwnedFd ready_write(fcntl(ready.write.get(), F_DUPFD_CLOEXEC, 16));
  OwnedFd lifeline_read(lifeline < 0 ? -1 : fcntl(lifeline, F_DUPFD_CLOEXEC, 16));
  if (ready_write.get() < 0 || (lifeline >= 0 && lifeline_read.get() < 0)) {
    throw_system_error("making a pipe for a server", errno);
  }
  request.memory_limit = plan.memory_limit;
  pid_t child = 0;
  if (forks) {
    request.ready_fd = ready_write.get();
    request.lifeline_fd = lifeline_read.get();
    child = fork_server(request, plan);
  } else {
    Actions actions;
    request.ready_fd = 4;
    posix_spawn_file_actions_adddup2(&actions.files, ready_write.get(), request.ready_fd);
    if (lifeline >= 0) {
      request.lifeline_fd = 3;
      posix_spawn_file_actions_adddup2(&actions.files, lifeline_read.get(), request.lifeline_fd);
    }
    std::vector<std::string> arguments{"commonhold"};
    std::vector<std::string> settings = key_setting(plan);
    if (command.own_image) {
      const char* variable = command.late ? rpc::kLateBootstrapVariable : rpc::kBootstrapVariable;
      settings.push_back(fmt::format("{}={}", variable, request.environment()));
    } else {
      for (std::string& word : request.arguments()) arguments.push_back(std::move(word));
    }
    child = spawn(command, actions, std::move(arguments), environment_with(std::move(settings)));
  }
  ready.write.close();
  ready_write.close();
  const std::string text = read_line(ready.read.get());
  const int status = wait_for(child);
  const auto line = rpc::ReadyLine::parse(text);
  if (!line) {
    throw ServerGone(fmt::format("the server that {} was to become did not come up: {}{}",
                                 command.own_image ? "this program" : command.path, end_in_words(status),
                                 command.own_image ? "; set COMMONHOLD_SERVER to the `commonhold` command" : ""));
  }
  if (!line->ready) throw_refusal(*line);
  return line->folder;
}

}  // namespace

StartedServer start_anonymous_server(const ServerPlan& plan) {
  Pipe lifeline = make_pipe();
  rpc::SpawnRequest request;
  request.folder = plan.folder;
  std::string folder = start(std::move(request), plan, lifeline.read.get());
  return {std::move(folder), std::move(lifeline.write)};
}

void start_named_server(const std::string& name, const ServerPlan& plan) {
  rpc::SpawnRequest request;
  request.name = name;
  (void)start(std::move(request), plan, -1);
}

}  // namespace commonhold::detail
