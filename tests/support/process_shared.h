// Memory that a test shares with the children it forks, and the children themselves.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
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

// The same for one that may never end by itself: after 20 seconds it is killed.
inline int wait_or_kill(pid_t child) {
  for (int tries = 0; tries < 2000; ++tries) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    usleep(10'000);
  }
  kill(child, SIGKILL);
  return wait_for(child);
}

// Whether a process sleeps in the kernel (and does not run, wait for its turn, or is gone).
inline bool is_asleep(pid_t process) {
  char path[32], text[512] = {};
  std::snprintf(path, sizeof path, "/proc/%d/stat", process);
  FILE* file = std::fopen(path, "r");
  if (file == nullptr) return false;
  std::size_t size = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  const char* name_end = size != 0 ? std::strrchr(text, ')') : nullptr;
  return name_end != nullptr && name_end[2] == 'S';
}

}  // namespace commonhold::test
