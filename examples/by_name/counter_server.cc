// The first of two programs that know nothing of each other but a name. It serves a manager under that name, with a
// dict in it, until somebody has counted to ten.
//
//   terminal 1:  counter_server visits          terminal 2:  counter_client visits     (several times, if you like)
#include <commonhold/commonhold.h>

#include <chrono>
#include <iostream>
#include <string>
#include <thread>

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "visits";
  auto manager = commonhold::Manager::start({.name = name});
  auto counts = manager.dict<std::string, std::int64_t>(commonhold::named("counts"));
  counts["visits"] = 0;
  std::cout << "serving " << name << std::endl;
  while (counts["visits"] < 10) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::cout << "the server sees " << counts << '\n';
  manager.shutdown();
}
