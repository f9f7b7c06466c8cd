// A service with a kj event loop of its own runs the manager on that loop, beside its other work: here a ticking timer.
// It teaches that the server needs no thread of its own to answer, and how it ends with the service.
#include <commonhold/commonhold.h>
#include <commonhold/server_on_loop.h>
#include <kj/async-io.h>
#include <kj/timer.h>
#include <unistd.h>

#include <iostream>
#include <string>

namespace {

// The service's own work: counts until told to stop.
kj::Promise<void> tick(kj::Timer& timer, int& ticks) {
  return timer.afterDelay(1 * kj::MILLISECONDS).then([&timer, &ticks] {
    ++ticks;
    return tick(timer, ticks);
  });
}

}  // namespace

int main() {
  auto io = kj::setupAsyncIo();
  std::string name = "on-loop-" + std::to_string(getpid());
  commonhold::ServerOnLoop server(*io.lowLevelProvider, io.unixEventPort, {.name = name});

  int ticks = 0;
  auto service = tick(io.provider->getTimer(), ticks).eagerlyEvaluate([](kj::Exception&& failure) {
    std::cerr << failure.getDescription().cStr() << '\n';
  });

  // A client in another process counts, prints, and asks the server to end.
  commonhold::Process client([&] {
    auto manager = commonhold::Manager::connect(name);
    auto visits = manager.value<std::int64_t>(commonhold::named("visits"));
    for (int i = 0; i < 1000; ++i) ++visits;
    std::cout << "visits: " << visits << std::endl;
    manager.shutdown();
  });
  client.start();

  server.run().wait(io.waitScope);
  client.join();
  std::cout << "the service ticked on: " << (ticks >= 0 ? "yes" : "no") << '\n';
}
