#include "bench/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <sstream>
#include <stdexcept>

namespace commonhold::bench {

namespace {

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

void wait_for_child(pid_t child) {
  wait_for_all({child});
}

void* map_shared(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return memory;
}

void unmap_shared(void* memory, std::size_t bytes) {
  munmap(memory, bytes);
}

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
    for (double value : body()) {
      if (figures->count < std::size(figures->values)) figures->values[figures->count++] = value;
    }
  })});
  return {figures->values, figures->values + figures->count};
}

std::vector<double> in_new_program(const std::vector<std::string>& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t child = 0;
  int error = posix_spawnp(&child, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string output;
  char piece[4096];
  for (ssize_t got; error == 0 && (got = read(ends[0], piece, sizeof piece)) > 0;) {
    output.append(piece, static_cast<std::size_t>(got));
  }
  close(ends[0]);
  if (error == ENOENT) throw Unavailable{fmt::format("{} is not installed", command[0])};
  int status = 0;
  if (error != 0 || waitpid(child, &status, 0) != child || status != 0) {
    throw std::runtime_error(fmt::format("{} failed", command[0]));
  }
  std::vector<double> figures;
  std::istringstream lines(output);
  for (double figure; lines >> figure;) figures.push_back(figure);
  return figures;
}

}  // namespace commonhold::bench
