// Karaoke: ten guests, four booths. A semaphore lets four in at a time, also when a guest is killed in his booth.
#include <commonhold/commonhold.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

int main() {
  commonhold::Manager manager;
  auto booths = manager.semaphore(4);
  auto inside = manager.value(0), most = manager.value(0);
  auto sang = manager.list<int>();

  std::vector<commonhold::Process> guests;
  for (int guest = 0; guest < 10; ++guest) {
    guests.emplace_back([&, guest] {
      booths.acquire();
      const int now = ++inside;
      most.update([&](int seen) { return std::max(seen, now); });
      std::this_thread::sleep_for(5ms);
      sang.push_back(guest);
      --inside;
      if (guest == 3) raise(SIGKILL);  // his booth is free again
      booths.release();
    });
    guests.back().start();
  }
  for (auto& guest : guests) guest.join();
  std::cout << sang.size() << " guests sang, never more than 4 inside: " << std::boolalpha << (most <= 4) << '\n';

  while (booths.get_value() < 4) std::this_thread::sleep_for(1ms);  // the server sees to a death within milliseconds
  std::cout << "booths free in the end: " << booths.get_value() << '\n';
}
