// A class of the program's own that lives in the server: every process calls the one object's methods.
// It teaches how a type is registered, that what a method throws reaches the caller, that a method that waits holds up
// nobody else, and what a program with threads needs: main() calls serve_if_asked() first.
#include <commonhold/commonhold.h>

#include <iostream>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

class Auction {
 public:
  explicit Auction(int lowest) : highest_(lowest) {}

  // True when it is the highest so far.
  bool bid(const std::string& who, int amount) {
    std::lock_guard hold(mutex_);  // methods run side by side
    if (amount <= 0) throw std::invalid_argument("a bid of " + std::to_string(amount));
    ++bids_[who];
    if (amount <= highest_) return false;
    highest_ = amount;
    return true;
  }
  int highest() const {
    std::lock_guard hold(mutex_);
    return highest_;
  }
  std::map<std::string, int> bids() const {
    std::lock_guard hold(mutex_);
    return bids_;
  }

 private:
  mutable std::mutex mutex_;
  int highest_;
  std::map<std::string, int> bids_;
};

}  // namespace

int main() {
  commonhold::Type<Auction>("Auction")
      .constructor<int>()
      .method("bid", &Auction::bid)
      .method("highest", &Auction::highest)
      .method("bids", &Auction::bids);
  commonhold::serve_if_asked();

  std::thread clock([] { std::this_thread::sleep_for(std::chrono::milliseconds(200)); });  // no program to be forked

  commonhold::Manager manager;
  auto auction = manager.custom("Auction", 10);

  std::vector<commonhold::Process> bidders;
  for (int i = 1; i <= 5; ++i) {
    bidders.emplace_back([=] {
      for (int amount = 10; amount <= 100; amount += 10)
        auction.call<bool>("bid", "bidder " + std::to_string(i), amount);
    });
  }
  for (auto& bidder : bidders) bidder.start();
  for (auto& bidder : bidders) bidder.join();

  int bids = 0;
  for (const auto& [who, count] : auction.call<std::map<std::string, int>>("bids")) bids += count;
  std::cout << bids << " bids, the highest " << auction.call<int>("highest") << '\n';
  try {
    auction.call("bid", "nobody", -1);
  } catch (const commonhold::RemoteError& error) {
    std::cout << error.what() << '\n';
  }
  clock.join();
}
