// A hundred processes each take 1 from a shared count: first by reading and then writing, which is two steps and a
// race, then in one step. It teaches that a lock, or one step, is needed whenever a new value depends on the old one.
#include <commonhold/commonhold.h>

#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

template <typename Work>
void in_a_hundred_processes(const Work& work) {
  std::vector<commonhold::Process> workers;
  for (int i = 0; i < 100; ++i) {
    workers.emplace_back(work);
    workers.back().start();
  }
  for (auto& worker : workers) worker.join();
}

}  // namespace

int main() {
  commonhold::Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"two steps", 100}, {"one step", 100}});

  in_a_hundred_processes([&] {
    std::int64_t seen = counts["two steps"];  // others may read the same number here
    std::this_thread::yield();
    counts["two steps"] = seen - 1;  // and then one of the two subtractions is lost
  });
  in_a_hundred_processes([&] { counts["one step"] -= 1; });

  std::cout << "read, then write: " << counts["two steps"] << " left (0 when nobody met)\n";
  std::cout << "in one step: " << counts["one step"] << " left\n";
}
