// One ticket, many buyers: everybody looks whether it is there, thinks for a millisecond, and takes it. First the
// number is in a JSON file and nobody keeps order, then the same with a lock around it, then it is in a shared dict,
// where looking and taking can be one step. It teaches what a lock is for, and when none is needed.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int kBuyers = 8;

int tickets_in(const std::string& path) {
  std::ifstream file(path);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto colon = text.find(':');
  return colon == std::string::npos ? 0 : std::stoi(text.substr(colon + 1));
}

void write_tickets(const std::string& path, int count) {
  std::ofstream(path) << "{\"tickets\": " << count << "}\n";
}

bool buy_from_file(const std::string& path) {
  const int left = tickets_in(path);
  std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the network, the payment
  if (left <= 0) return false;
  write_tickets(path, left - 1);
  return true;
}

template <typename Buy>
std::int64_t buyers_served(const commonhold::Manager& manager, const Buy& buy) {
  auto served = manager.value<std::int64_t>();
  std::vector<commonhold::Process> buyers;
  for (int i = 0; i < kBuyers; ++i) {
    buyers.emplace_back([&] {
      if (buy()) served += 1;
    });
    buyers.back().start();
  }
  for (auto& buyer : buyers) buyer.join();
  return served.load();
}

}  // namespace

int main() {
  commonhold::Manager manager;
  const std::string path = std::filesystem::temp_directory_path() / ("tickets-" + std::to_string(getpid()) + ".json");

  write_tickets(path, 1);
  std::cout << "a file, no order: " << buyers_served(manager, [&] { return buy_from_file(path); })
            << " buyers got the one ticket\n";

  write_tickets(path, 1);
  auto lock = manager.lock();
  std::cout << "a file and a lock: " << buyers_served(manager, [&] {
    std::scoped_lock guard(lock);
    return buy_from_file(path);
  }) << " buyer\n";
  std::filesystem::remove(path);

  auto stock = manager.dict<std::string, std::int64_t>({{"tickets", 1}});
  std::cout << "a shared dict: "
            << buyers_served(manager,
                             [&] {
                               std::int64_t one = 1;
                               return stock.compare_exchange("tickets", one, 0);  // taken if there is one, in one step
                             })
            << " buyer, " << stock["tickets"] << " tickets left\n";
}
