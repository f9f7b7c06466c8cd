#include "bench/jobs.h"

#include <commonhold/commonhold.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mutex>
#include <vector>

#include "bench/clock.h"
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

constexpr int kProcesses = 100;

void print_ms(std::int64_t start_ns) {
  fmt::print("{:.4f}\n", seconds_since(start_ns) * 1e3);
}

int fail(const char* what) {
  fmt::print(stderr, "{}\n", what);
  return 1;
}

int start() {
  std::int64_t begun = now_ns();
  Manager manager;
  auto dict = manager.dict<std::string, std::int64_t>();
  dict.put("count", 100);
  if (dict.at("count") != 100) return fail("start: the dict does not hold what was put");
  print_ms(begun);
  return 0;
}

int hundred() {
  std::int64_t begun = now_ns();
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"count", kProcesses}});
  auto lock = manager.lock();
  std::vector<Process> workers;
  for (int i = 0; i < kProcesses; ++i) {
    workers.emplace_back([&] {
      std::scoped_lock guard(lock);
      counts["count"] = counts["count"] - 1;
    });
    workers.back().start();
  }
  for (auto& worker : workers) worker.join();
  if (counts["count"] != 0) return fail("hundred: the count is not 0");
  print_ms(begun);
  return 0;
}

int hundred_bare() {
  struct Counts {
    pthread_mutex_t mutex;
    std::int64_t count = kProcesses;
  };
  std::int64_t begun = now_ns();
  Shared<Counts> counts;
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&counts->mutex, &kind);
  std::vector<pid_t> workers;
  for (int i = 0; i < kProcesses; ++i) {
    pid_t child = fork();
    if (child == 0) {
      pthread_mutex_lock(&counts->mutex);
      counts->count = counts->count - 1;
      pthread_mutex_unlock(&counts->mutex);
      _exit(0);
    }
    workers.push_back(child);
  }
  for (pid_t worker : workers) waitpid(worker, nullptr, 0);
  if (counts->count != 0) return fail("hundred-bare: the count is not 0");
  print_ms(begun);
  return 0;
}

}  // namespace

int run_job(const std::string& name) {
  if (name == kStartJob) return start();
  if (name == kHundredJob) return hundred();
  if (name == kHundredBareJob) return hundred_bare();
  return run_pool_job(name);
}

}  // namespace commonhold::bench
