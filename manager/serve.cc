#include "manager/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <initializer_list>
#include <vector>

#include "manager/server_core.h"

namespace commonhold::manager {

namespace {

using Log = std::function<void(const std::string&)>;

const char* word_for(ServerError::Code code) {
  switch (code) {
    case ServerError::Code::kInvalid:
      return "invalid";
    case ServerError::Code::kAlreadyRunning:
      return "already-running";
    case ServerError::Code::kForeignLayout:
      return "foreign-layout";
    case ServerError::Code::kPermission:
      return "permission";
    case ServerError::Code::kOutOfMemory:
      return "out-of-memory";
    case ServerError::Code::kSystem:
      return "system";
  }
  return "system";
}

// Closes every descriptor above standard error but these.
void close_all_but(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  unsigned from = 3;
  for (int fd : kept) {
    if (fd < 3) continue;
    auto keep = static_cast<unsigned>(fd);
    if (keep > from) syscall(SYS_close_range, from, keep - 1, 0);
    from = keep + 1;
  }
  syscall(SYS_close_range, from, ~0u, 0);
}

// A descriptor that is none of the standard three, which are about to become /dev/null.
int above_standard(int fd) {
  if (fd < 0 || fd > 2) return fd;
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return moved < 0 ? fd : moved;
}

// Lets go of the terminal, the caller's files and its folder.
void detach(std::initializer_list<int> kept) {
  setsid();
  close_all_but(kept);
  int nothing = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) {
    if (nothing >= 0 && nothing != fd) dup2(nothing, fd);
  }
  if (nothing > 2) close(nothing);
  if (chdir("/") != 0) {
    // It keeps its folder busy, no more.
  }
}

void take_the_name() {
  prctl(PR_SET_NAME, "commonhold");
  static char name[] = "commonhold";  // what the session record shows
  program_invocation_short_name = name;
}

void write_line(int fd, const std::string& line) {
  std::size_t written = 0;
  while (written < line.size()) {
    ssize_t step = write(fd, line.data() + written, line.size() - written);
    if (step < 0 && errno == EINTR) continue;
    if (step <= 0) return;  // nobody listens any more
    written += static_cast<std::size_t>(step);
  }
}

void report(int ready_fd, const rpc::ReadyLine& line) {
  write_line(ready_fd, line.text());
  close(ready_fd);
}

rpc::ReadyLine failure(const ServerError& error) {
  return {false, {}, word_for(error.code()), error.what()};
}

// Before anybody is told that the server is ready: from then on such a signal ends it in good order.
void capture(std::initializer_list<int> signals) {
  for (int number : signals) kj::UnixEventPort::captureSignal(number);
}

// Runs the core on this thread until it is ended, or one of the captured signals ends it in the given way. The exit
// status: 1 when an error ended it.
int serve_until_signal(ServerCore& core, std::initializer_list<int> signals, ServerCore::End on_signal,
                       const Log& log) try {
  const char* objects = on_signal == ServerCore::End::kKeep ? "stay for the next server of the name" : "go";
  auto io = kj::setupAsyncIo();
  const UseOfLoop use(core);
  kj::Promise<void> ended = core.serve_on(*io.lowLevelProvider, io.unixEventPort);
  for (int number : signals) {
    ended = ended.exclusiveJoin(io.unixEventPort.onSignal(number).then([&log, number, objects](siginfo_t&& info) {
      log(fmt::format("ending on signal {} from process {}; its objects {}", number, info.si_pid, objects));
    }));
  }
  ended.wait(io.waitScope);
  core.ask_to_end(on_signal);
  core.finish();
  return 0;
} catch (const kj::Exception& exception) {
  // What KJ throws carries a stack trace, which is for nobody. The objects are for the next server.
  log(fmt::format("the server ends: {}", exception.getDescription().cStr()));
  return 1;
} catch (const std::exception& exception) {
  log(fmt::format("the server ends: {}", exception.what()));
  return 1;
}

int run_anonymous(const rpc::SpawnRequest& request) {
  CoreOptions options;
  options.memory_limit = request.memory_limit;
  options.lifeline_fd = request.lifeline_fd;
  options.serves_alone = true;
  options.log = [](const std::string&) {};
  std::unique_ptr<ServerCore> core;
  try {
    options.address = request.folder.empty() ? rpc::anonymous_address() : rpc::existing_address(request.folder);
    core = std::make_unique<ServerCore>(options);
  } catch (const ServerError& error) {
    report(request.ready_fd, failure(error));
    return 1;
  } catch (const std::exception& error) {
    report(request.ready_fd, {false, {}, word_for(ServerError::Code::kInvalid), error.what()});
    return 1;
  }
  capture({SIGTERM});
  report(request.ready_fd, {true, core->address().folder, {}, {}});
  return serve_until_signal(*core, {SIGTERM}, ServerCore::End::kRemove, options.log);
}

// Makes the core and serves. `ready` is told once: with a ready line or a failure.
int run_named(const NamedServer& server, const Log& log, const std::function<void(const rpc::ReadyLine&)>& ready) {
  CoreOptions options;
  options.memory_limit = server.memory_limit;
  options.serves_alone = true;
  options.log = log;
  std::unique_ptr<ServerCore> core;
  try {
    options.address = address_for(ServerOptions{.name = server.name});
    core = std::make_unique<ServerCore>(options);
  } catch (const ServerError& error) {
    ready(failure(error));
    return 1;
  }
  capture({SIGTERM, SIGINT});
  ready({true, core->address().folder, {}, {}});
  // Its objects are for those who know the name: they stay until somebody asks for their end in so many words.
  const int status = serve_until_signal(*core, {SIGTERM, SIGINT}, ServerCore::End::kKeep, log);
  log("ended");
  return status;
}

int tell(const NamedServer& server, const rpc::ReadyLine& line) {
  if (line.ready) {
    fmt::print("serving \"{}\" at {}\n", server.name, line.folder);
    std::fflush(stdout);
    return 0;
  }
  fmt::print(stderr, "commonhold: {}\n", line.message);
  return 1;
}

int serve_in_foreground(const NamedServer& server) {
  Log log = [](const std::string& line) {
    fmt::print(stderr, "{:%H:%M:%S} commonhold[{}]: {}\n", fmt::localtime(std::time(nullptr)), getpid(), line);
  };
  return run_named(server, log, [&](const rpc::ReadyLine& line) {
    (void)tell(server, line);
    if (line.ready) log("ready; Ctrl-C stops it, its objects stay for the next server of the name");
  });
}

std::string read_all(int fd) {
  std::string text;
  char bytes[512];
  for (;;) {
    ssize_t got = read(fd, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(bytes, static_cast<std::size_t>(got));
  }
}

int serve_in_background(const NamedServer& server) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) {
    fmt::print(stderr, "commonhold: making a pipe failed: {}\n", std::strerror(errno));
    return 1;
  }
  pid_t child = fork();
  if (child < 0) {
    fmt::print(stderr, "commonhold: making a process for the server failed: {}\n", std::strerror(errno));
    return 1;
  }
  if (child == 0) {
    int ready_fd = above_standard(pipe_ends[1]);
    detach({ready_fd});
    signal(SIGHUP, SIG_IGN);
    _exit(run_named(
        server, [](const std::string&) {}, [&](const rpc::ReadyLine& line) { report(ready_fd, line); }));
  }
  close(pipe_ends[1]);
  auto line = rpc::ReadyLine::parse(read_all(pipe_ends[0]));
  close(pipe_ends[0]);
  if (line) return tell(server, *line);
  int status = 0;
  waitpid(child, &status, 0);
  fmt::print(stderr, "commonhold: the server for \"{}\" (process {}) ended before it was ready (wait status {})\n",
             server.name, child, status);
  return 1;
}

}  // namespace

int serve_on_request(const rpc::SpawnRequest& given) {
  rpc::SpawnRequest request = given;
  request.lifeline_fd = above_standard(given.lifeline_fd);
  request.ready_fd = above_standard(given.ready_fd);
  pid_t child = fork();
  if (child > 0) return 0;
  if (child < 0) {
    report(request.ready_fd, {false, {}, "system", fmt::format("fork failed: {}", std::strerror(errno))});
    return 1;
  }
  take_the_name();
  detach({request.lifeline_fd, request.ready_fd});
  // A terminal's Ctrl-C is for its programs; the server ends with the last of them.
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGQUIT, SIG_IGN);
  if (request.name.empty()) _exit(run_anonymous(request));
  const NamedServer server{.name = request.name, .memory_limit = request.memory_limit};
  _exit(run_named(
      server, [](const std::string&) {}, [&](const rpc::ReadyLine& line) { report(request.ready_fd, line); }));
}

int serve_named(const NamedServer& server) {
  take_the_name();
  return server.foreground ? serve_in_foreground(server) : serve_in_background(server);
}

}  // namespace commonhold::manager
