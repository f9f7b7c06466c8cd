// A class of processes with a run() of its own, and one that starts threads.
#include <commonhold/commonhold.h>

#include <iostream>
#include <thread>
#include <vector>

class Summer : public commonhold::Process {
 public:
  Summer(commonhold::Value<long> result, int most) : result_(std::move(result)), most_(most) {}

  void run() override {
    for (int n = 1; n <= most_; ++n) result_ += n;
  }

 private:
  commonhold::Value<long> result_;
  int most_;
};

int main() {
  commonhold::Manager manager;
  auto sum = manager.value(0L);
  Summer summer(sum, 100);
  summer.start();
  summer.join();
  std::cout << (summer.name().starts_with("Summer-") ? "a Summer" : summer.name()) << " summed up to " << sum << '\n';

  auto count = manager.value(0);
  commonhold::Process threads([&] {
    std::vector<std::thread> all;
    for (int i = 0; i < 4; ++i) {
      all.emplace_back([&] {
        for (int n = 0; n < 1000; ++n) ++count;
      });
    }
    for (auto& thread : all) thread.join();
  });
  threads.start();
  threads.join();
  std::cout << "four threads of a process counted to " << count << '\n';
}
