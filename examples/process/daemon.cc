// A daemonic process ends with its parent, even when the parent is killed.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <iostream>
#include <thread>

using namespace commonhold;
using namespace std::chrono_literals;

int main() {
  for (const bool killed : {false, true}) {
    Pipe alive(false);  // open as long as a process has the writing end
    Process parent([&] {
      alive.first.close();
      Process daemon({.daemon = true}, [&] {
        alive.second.send("the daemon runs");
        std::this_thread::sleep_for(60s);
      });
      daemon.start();
      if (killed) pause();
      std::this_thread::sleep_for(20ms);
    });
    parent.start();
    alive.second.close();
    std::cout << alive.first.recv<std::string>() << '\n';
    if (killed) parent.kill();
    parent.join();
    try {
      alive.first.recv<std::string>();
    } catch (const EndOfFile&) {
      std::cout << (killed ? "its parent was killed" : "its parent ended") << ", and so did the daemon\n";
    }
  }
}
