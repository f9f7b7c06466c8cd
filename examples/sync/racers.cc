// Five racers meet at a barrier and start together; the last to come gives the signal, once. For a second race one of
// them is killed while it waits: the others do not wait for ever, they are told at once, and after reset() the rest can
// race without it. It teaches wait(), an action, and what a death at a barrier does.
#include <commonhold/commonhold.h>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

using commonhold::Barrier;
using commonhold::Process;

int main() {
  commonhold::Manager manager;
  auto places = manager.list<int>(), early = manager.list<int>();
  auto signals = manager.value(0), told = manager.value(0);

  auto start = manager.barrier(5, {.action = [&] { ++signals; }});
  std::vector<Process> racers;
  for (int racer = 0; racer < 5; ++racer) {
    racers.emplace_back([&, racer] {
      std::this_thread::sleep_for(std::chrono::milliseconds(racer));  // to the start
      const auto place = start.wait();
      if (signals != 1) early.push_back(racer);
      places.push_back(static_cast<int>(place));
    });
    racers.back().start();
  }
  for (auto& racer : racers) racer.join();
  places.sort();
  std::cout << "at the start: " << places << ", signals: " << signals << ", false starts: " << early.size() << '\n';

  racers.clear();
  for (int racer = 0; racer < 4; ++racer) {
    racers.emplace_back([&] {
      try {
        start.wait();
      } catch (const commonhold::BrokenBarrier&) {
        ++told;
      }
    });
    racers.back().start();
  }
  while (start.n_waiting() != 4) std::this_thread::yield();
  racers[1].kill();
  for (auto& racer : racers) racer.join();
  std::cout << "one was killed at the barrier, " << told << " others were told\n";

  start.reset();
  std::cout << "after reset it is " << (start.broken() ? "broken" : "whole") << '\n';
}
