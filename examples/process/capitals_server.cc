// A TCP server that answers in capitals, with a process for each connection: six clients are served at once.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <iostream>
#include <list>
#include <set>
#include <string>
#include <vector>

using namespace commonhold;

namespace {

void serve(Connection connection) {
  try {
    for (;;) {
      std::string line = connection.recv<std::string>();
      std::transform(line.begin(), line.end(), line.begin(), [](unsigned char c) { return std::toupper(c); });
      connection.send(std::pair(line, getpid()));
    }
  } catch (const EndOfFile&) {
    // The client has gone.
  }
}

}  // namespace

int main() {
  constexpr int kClients = 6;
  const std::string key = current_process().authkey();
  Listener listener({"127.0.0.1", 0}, {.authkey = key});
  Process server([&] {
    std::list<Process> served;
    for (int i = 0; i < kClients; ++i) {
      served.emplace_back([&listener, connection = listener.accept()]() mutable {
        listener.close();
        serve(std::move(connection));
      });
      served.back().start();
      // The Process that was started has its connection; this one is closed with the Process's function.
    }
  });
  server.start();

  // All are connected before the first one leaves: nobody waits for another.
  std::vector<Client> clients;
  std::set<int> pids;
  for (int i = 0; i < kClients; ++i) clients.emplace_back(listener.address(), ClientOptions{.authkey = key});
  for (int i = 0; i < kClients; ++i) clients[i].send("hello from client " + std::to_string(i));
  for (auto& client : clients) {
    const auto [line, pid] = client.recv<std::pair<std::string, int>>();
    std::cout << line << '\n';
    pids.insert(pid);
  }
  std::cout << clients.size() << " clients were served at once by " << pids.size() << " processes\n";
  clients.clear();
  server.join();
}
