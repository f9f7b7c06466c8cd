// The life of processes: names, pids, states, exit codes, ten at once.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace commonhold;
using namespace std::chrono_literals;

int main() {
  std::cout << "this is " << current_process().name() << std::endl;

  Process greeter(
      {.name = "greeter"},
      [](const std::string& whom) {
        std::cout << "hello " << whom << ", from " << current_process().name() << ", child of "
                  << parent_process()->name() << ": " << std::boolalpha << (parent_process()->pid() == getppid())
                  << std::endl;
      },
      "world");
  std::cout << std::boolalpha << "before start: alive " << greeter.is_alive() << ", pid " << greeter.pid().has_value()
            << std::endl;
  greeter.start();
  greeter.join();
  std::cout << "after join: alive " << greeter.is_alive() << ", exit code " << *greeter.exitcode() << std::endl;

  Manager manager;
  auto pids = manager.list<int>();
  std::vector<Process> ten;
  for (int i = 0; i < 10; ++i) {
    ten.emplace_back([&] { pids.push_back(getpid()); });
    ten.back().start();
  }
  for (auto& process : ten) process.join();
  std::size_t known = 0;
  for (const int pid : pids.items()) {
    for (const auto& process : ten) known += process.pid() == pid;
  }
  std::cout << "ten at once: " << known << " pids, " << active_children().size() << " still alive" << std::endl;

  Process sleeper([] { std::this_thread::sleep_for(60s); });
  sleeper.start();
  std::cout << "sleeper: alive " << sleeper.is_alive();
  sleeper.terminate();
  sleeper.join();
  std::cout << ", after terminate alive " << sleeper.is_alive() << ", exit code " << *sleeper.exitcode() << std::endl;

  const auto code_of = [](Process process) {
    process.start();
    process.join();
    return *process.exitcode();
  };
  std::cout << "exit codes: " << code_of(Process([] {})) << ' ' << code_of(Process([] { std::exit(3); })) << ' '
            << code_of(Process([] { throw Exit(4); })) << ' ' << code_of(Process([] { ::_exit(5); })) << ' '
            << code_of(Process([] { throw std::runtime_error("on purpose"); })) << std::endl;
}
