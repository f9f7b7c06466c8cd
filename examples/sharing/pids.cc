// Ten processes write their process id into one dict and append it to one list. It teaches that every proxy which a
// child inherits is the same object, and that the containers need no lock for changes that are one step each.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <iostream>
#include <vector>

int main() {
  commonhold::Manager manager;
  auto by_number = manager.dict<int, std::int64_t>();
  auto in_order = manager.list<std::int64_t>({0, 1, 2, 3, 4});

  std::vector<commonhold::Process> workers;
  for (int i = 0; i < 10; ++i) {
    workers.emplace_back([&, i] {
      by_number[i] = getpid();
      in_order.push_back(getpid());
    });
    workers.back().start();
  }
  for (auto& worker : workers) worker.join();

  int found = 0;
  for (auto& worker : workers) found += in_order.count(*worker.pid()) == 1;
  std::cout << by_number.size() << " keys, " << in_order.size() << " elements, " << found << " of 10 pids found\n";
}
