// Ten processes add to a shared number and to the elements of a shared array. Each addition is one step by itself;
// where several belong together (read two elements, write two), the array's own lock makes them one.
#include <commonhold/commonhold.h>

#include <iostream>
#include <mutex>
#include <vector>

int main() {
  commonhold::Manager manager;
  auto total = manager.value<std::int64_t>();
  auto squares = manager.array<double>(8);
  auto accounts = manager.array<std::int64_t>({1000, 0});

  std::vector<commonhold::Process> workers;
  for (int i = 0; i < 10; ++i) {
    workers.emplace_back([&, i] {
      for (int n = 0; n < 1000; ++n) total += 1;
      for (std::size_t e = 0; e < squares.size(); ++e) squares[e] += static_cast<double>(e * e);
      for (int n = 0; n < 10; ++n) {
        std::scoped_lock guard(accounts.lock());
        accounts[0] = accounts[0] - (i + 1);
        accounts[1] = accounts[1] + (i + 1);
      }
    });
    workers.back().start();
  }
  for (auto& worker : workers) worker.join();

  std::cout << "total: " << total << '\n';
  std::cout << "squares: " << squares << '\n';
  std::cout << "moved " << accounts[1] << ", together still " << accounts[0] + accounts[1] << '\n';
}
