// A service that runs the manager's server inside itself: no second program to start, and other processes join by name.
// It teaches that the server is a library, and that clients do not care where it runs.
#include <commonhold/commonhold.h>
#include <commonhold/server.h>
#include <unistd.h>

#include <iostream>
#include <string>

int main() {
  std::string name = "embedded-" + std::to_string(getpid());
  commonhold::Server server({.name = name});
  server.start();  // on a thread of its own; from here on clients can join

  // The service itself is a client like any other.
  auto manager = commonhold::Manager::connect(name);
  auto requests = manager.dict<std::string, std::int64_t>(commonhold::named("requests"));

  commonhold::Process client([&] {  // another process; a program of its own would do the same
    auto joined = commonhold::Manager::connect(name);
    auto seen = joined.open<commonhold::Dict<std::string, std::int64_t>>("requests");
    for (int i = 0; i < 1000; ++i) seen["index.html"] += 1;
  });
  client.start();
  client.join();
  std::cout << requests << '\n';
  server.shutdown();
}
