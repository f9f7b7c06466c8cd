// Producers and consumers share a buffer of three places. Two conditions on one lock say when there is room and when
// there is something; nobody looks in vain, and nothing is lost or eaten twice. It teaches wait_for() with a predicate,
// notify(), and why both conditions have the same lock. (A commonhold::Queue does all this by itself.)
#include <commonhold/commonhold.h>

#include <iostream>
#include <mutex>
#include <vector>

namespace {
constexpr int kProducers = 3, kConsumers = 4, kEach = 40, kPlaces = 3;
}

int main() {
  commonhold::Manager manager;
  auto lock = manager.lock();
  auto has_room = manager.condition(lock), has_items = manager.condition(lock);
  auto buffer = manager.list<int>();
  auto eaten = manager.list<int>();
  auto fullest = manager.value<std::uint64_t>(0);

  std::vector<commonhold::Process> producers, consumers;
  for (int producer = 0; producer < kProducers; ++producer) {
    producers.emplace_back([&, producer] {
      for (int i = 0; i < kEach; ++i) {
        std::scoped_lock guard(lock);
        has_room.wait_for([&] { return buffer.size() < kPlaces; });
        buffer.push_back(producer * kEach + i);
        if (buffer.size() > fullest) fullest = buffer.size();
        has_items.notify();
      }
    });
    producers.back().start();
  }
  for (int consumer = 0; consumer < kConsumers; ++consumer) {
    consumers.emplace_back([&] {
      for (;;) {
        std::scoped_lock guard(lock);
        has_items.wait_for([&] { return !buffer.empty(); });
        const int item = buffer.at(0);
        if (item < 0) return;  // the end; it stays for the next consumer, who finds it
        buffer.erase(0);
        eaten.push_back(item);
        has_room.notify();
      }
    });
    consumers.back().start();
  }
  for (auto& producer : producers) producer.join();
  {
    std::scoped_lock guard(lock);
    buffer.push_back(-1);
    has_items.notify_all();
  }
  for (auto& consumer : consumers) consumer.join();

  eaten.sort();
  int in_order = 0;
  for (int item : eaten) in_order += item == in_order ? 1 : 0;
  std::cout << "made " << kProducers * kEach << ", eaten " << eaten.size()
            << ", each once: " << (in_order == kProducers * kEach ? "yes" : "no") << ", never more than " << kPlaces
            << " in the buffer: " << (fullest <= kPlaces ? "yes" : "no") << '\n';
}
