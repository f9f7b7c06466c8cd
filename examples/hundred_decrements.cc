#include <commonhold/commonhold.h>

#include <iostream>
#include <mutex>
#include <string>
#include <vector>

int main() {
  commonhold::Manager manager;  // starts a server process and joins it
  auto counts = manager.dict<std::string, std::int64_t>({{"count", 100}});
  auto lock = manager.lock();

  std::vector<commonhold::Process> workers;
  for (int i = 0; i < 100; ++i) {
    workers.emplace_back([&] {  // a process of its own
      std::scoped_lock guard(lock);
      counts["count"] = counts["count"] - 1;
    });
    workers.back().start();
  }
  for (auto& worker : workers) worker.join();
  std::cout << counts << '\n';
}
