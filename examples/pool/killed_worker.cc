// A worker is killed in the middle of its task: that task fails with a reason, or is run again, and the pool goes on.
#include <commonhold/commonhold.h>
#include <signal.h>

#include <iostream>

using namespace commonhold;

int main() {
  Manager manager;
  auto runs = manager.value(0);
  const auto dies_once = inherited([&](int n) {
    if (++runs == 1) raise(SIGKILL);  // as the kernel does when memory runs out
    return n;
  });
  Pool pool(2);
  try {
    pool.apply(dies_once, 1);
  } catch (const WorkerDied& death) {
    std::cout << "the worker died of signal " << death.signal() << '\n';
  }
  runs = 0;
  std::cout << "run again: " << pool.apply_async(retried(1), dies_once, 2).get() << '\n';
  std::cout << "the pool has " << pool.map([](int n) { return n; }, std::vector{1, 2, 3}).size() << " results more\n";
  pool.close();
  pool.join();
}
