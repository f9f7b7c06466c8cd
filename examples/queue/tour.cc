// What a queue does: put and get, with and without waiting, full, empty, its size, and the errors.
#include <commonhold/commonhold.h>

#include <chrono>
#include <iostream>
#include <string>

using namespace std::chrono_literals;

int main() {
  commonhold::Manager manager;
  auto queue = manager.queue<std::string>(3);
  std::cout << "at first: empty " << queue.empty() << ", full " << queue.full() << ", size " << queue.qsize() << '\n';

  for (const char* message : {"one", "two", "three"}) queue.put(message);
  std::cout << "with three: empty " << queue.empty() << ", full " << queue.full() << ", size " << queue.qsize() << '\n';

  // put() would wait until somebody takes one; these two do not wait that long.
  try {
    queue.put("four", 10ms);
  } catch (const commonhold::Full&) {
    std::cout << "no room for four within the time\n";
  }
  try {
    queue.put_nowait("four");
  } catch (const commonhold::Full&) {
    std::cout << "no room for four at once\n";
  }
  if (!queue.full()) queue.put_nowait("four");

  std::cout << "first in, first out:";
  for (int i = 0; i < 3; ++i) std::cout << ' ' << queue.get();
  std::cout << '\n';

  try {
    (void)queue.get(10ms);
  } catch (const commonhold::Empty&) {
    std::cout << "nothing came within the time\n";
  }
  try {
    (void)queue.get_nowait();
  } catch (const commonhold::Empty&) {
    std::cout << "nothing is there\n";
  }

  // Where nothing is a usual answer, try_get() is shorter.
  auto numbers = manager.queue<int>(5);
  numbers.put_many({0, 1, 2, 3, 4});
  std::cout << "five numbers:";
  while (auto number = numbers.try_get()) std::cout << ' ' << *number;
  std::cout << '\n';

  numbers.close();
  try {
    numbers.put(5);
  } catch (const commonhold::Closed& error) {
    std::cout << error.what() << '\n';
  }
}
