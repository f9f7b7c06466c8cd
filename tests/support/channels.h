// A channel of each kind, for tests that hold for all of them.
#pragma once

#include <commonhold/connection.h>
#include <commonhold/listener.h>

#include <string>
#include <utility>
#include <vector>

namespace commonhold::test {

// Both ends of one channel of each kind: a pipe, a Unix stream, TCP.
struct Channel {
  std::string kind;
  Connection a, b;
};

inline Channel channel_over(const Address& address, const std::string& kind) {
  Listener listener(address);
  Client client(listener.address());
  return {kind, std::move(client), listener.accept()};
}

inline std::vector<Channel> channels() {
  std::vector<Channel> all;
  Pipe pipe;
  all.push_back({"pipe", std::move(pipe.first), std::move(pipe.second)});
  all.push_back(channel_over({}, "unix"));
  all.push_back(channel_over({"127.0.0.1", 0}, "tcp"));
  return all;
}

}  // namespace commonhold::test
