// Settings that change while programs run: one process waits for a change, another has an event loop and polls.
#include <commonhold/commonhold.h>
#include <poll.h>

#include <iostream>
#include <string>

using namespace std::chrono_literals;

int main() {
  commonhold::Manager manager;
  auto settings = manager.dict<std::string, std::string>({{"colour", "red"}});
  auto ready = manager.semaphore(0);
  auto seen = manager.list<std::string>();

  commonhold::Process waiter([&] {
    auto watch = settings.watch("colour");
    ready.release();
    watch.wait();
    seen.push_back("the waiter sees " + settings.at("colour"));
  });
  commonhold::Process poller([&] {
    auto watch = settings.watch("colour");
    ready.release();
    for (bool changed = false; !changed;) {
      pollfd events[] = {{watch.fd(), POLLIN, 0}};  // among the program's other descriptors
      poll(events, 1, -1);
      changed = watch.wait(0s);
    }
    seen.push_back("the poller sees " + settings.at("colour"));
  });
  waiter.start();
  poller.start();
  ready.acquire();
  ready.acquire();
  settings["size"] = "small";  // wakes nobody
  settings["colour"] = "blue";
  waiter.join();
  poller.join();
  seen.sort();
  for (const auto& line : seen) std::cout << line << '\n';
}
