// One pipe, several consumers: each message reaches one of them, with a lock as the textbooks have it, and without.
#include <commonhold/commonhold.h>

#include <iostream>
#include <mutex>
#include <vector>

using namespace commonhold;

namespace {

constexpr int kMessages = 300, kConsumers = 4;

// Sends the numbers to `take`, which runs in each consumer until the end of file, and checks what arrived.
template <typename Take>
void share(const char* how, Manager& manager, Take take) {
  Pipe pipe(false);
  auto eaten = manager.list<int>();
  std::vector<Process> consumers;
  for (int i = 0; i < kConsumers; ++i) {
    consumers.emplace_back([&] {
      pipe.second.close();
      try {
        for (;;) eaten.push_back(take(pipe.first));
      } catch (const EndOfFile&) {
        // Every consumer meets the end.
      }
    });
    consumers.back().start();
  }
  pipe.first.close();
  for (int n = 0; n < kMessages; ++n) pipe.second.send(n);
  pipe.second.close();
  for (auto& consumer : consumers) consumer.join();

  std::vector<int> times(kMessages);
  for (const int n : eaten.items()) ++times[static_cast<std::size_t>(n)];
  int once = 0;
  for (const int n : times) once += n == 1;
  std::cout << how << ": " << once << " of " << kMessages << " messages were received once, by " << kConsumers
            << " consumers\n";
}

}  // namespace

int main() {
  Manager manager;
  auto lock = manager.lock();
  share("under a lock", manager, [&](Connection& connection) {
    std::scoped_lock guard(lock);
    return connection.recv<int>();
  });
  share("without a lock", manager, [](Connection& connection) { return connection.recv<int>(); });
}
