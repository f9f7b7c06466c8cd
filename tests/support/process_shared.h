// Memory that a test shares with the children it forks, and the children themselves.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>
#include <vector>

namespace commonhold::test {

// A T in anonymous shared memory, zero-initialised, seen by all children forked later.
template <typename T>
class Shared {
 public:
  Shared() {
    memory_ = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    new (memory_) T();
  }
  ~Shared() { munmap(memory_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T* operator->() const { return static_cast<T*>(memory_); }
  T& operator*() const { return *static_cast<T*>(memory_); }

 private:
  void* memory_;
};

// Forks a child that runs body() and ends: 0 when it returns, 1 with a line on stderr when it throws.
template <typename Body>
pid_t spawn(Body&& body) {
  pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child != 0) return child;
  int status = 1;
  try {
    body();
    status = 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "child %d: %s\n", getpid(), failure.what());
  }
  std::fflush(nullptr);
  _exit(status);
}

// Waits for a child; its exit status, or minus the signal that ended it.
inline int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace commonhold::test
