// Ten writers and ten readers on a queue that holds three items at a time.
#include <commonhold/commonhold.h>

#include <iostream>
#include <string>
#include <vector>

int main() {
  commonhold::Manager manager;
  auto queue = manager.queue<std::string>(3);
  auto seen = manager.dict<std::string, int>();

  std::vector<commonhold::Process> processes;
  for (int i = 0; i < 10; ++i) {
    processes.emplace_back([&, i] { queue.put("item " + std::to_string(i)); });
    processes.emplace_back([&] { seen[queue.get()] += 1; });
  }
  for (auto& process : processes) process.start();
  for (auto& process : processes) process.join();

  int once = 0;
  for (const auto& [item, times] : seen) once += times == 1;
  std::cout << seen.size() << " distinct items, " << once << " of them read once, " << queue.qsize() << " left\n";
}
