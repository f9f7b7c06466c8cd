// A program that knows Commonhold only from its installed headers; tests/install_test.sh builds and runs it.
#include <commonhold/commonhold.h>
#include <commonhold/version.h>

#include <iostream>
#include <string>

int main() {
  commonhold::Manager manager;  // finds the installed command, or runs the server from this program's own image
  auto counts = manager.dict<std::string, std::int64_t>();
  commonhold::Process worker([&] { counts["runs"] += 1; });
  worker.start();
  worker.join();
  std::cout << counts << ", runs with commonhold " << commonhold::version() << '\n';
  return counts.at("runs") == 1 ? 0 : 1;
}
