// Worker processes: forked, each pinned to a core of its own, warmed up, and started at one moment.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "bench/clock.h"
#include "bench/row.h"

namespace commonhold::bench {

void* map_shared(std::size_t bytes);
void unmap_shared(void* memory, std::size_t bytes);

// A T in memory that this process shares with the children it forks.
template <typename T>
class Shared {
 public:
  Shared() : memory_(map_shared(sizeof(T))) { new (memory_) T(); }
  ~Shared() { unmap_shared(memory_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T& operator*() const { return *static_cast<T*>(memory_); }
  T* operator->() const { return static_cast<T*>(memory_); }

 private:
  void* memory_;
};

// What one worker did between the common start and its end.
struct Work {
  double operations = 0;
  double seconds = 0;
};

// Shared by the processes of one measurement.
struct Meeting {
  static constexpr int kMost = 64;
  std::atomic<int> arrived{0};
  std::atomic<int> expected{0};
  Work work[kMost];
};

class Worker {
 public:
  Worker(int index, const Plan& plan, Meeting& meeting) : index_(index), plan_(plan), meeting_(meeting) {}

  static constexpr std::uint64_t kBatch = 1024;

  int index() const { return index_; }

  // Calls step(n), n = 0, 1, 2 ..., as long as the plan says; each call does kBatch operations. The first calls are a
  // warm-up: their pages are mapped and their caches filled before the clock starts. Called once.
  template <typename Step>
  void repeat(Step&& step) {
    std::uint64_t n = 0;
    auto warm_ns = static_cast<std::int64_t>(plan_.seconds * 0.25e9),
         run_ns = static_cast<std::int64_t>(plan_.seconds * 1e9);
    for (std::int64_t end = now_ns() + warm_ns; now_ns() < end;) step(n++);
    meet();
    std::int64_t start = now_ns(), now = start;
    std::uint64_t first = n;
    while (now < start + run_ns) {
      step(n++);
      now = now_ns();
    }
    record({static_cast<double>((n - first) * kBatch), static_cast<double>(now - start) * 1e-9});
  }

  // Waits for the other workers.
  void meet();
  void record(const Work& work) { meeting_.work[index_] = work; }

 private:
  int index_;
  const Plan& plan_;
  Meeting& meeting_;
};

// Runs body in `count` processes at once and waits for their end. Throws std::runtime_error when one fails.
std::vector<Work> run_workers(int count, const Plan& plan, const std::function<void(Worker&)>& body);

// Operations a second of all workers together, in millions.
double million_per_second(int count, const Plan& plan, const std::function<void(Worker&)>& body);

// Runs body in a process of its own and gives the figures it returns, at most 4096. The body pins itself where that is
// wanted: a server that it starts before is not pinned with it.
std::vector<double> in_own_process(const std::function<std::vector<double>()>& body);

// Runs a program and gives the numbers that it prints, one a line. Throws std::runtime_error when it fails, Unavailable
// when there is no such program.
std::vector<double> in_new_program(const std::vector<std::string>& command);

// Forks a child that runs body() and ends; it dies with this process.
pid_t fork_child(const std::function<void()>& body);
// Throws std::runtime_error unless it ends well.
void wait_for_child(pid_t child);

// Pins the calling thread to one of the cores that this program may use, counted round.
void pin_to_core(int number);
int usable_cores();

}  // namespace commonhold::bench
