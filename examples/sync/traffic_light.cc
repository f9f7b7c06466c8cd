// A traffic light is an event: green is set, red is cleared. Cars wait for it as long as it takes; police cars wait
// half a moment and then go anyway. It teaches wait() with and without a time, and that set() wakes all who wait.
#include <commonhold/commonhold.h>

#include <chrono>
#include <iostream>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

int main() {
  commonhold::Manager manager;
  auto green = manager.event();
  auto over = manager.event();
  auto waited = manager.value(0), passed = manager.value(0), police_on_red = manager.value(0);

  std::vector<commonhold::Process> cars;
  const auto arrive = [&](auto drive) {
    cars.emplace_back(drive);
    cars.back().start();
  };
  // The first come while the light is red.
  for (int car = 0; car < 20; ++car) {
    arrive([&] {
      if (!green.is_set()) ++waited;
      green.wait();
      ++passed;
    });
    if (car == 9) {
      while (waited < 10) std::this_thread::sleep_for(1ms);  // until they stand there
      arrive([&] {
        if (!green.wait(1ms)) ++police_on_red;
      });
      cars.back().join();  // it went while the others still wait
      std::cout << "police on red: " << police_on_red << ", cars through: " << passed << '\n';
      commonhold::Process light([&] {
        for (bool go = true; !over.wait(2ms); go = !go) go ? green.set() : green.clear();
      });
      cars.push_back(std::move(light));
      cars.back().start();
    }
  }
  for (std::size_t i = 0; i < cars.size(); ++i) {
    if (i != 11) cars[i].join();  // all but the light
  }
  over.set();
  cars[11].join();
  std::cout << "cars that waited at red: " << (waited >= 10 ? "10 or more" : "too few") << '\n'
            << "cars through: " << passed << " of 20\n";
}
