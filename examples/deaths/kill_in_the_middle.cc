// Twenty workers count in a dict under a lock, and half of them are killed with SIGKILL at random moments: while they
// wait for the lock, hold it, or write. The others go on, the lock is never stuck, and the books balance: the total
// equals what the workers' own entries say, for both are changed in one step.
#include <commonhold/commonhold.h>

#include <chrono>
#include <iostream>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

int main() {
  constexpr int kWorkers = 20, kUpdates = 2000;
  commonhold::Manager manager;
  auto books = manager.dict<std::string, std::int64_t>({{"total", 0}});
  auto lock = manager.lock();
  auto deaths_seen = manager.value<std::int64_t>();

  std::vector<commonhold::Process> workers;
  for (int i = 0; i < kWorkers; ++i) {
    const std::string own = "worker " + std::to_string(i);
    books[own] = 0;
    const bool victim = i % 2 == 0;  // works until it is killed
    workers.emplace_back([&, own, victim] {
      for (int n = 0; victim || n < kUpdates; ++n) {
        std::scoped_lock guard(lock);
        if (lock.owner_died()) deaths_seen += 1;  // told to the first owner after a death
        books.update({{"total", books["total"] + 1}, {own, books[own] + 1}});
      }
    });
    workers.back().start();
  }

  std::mt19937 random(std::random_device{}());
  for (int i = 0; i < kWorkers; i += 2) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    workers[i].kill();
  }
  int killed = 0, finished = 0;
  for (auto& worker : workers) {
    worker.join();
    worker.exitcode() == 0 ? ++finished : ++killed;
  }

  std::int64_t written = 0;
  bool whole = true;
  for (int i = 0; i < kWorkers; ++i) {
    const std::int64_t own = books["worker " + std::to_string(i)];
    written += own;
    if (workers[i].exitcode() == 0) whole = whole && own == kUpdates;
  }
  std::cout << killed << " killed, " << finished << " finished, " << deaths_seen << " died holding the lock\n";
  std::cout << "total " << books["total"] << ", written " << written << ": "
            << (books["total"] == written && whole ? "the books balance" : "SOMETHING IS LOST") << '\n';
}
