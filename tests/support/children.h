// Child processes of a test: running one to its end, seeing what became of one, and what they need of the parent.
#pragma once

#include <commonhold/process.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace commonhold::test {

// Runs it to its end; how it ended.
inline std::optional<int> run(Process process) {
  process.start();
  process.join();
  return process.exitcode();
}
template <typename Body>
requires std::is_invocable_v<Body&> std::optional<int> run(Body&& body) {
  return run(Process(std::forward<Body>(body)));
}

// For a child that is to be killed.
inline void stay() {
  for (;;) pause();
}

// The kernel's line about a process, empty for none.
inline std::string stat_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  return text;
}
inline bool is_gone(pid_t pid) {
  const std::string text = stat_of(pid);
  return text.empty() || text.find(") Z ") != std::string::npos || text.find(") X ") != std::string::npos;
}
inline bool is_stopped(pid_t pid) {
  return stat_of(pid).find(") T ") != std::string::npos;
}

// The test framework handles SIGTERM, in children too, where its handler finds the middle of a fork. Not in this scope.
class PlainTermination {
 public:
  PlainTermination() { sigaction(SIGTERM, &plain_, &before_); }
  ~PlainTermination() { sigaction(SIGTERM, &before_, nullptr); }
  PlainTermination(const PlainTermination&) = delete;
  PlainTermination& operator=(const PlainTermination&) = delete;

 private:
  struct sigaction plain_ {
  }, before_{};
};

// Process ids through descriptors of a pipe, without our help.
struct PlainPipe {
  PlainPipe() { REQUIRE(pipe(ends) == 0); }
  ~PlainPipe() {
    close(ends[0]);
    close(ends[1]);
  }
  PlainPipe(const PlainPipe&) = delete;
  PlainPipe& operator=(const PlainPipe&) = delete;
  void write(pid_t pid) const { REQUIRE(::write(ends[1], &pid, sizeof pid) == sizeof pid); }
  pid_t read() const {
    pid_t pid = 0;
    REQUIRE(::read(ends[0], &pid, sizeof pid) == sizeof pid);
    return pid;
  }
  int ends[2];
};

}  // namespace commonhold::test
