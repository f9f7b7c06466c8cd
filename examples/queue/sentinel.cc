// Producers and consumers that know when to stop: a sentinel in the queue says that nothing follows. Another consumer
// simply gives up when nothing comes for a while.
#include <commonhold/commonhold.h>

#include <chrono>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

using namespace std::chrono_literals;

int main() {
  commonhold::Manager manager;
  auto kitchen = manager.queue<std::optional<std::string>>(5);  // nothing is the sentinel
  auto eaten = manager.dict<std::string, int>();

  constexpr int kCooks = 3, kGuests = 4, kEach = 10;
  std::vector<commonhold::Process> cooks, guests;
  for (int cook = 0; cook < kCooks; ++cook) {
    cooks.emplace_back([&, cook] {
      for (int i = 0; i < kEach; ++i) kitchen.put("bun " + std::to_string(cook * kEach + i));
    });
  }
  for (int guest = 0; guest < kGuests; ++guest) {
    guests.emplace_back([&] {
      while (auto bun = kitchen.get()) eaten[*bun] += 1;
    });
  }
  for (auto& cook : cooks) cook.start();
  for (auto& guest : guests) guest.start();
  for (auto& cook : cooks) cook.join();
  for (int guest = 0; guest < kGuests; ++guest) kitchen.put(std::nullopt);  // one for each
  for (auto& guest : guests) guest.join();
  int once = 0;
  for (const auto& [bun, times] : eaten) once += times == 1;
  std::cout << eaten.size() << " made, " << once << " eaten once, all guests are gone\n";

  auto snacks = manager.queue<int>();
  auto report = manager.queue<std::string>();
  commonhold::Process patient([&] {
    int count = 0;
    try {
      for (;; ++count) (void)snacks.get(50ms);
    } catch (const commonhold::Empty&) {
      report.put("gave up after " + std::to_string(count) + " snacks");
    }
  });
  snacks.put_many({1, 2, 3});
  patient.start();
  std::cout << report.get() << '\n';
  patient.join();
}
