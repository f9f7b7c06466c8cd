// Who talks to whom by a queue: parent to child, child to parent, child to child.
#include <commonhold/commonhold.h>

#include <ctime>
#include <iostream>
#include <string>
#include <vector>

int main() {
  commonhold::Manager manager;

  // The parent puts, the child gets.
  auto numbers = manager.queue<int>();
  auto answers = manager.queue<std::string>();
  numbers.put(123);
  commonhold::Process child([&] { answers.put("the child got " + std::to_string(numbers.get())); });
  child.start();
  std::cout << answers.get() << '\n';
  child.join();

  // The child puts a list, the parent gets it.
  auto lists = manager.queue<std::vector<std::string>>();
  commonhold::Process writer([&] { lists.put({std::to_string(std::time(nullptr)), "hello", "parent"}); });
  writer.start();
  const std::vector<std::string> list = lists.get();
  std::cout << "the parent got a list of " << list.size() << ": [" << list[0] << ", " << list[1] << ", " << list[2]
            << "]\n";
  writer.join();

  // One child puts, another one gets.
  commonhold::Process first([&] { lists.put({std::to_string(std::time(nullptr)), "hello", "sister"}); });
  commonhold::Process second([&] {
    const auto got = lists.get();
    answers.put("the second child got [" + got[0] + ", " + got[1] + ", " + got[2] + "]");
  });
  second.start();
  first.start();
  std::cout << answers.get() << '\n';
  first.join();
  second.join();
}
