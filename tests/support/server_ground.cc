#include "support/server_ground.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "rpc/authentication.h"

namespace commonhold::test {

namespace {

// Processes whose parent is this one, apart from zombies, which are reaped on the way.
std::vector<pid_t> children() {
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  std::vector<pid_t> found;
  std::ifstream list(fmt::format("/proc/self/task/{}/children", getpid()));
  for (pid_t pid; list >> pid;) found.push_back(pid);
  return found;
}

pid_t start(const std::string& program, const std::vector<std::string>& arguments,
            const std::vector<std::string>& environment, posix_spawn_file_actions_t* actions) {
  std::vector<char*> words{const_cast<char*>(program.c_str())}, variables;
  for (auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  for (char** each = environ; *each != nullptr; ++each) variables.push_back(*each);
  for (auto& variable : environment) variables.push_back(const_cast<char*>(variable.c_str()));
  variables.push_back(nullptr);
  pid_t child = 0;
  int error = posix_spawn(&child, program.c_str(), actions, nullptr, words.data(), variables.data());
  if (error != 0) throw std::runtime_error(fmt::format("starting {} failed: error {}", program, error));
  return child;
}

// Reads both pipes to their ends.
void read_both(int out, int err, CommandResult& result) {
  pollfd pipes[2] = {{out, POLLIN, 0}, {err, POLLIN, 0}};
  std::string* texts[2] = {&result.out, &result.err};
  for (int open = 2; open > 0;) {
    poll(pipes, 2, -1);
    for (int i = 0; i < 2; ++i) {
      if (pipes[i].fd < 0 || pipes[i].revents == 0) continue;
      char bytes[4096];
      ssize_t got = read(pipes[i].fd, bytes, sizeof bytes);
      if (got > 0) {
        texts[i]->append(bytes, static_cast<std::size_t>(got));
      } else {
        close(pipes[i].fd);
        pipes[i].fd = -1;
        --open;
      }
    }
  }
}

int exit_status(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace

ServerGround::ServerGround() {
  static std::atomic<int> made{0};
  root_ = fmt::format("/dev/shm/commonhold-ground-{}-{}", getpid(), made++);
  if (mkdir(root_.c_str(), 0700) != 0) throw std::runtime_error("making " + root_ + " failed");
  setenv(rpc::kHomeVariable, root_.c_str(), 1);
  unsetenv(rpc::kKeyVariable);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

ServerGround::~ServerGround() {
  for (pid_t pid : children()) kill(pid, SIGKILL);
  (void)eventually([]() { return children().empty(); });
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

std::string ServerGround::leftovers() const {
  std::string found;
  (void)eventually([&]() {
    found.clear();
    for (pid_t pid : children()) found += fmt::format("process {} ", pid);
    try {
      for (auto& entry : std::filesystem::recursive_directory_iterator(root_)) found += entry.path().string() + " ";
    } catch (const std::filesystem::filesystem_error& error) {
      if (error.code() != std::errc::no_such_file_or_directory) throw;
      found += "a folder that somebody is removing";  // a server that ends: looked at once more
    }
    return found.empty();
  });
  return found;
}

std::string command_path() {
  const char* path = std::getenv("COMMONHOLD_COMMAND");
  if (path == nullptr) throw std::runtime_error("COMMONHOLD_COMMAND is not set: run this by ./dev test or meson test");
  return path;
}

CommandResult run_command(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  pid_t child = start(command_path(), arguments, environment, &actions);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(err[1]);
  CommandResult result;
  read_both(out[0], err[0], result);
  result.status = exit_status(child);
  return result;
}

AnonymousServer::AnonymousServer(Start how, rpc::SpawnRequest request) {
  int lifeline[2], ready[2];
  if (pipe2(lifeline, O_CLOEXEC) != 0 || pipe2(ready, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  constexpr int kLifelineThere = 60, kReadyThere = 61;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, lifeline[0], kLifelineThere);
  posix_spawn_file_actions_adddup2(&actions, ready[1], kReadyThere);
  request.lifeline_fd = kLifelineThere;
  request.ready_fd = kReadyThere;
  pid_t child = how == Start::kCommand
                    ? start(command_path(), request.arguments(), {}, &actions)
                    : start("/proc/self/exe", {},
                            {fmt::format("{}={}", rpc::kBootstrapVariable, request.environment())}, &actions);
  posix_spawn_file_actions_destroy(&actions);
  close(lifeline[0]);
  close(ready[1]);
  lifeline_ = lifeline[1];
  std::string text;
  char bytes[512];
  for (ssize_t got; (got = read(ready[0], bytes, sizeof bytes)) > 0;) text.append(bytes, static_cast<std::size_t>(got));
  close(ready[0]);
  int status = exit_status(child);
  auto line = rpc::ReadyLine::parse(text);
  if (!line || status != 0) {
    throw std::runtime_error(fmt::format("the server said \"{}\", exit status {}", text, status));
  }
  line_ = *line;
}

void AnonymousServer::let_go() {
  if (lifeline_ >= 0) close(lifeline_);
  lifeline_ = -1;
}

int server_pid(const rpc::ManagerAddress& address) {
  return rpc::occupants_of(address).server_pid;
}

void kill_server(const rpc::ManagerAddress& address) {
  int pid = server_pid(address);
  if (pid <= 0 || pid == getpid()) throw std::runtime_error("no other process serves " + address.folder);
  kill(pid, SIGKILL);
  if (!eventually([&]() { return server_pid(address) != pid; })) throw std::runtime_error("the server lives on");
}

}  // namespace commonhold::test
