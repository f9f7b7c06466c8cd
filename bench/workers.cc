#include "bench/workers.h"

#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>

namespace commonhold::bench {

namespace {

// A T in memory that this process shares with the children it forks.
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
  T& operator*() const { return *static_cast<T*>(memory_); }
  T* operator->() const { return static_cast<T*>(memory_); }

 private:
  void* memory_;
};

pid_t fork_child(const std::function<void()>& body) {
  std::fflush(nullptr);
  pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int status = 1;
  try {
    body();
    status = 0;
  } catch (const std::exception& failure) {
    fmt::print(stderr, "\nworker {}: {}\n", getpid(), failure.what());
  } catch (...) {
    fmt::print(stderr, "\nworker {}: an unknown exception\n", getpid());
  }
  std::fflush(nullptr);
  _exit(status);
}

// Waits for all; when one fails the others are killed, for they may be waiting for it.
void wait_for_all(std::vector<pid_t> children) {
  int failed = 0;
  while (!children.empty()) {
    int status = 0;
    pid_t ended = waitpid(-1, &status, 0);
    if (ended < 0) throw std::runtime_error("waitpid failed");
    if (std::erase(children, ended) == 0 || status == 0) continue;
    if (failed++ == 0) {
      for (pid_t other : children) kill(other, SIGKILL);
    }
  }
  if (failed != 0) throw std::runtime_error("a worker process failed");
}

cpu_set_t allowed_cores() {
  static const cpu_set_t allowed = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) CPU_SET(0, &set);
    return set;
  }();
  return allowed;
}

}  // namespace

int usable_cores() {
  cpu_set_t allowed = allowed_cores();
  return CPU_COUNT(&allowed);
}

void pin_to_core(int number) {
  cpu_set_t allowed = allowed_cores();
  int skip = number % CPU_COUNT(&allowed);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed) || skip-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof one, &one);
    return;
  }
}

void Worker::meet() {
  // SYNC POINT: meeting
  meeting_.arrived.fetch_add(1);
  // More workers than cores must let each other run.
  while (meeting_.arrived.load() < meeting_.expected.load()) {
    if (meeting_.expected.load() > usable_cores()) sched_yield();
  }
}

std::vector<Work> run_workers(int count, const Plan& plan, const std::function<void(Worker&)>& body) {
  if (count > Meeting::kMost) throw std::runtime_error(fmt::format("{} workers, {} at most", count, Meeting::kMost));
  Shared<Meeting> meeting;
  meeting->expected = count;
  usable_cores();  // as it is before anybody is pinned
  std::vector<pid_t> children;
  for (int i = 0; i < count; ++i) {
    children.push_back(fork_child([&] {
      pin_to_core(i);
      Worker worker(i, plan, *meeting);
      body(worker);
    }));
  }
  wait_for_all(children);
  return {meeting->work, meeting->work + count};
}

double million_per_second(int count, const Plan& plan, const std::function<void(Worker&)>& body) {
  double rate = 0;
  for (const Work& work : run_workers(count, plan, body)) rate += work.operations / work.seconds;
  return rate * 1e-6;
}

std::vector<double> in_own_process(const std::function<std::vector<double>()>& body) {
  struct Figures {
    std::size_t count = 0;
    double values[4096];
  };
  Shared<Figures> figures;
  usable_cores();
  wait_for_all({fork_child([&] {
    pin_to_core(0);
    for (double value : body()) {
      if (figures->count < std::size(figures->values)) figures->values[figures->count++] = value;
    }
  })});
  return {figures->values, figures->values + figures->count};
}

}  // namespace commonhold::bench
