// The server of examples/process/capitals_server.cc with a pool of four: a fifth client waits until one leaves.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <iostream>
#include <set>
#include <string>
#include <vector>

using namespace commonhold;
using namespace std::chrono_literals;

int main() {
  constexpr int kWorkers = 4, kClients = 6;
  Listener listener({"127.0.0.1", 0});
  // The workers inherit the listener; each task takes the next client and serves it until it leaves.
  const auto serve_next = inherited([&listener] {
    Connection connection = listener.accept();
    try {
      for (;;) {
        std::string line = connection.recv<std::string>();
        std::transform(line.begin(), line.end(), line.begin(), [](unsigned char c) { return std::toupper(c); });
        connection.send(std::pair(line, getpid()));
      }
    } catch (const EndOfFile&) {
      return getpid();
    }
  });
  Pool pool(kWorkers);
  std::vector<AsyncResult<int>> served;
  for (int i = 0; i < kClients; ++i) served.push_back(pool.apply_async(serve_next));

  std::vector<Client> clients;
  std::set<int> pids;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back(listener.address());
    clients.back().send("client " + std::to_string(i));
  }
  for (int i = 0; i < kWorkers; ++i) {
    const auto [line, pid] = clients[i].recv<std::pair<std::string, int>>();
    std::cout << line << '\n';
    pids.insert(pid);
  }
  std::cout << pids.size() << " workers serve " << kWorkers << " clients\n";
  std::cout << "the fifth has an answer: " << std::boolalpha << clients[4].poll_for(30ms) << '\n';
  for (int waiting = kWorkers; waiting < kClients; ++waiting) {
    clients.erase(clients.begin());  // the first one of them leaves
    const auto [line, pid] = clients[kWorkers - 1].recv<std::pair<std::string, int>>();
    std::cout << "when one leaves: " << line << ", by one of the four: " << pids.contains(pid) << '\n';
  }
  clients.clear();
  for (auto& result : served) pids.insert(result.get());
  std::cout << "all were served by " << pids.size() << " workers\n";
  pool.close();
  pool.join();
}
