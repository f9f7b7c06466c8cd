// Ten producers and five consumers. The consumers are daemons that would work for ever; join() tells when every task is
// done, and then the program simply ends. One consumer dies in the middle of a task: the queue was made to deliver such
// a task again.
#include <commonhold/commonhold.h>
#include <signal.h>

#include <iostream>
#include <vector>

int main() {
  commonhold::Manager manager;
  auto tasks = manager.queue<int>({.maxsize = 8, .redeliver = true});
  auto done = manager.dict<int, int>();
  auto accident = manager.value<int>(0);

  std::vector<commonhold::Process> consumers;
  for (int i = 0; i < 5; ++i) {
    consumers.emplace_back(commonhold::ProcessOptions{.daemon = true}, [&] {
      for (;;) {
        const int task = tasks.get();
        if (task == 42 && accident.exchange(1) == 0) raise(SIGKILL);
        done[task] += 1;
        tasks.task_done();
      }
    });
    consumers.back().start();
  }
  std::vector<commonhold::Process> producers;
  for (int i = 0; i < 10; ++i) {
    producers.emplace_back([&, i] {
      for (int n = 0; n < 10; ++n) tasks.put(i * 10 + n);
    });
    producers.back().start();
  }
  for (auto& producer : producers) producer.join();

  tasks.join();  // every task that was put is done
  int once = 0;
  for (const auto& [task, times] : done) once += times == 1;
  std::cout << done.size() << " tasks done, " << once << " of them once, " << tasks.unfinished() << " unfinished\n";
  std::cout << "task 42 survived its first consumer: " << (accident.load() == 1 && done.contains(42)) << '\n';
}
