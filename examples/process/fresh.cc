// A process with a fresh program image: nothing of the parent's memory is in it, and it joins the objects by name.
#include <commonhold/commonhold.h>
#include <commonhold/fresh.h>
#include <unistd.h>

#include <iostream>

int set_by_main = 0;

void count(std::string token, int times) {
  auto counts = commonhold::attach<commonhold::Dict<std::string, int>>(token);
  for (int i = 0; i < times; ++i) counts["visits"] += 1;
  counts["set_by_main"] = set_by_main;
}

int main() {
  commonhold::run_if_fresh();  // the new process runs count() here, and ends
  set_by_main = 7;
  commonhold::Manager manager;
  auto counts = manager.dict<std::string, int>();
  auto worker = commonhold::Process::fresh<count>(counts.token(), 5);
  worker.start();
  worker.join();
  std::cout << counts << " and exit code " << *worker.exitcode() << '\n';
}
