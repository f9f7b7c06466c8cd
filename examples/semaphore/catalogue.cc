// A catalogue that many read and few change: readers share the lock, a writer has it alone, and one that is killed in
// the middle of a change is noticed by the next.
#include <commonhold/commonhold.h>
#include <signal.h>

#include <iostream>
#include <mutex>
#include <shared_mutex>
#include <vector>

int main() {
  commonhold::Manager manager;
  auto lock = manager.rwlock();
  auto prices = manager.array<int>({10, 20});  // the second is always twice the first
  auto torn = manager.value(0);

  std::vector<commonhold::Process> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        std::shared_lock reading(lock);
        if (prices[1] != 2 * prices[0]) ++torn;
      }
    });
    readers.back().start();
  }
  for (int price = 11; price <= 50; ++price) {
    std::scoped_lock writing(lock);
    prices[0] = price;
    prices[1] = 2 * price;
  }
  for (auto& reader : readers) reader.join();
  std::cout << "half-changed prices seen: " << torn << '\n';

  commonhold::Process careless([&] {
    lock.lock();
    prices[0] = 15;
    raise(SIGKILL);  // before the second price
  });
  careless.start();
  careless.join();
  std::scoped_lock writing(lock);
  if (lock.owner_died()) prices[1] = 2 * prices[0];
  std::cout << "repaired: " << prices[0] << ", " << prices[1] << '\n';
}
