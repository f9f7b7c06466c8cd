// What strangers send ends their own connection and nothing else.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <vector>

#include "commonhold/server.h"
#include "rpc/socket.h"
#include "support/process_shared.h"
#include "support/rpc_client.h"
#include "support/server_ground.h"

using namespace commonhold;

namespace {

class RawConnection {
 public:
  explicit RawConnection(const std::string& folder) : socket_(rpc::connect_to_folder(folder)) {}
  ~RawConnection() {
    if (socket_ >= 0) close(socket_);
  }
  RawConnection(RawConnection&& other) : socket_(std::exchange(other.socket_, -1)) {}
  bool open() const { return socket_ >= 0; }

  // False when the other end is gone.
  bool send(const void* bytes, std::size_t size) {
    auto* at = static_cast<const char*>(bytes);
    while (size != 0) {
      ssize_t sent = ::send(socket_, at, size, MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) {
        pollfd room{socket_, POLLOUT, 0};
        if (poll(&room, 1, 10'000) != 1) return false;
        continue;
      }
      if (sent <= 0) return false;
      at += sent;
      size -= static_cast<std::size_t>(sent);
    }
    return true;
  }
  bool send_words(std::initializer_list<std::uint32_t> words) {
    std::vector<std::uint32_t> copy(words);
    return send(copy.data(), copy.size() * 4);
  }
  void end_sending() { shutdown(socket_, SHUT_WR); }

  // Whether the server closes the connection within the time.
  bool closes_within(int milliseconds) {
    for (;;) {
      pollfd end{socket_, POLLIN, 0};
      if (poll(&end, 1, milliseconds) != 1) return false;
      char bytes[4096];
      ssize_t got = recv(socket_, bytes, sizeof bytes, 0);
      if (got == 0 || (got < 0 && errno != EAGAIN)) return true;
    }
  }

 private:
  int socket_;
};

void require_that_it_serves(const Server& server) {
  auto loop = kj::setupAsyncIo();
  test::RpcClient client(loop, server.folder());
  auto session = client.come_in(rpc::existing_address(server.folder()));
  REQUIRE(session.statsRequest().send().wait(loop.waitScope).getStats().getSessions() == 0);
}

}  // namespace

TEST_CASE("random bytes end the connection that sent them and no other") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    auto loop = kj::setupAsyncIo();
    test::RpcClient bystander(loop, server.folder());
    auto session = bystander.come_in(ground.address("stock"));
    std::mt19937 random(Catch::rngSeed());
    for (int round = 0; round < 300; ++round) {
      RawConnection connection(server.folder());
      REQUIRE(connection.open());
      std::vector<unsigned char> bytes(random() % 3000);
      for (auto& byte : bytes) byte = static_cast<unsigned char>(random());
      // Half of them with a plausible frame in front, so that the content is looked at.
      if (round % 2 == 0 && bytes.size() >= 8) {
        std::uint32_t frame[2] = {0, static_cast<std::uint32_t>((bytes.size() - 8) / 8)};
        std::memcpy(bytes.data(), frame, sizeof frame);
      }
      connection.send(bytes.data(), bytes.size());
      connection.end_sending();
      REQUIRE(connection.closes_within(10'000));
      if (round % 50 == 0) (void)session.statsRequest().send().wait(loop.waitScope);
    }
    (void)session.statsRequest().send().wait(loop.waitScope);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("mutations of a real conversation do no harm") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    // The bytes of a bootstrap and a challenge, as a client of kj's writes them.
    capnp::MallocMessageBuilder message;
    int pipe_ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pipe_ends) == 0);
    std::vector<unsigned char> recorded;
    {
      auto loop = kj::setupAsyncIo();
      auto stream = loop.lowLevelProvider->wrapSocketFd(kj::AutoCloseFd(pipe_ends[0]));
      capnp::TwoPartyVatNetwork network(*stream, capnp::rpc::twoparty::Side::CLIENT);
      auto system = capnp::makeRpcClient(network);
      auto host = message.initRoot<capnp::rpc::twoparty::VatId>();
      host.setSide(capnp::rpc::twoparty::Side::SERVER);
      auto door = system.bootstrap(host).castAs<rpc::schema::Door>();
      auto pending = door.challengeRequest().send();
      auto request = door.answerRequest();
      request.setClientNonce(kj::arrayPtr(reinterpret_cast<const kj::byte*>("0123456789abcdef0123456789abcdef"), 32));
      auto second = request.send();
      loop.provider->getTimer().afterDelay(20 * kj::MILLISECONDS).wait(loop.waitScope);
      unsigned char bytes[4096];
      ssize_t got = recv(pipe_ends[1], bytes, sizeof bytes, MSG_DONTWAIT);
      REQUIRE(got > 100);
      recorded.assign(bytes, bytes + got);
    }
    close(pipe_ends[1]);
    std::mt19937 random(Catch::rngSeed());
    for (int round = 0; round < 400; ++round) {
      std::vector<unsigned char> bytes = recorded;
      for (unsigned i = 0, changes = 1 + random() % 6; i < changes; ++i) {
        bytes[random() % bytes.size()] = static_cast<unsigned char>(random() % 3 == 0 ? 0xff : random());
      }
      if (random() % 4 == 0) bytes.resize(random() % bytes.size());
      RawConnection connection(server.folder());
      connection.send(bytes.data(), bytes.size());
      connection.end_sending();
      REQUIRE(connection.closes_within(10'000));
    }
    require_that_it_serves(server);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("huge segment counts, huge messages and truncated frames are refused at once") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    {
      RawConnection segments(server.folder());
      segments.send_words({0xffffffff, 1, 1, 1});
      REQUIRE(segments.closes_within(10'000));
    }
    {
      RawConnection large(server.folder());
      large.send_words({0, 0x7fffffff});  // 16 GiB
      REQUIRE(large.closes_within(10'000));
    }
    {
      RawConnection over(server.folder());
      over.send_words({0, static_cast<std::uint32_t>(rpc::kMaxMessageBytes / 8 + 1)});
      REQUIRE(over.closes_within(10'000));
    }
    {
      RawConnection truncated(server.folder());
      truncated.send_words({0, 100, 1, 2, 3});
      truncated.end_sending();
      REQUIRE(truncated.closes_within(10'000));
    }
    { RawConnection silent(server.folder()); }
    require_that_it_serves(server);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a handful of slow peers neither block nor outstay their welcome") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    std::vector<RawConnection> slow;
    for (int i = 0; i < 50; ++i) {
      slow.emplace_back(server.folder());
      if (i % 2 == 0) slow.back().send("\0\0", 2);  // a frame begins and never ends
    }
    for (int i = 0; i < 20; ++i) require_that_it_serves(server);
    auto loop = kj::setupAsyncIo();
    test::RpcClient patient(loop, server.folder());
    auto session = patient.come_in(ground.address("stock"));
    for (RawConnection& connection : slow) REQUIRE(connection.closes_within(20'000));
    (void)session.statsRequest().send().wait(loop.waitScope);  // who has proven itself may stay
    REQUIRE(session.statsRequest().send().wait(loop.waitScope).getStats().getConnections() == 1);
  }
  REQUIRE(ground.leftovers() == "");
}

namespace {

// Calls hostile(address) while a server in a child serves "stock", limited to so many descriptors if any, and then
// looks whether that serves still.
template <typename Hostile>
void require_served_after(Hostile&& hostile, rlim_t descriptors = 0) {
  test::ServerGround ground;
  {
    pid_t child = test::spawn([&]() {
      const rlimit few{descriptors, descriptors};
      if (descriptors != 0) setrlimit(RLIMIT_NOFILE, &few);
      Server server({.name = "stock"});
      server.start();
      server.wait();
    });
    auto address = ground.address("stock");
    REQUIRE(test::eventually([&]() { return access(address.socket_file().c_str(), F_OK) == 0; }));
    hostile(address);
    REQUIRE(waitpid(child, nullptr, WNOHANG) == 0);
    auto loop = kj::setupAsyncIo();
    test::RpcClient client(loop, address.folder);
    auto session = client.come_in(address);
    (void)session.shutdownRequest().send().wait(loop.waitScope);
    REQUIRE(test::wait_for(child) == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

// The protocol's Bootstrap message, as the two-party transport frames it.
std::vector<std::uint32_t> bootstrap_message(std::uint32_t question) {
  return {0, 5, 0, 0x10001, 8, 0, 0, 0x10001, question, 0, 0, 0};
}

}  // namespace

TEST_CASE("a stranger that sends without reading is closed before it fills the memory") {
  require_served_after([](const rpc::ManagerAddress& address) {
    RawConnection flood(address.folder);
    std::uint32_t sent = 0;
    for (constexpr std::uint32_t kMost = 200'000; sent < kMost; ++sent) {
      auto message = bootstrap_message(sent);
      if (!flood.send(message.data(), message.size() * 4)) break;
    }
    CHECK(sent < 200'000);
  });
}

TEST_CASE("nothing is read from a client that does not read its replies, and others are served meanwhile") {
  test::ServerGround ground;
  {
    Server server({.name = "stock"});
    server.start();
    auto loop = kj::setupAsyncIo();
    const int socket = rpc::connect_to_folder(server.folder());
    REQUIRE(socket >= 0);
    const int copy = dup(socket);
    {
      auto stream = loop.lowLevelProvider->wrapSocketFd(kj::AutoCloseFd(socket));
      capnp::TwoPartyVatNetwork network(*stream, capnp::rpc::twoparty::Side::CLIENT);
      auto system = capnp::makeRpcClient(network);
      capnp::MallocMessageBuilder message;
      message.initRoot<capnp::rpc::twoparty::VatId>().setSide(capnp::rpc::twoparty::Side::SERVER);
      auto door = system.bootstrap(message.getRoot<capnp::rpc::twoparty::VatId>()).castAs<rpc::schema::Door>();
      auto key = rpc::key_for_client(ground.address("stock"), std::nullopt);
      auto answer = rpc::knock(door, *key, "test").wait(loop.waitScope);
      REQUIRE(std::holds_alternative<rpc::Admitted>(*answer));
      // From here on it sends and reads nothing.
      std::uint32_t sent = 0;
      bool stuck = false;
      for (constexpr std::uint32_t kMost = 200'000; sent < kMost && !stuck; ++sent) {
        auto words = bootstrap_message(1000 + sent);
        const char* at = reinterpret_cast<const char*>(words.data());
        for (std::size_t left = words.size() * 4; left != 0 && !stuck;) {
          const ssize_t size = ::send(copy, at, left, MSG_NOSIGNAL | MSG_DONTWAIT);
          if (size > 0) {
            at += size;
            left -= static_cast<std::size_t>(size);
            continue;
          }
          pollfd room{copy, POLLOUT, 0};
          stuck = poll(&room, 1, 500) == 0;
        }
      }
      CHECK(stuck);
      test::RpcClient other(loop, server.folder());
      auto session = other.come_in(ground.address("stock"));
      CHECK(session.statsRequest().send().wait(loop.waitScope).getStats().getConnections() == 2);
    }
    close(copy);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("when descriptors run out the server waits, and serves again when there are some") {
  const auto crowd = [](const rpc::ManagerAddress& address) {
    const int server = test::server_pid(address);
    std::vector<RawConnection> many;
    for (int i = 0; i < 100; ++i) many.emplace_back(address.folder);
    usleep(100'000);
    REQUIRE(test::server_pid(address) == server);
  };
  require_served_after(crowd, 40);
}
