// `commonhold serve --foreground` in a process of its own, and what it says.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "support/process_shared.h"
#include "support/server_ground.h"

namespace commonhold::test {

class ForegroundServer {
 public:
  // Returns once it is ready.
  explicit ForegroundServer(const std::string& name) {
    int ends[2];
    REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
    said_ = ends[0];
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], 1);
      dup2(ends[1], 2);
      execl(command_path().c_str(), "commonhold", "serve", "--name", name.c_str(), "--foreground", nullptr);
      _exit(127);
    }
    close(ends[1]);
    REQUIRE(read_until("Ctrl-C"));
  }
  ~ForegroundServer() { close(said_); }
  ForegroundServer(const ForegroundServer&) = delete;
  ForegroundServer& operator=(const ForegroundServer&) = delete;

  // False: it ended without a word of that.
  bool read_until(const std::string& word) {
    char bytes[512];
    while (text_.find(word) == std::string::npos) {
      const ssize_t got = read(said_, bytes, sizeof bytes);
      if (got <= 0) return false;
      text_.append(bytes, static_cast<std::size_t>(got));
    }
    return true;
  }
  const std::string& text() const { return text_; }
  pid_t pid() const { return pid_; }
  // How it ended, as wait_for() says it.
  int wait() const { return wait_for(pid_); }

 private:
  int said_ = -1;
  pid_t pid_ = -1;
  std::string text_;
};

}  // namespace commonhold::test
