// Three workers print lines, a word at a time. Without a lock their words end up in each other's lines; with one, a
// line is a line. It teaches that a lock guards whatever its users agree on, here the terminal.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

void say(std::string_view word) {
  if (write(STDOUT_FILENO, word.data(), word.size()) < 0) return;
  std::this_thread::sleep_for(std::chrono::microseconds(300));
}

void print_line(int worker, int line) {
  say("worker " + std::to_string(worker));
  say(" prints");
  say(" line " + std::to_string(line) + "\n");
}

template <typename Print>
void three_workers(const Print& print) {
  std::vector<commonhold::Process> workers;
  for (int worker = 1; worker <= 3; ++worker) {
    workers.emplace_back([&print, worker] {
      for (int line = 1; line <= 3; ++line) print(worker, line);
    });
    workers.back().start();
  }
  for (auto& worker : workers) worker.join();
}

}  // namespace

int main() {
  commonhold::Manager manager;
  auto terminal = manager.lock();
  std::cout << "without a lock:" << std::endl;
  three_workers(print_line);
  std::cout << "with a lock:" << std::endl;
  three_workers([&](int worker, int line) {
    std::scoped_lock guard(terminal);
    print_line(worker, line);
  });
  std::cout << "done" << std::endl;
}
