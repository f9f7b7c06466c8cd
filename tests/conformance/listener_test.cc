// Listener and Client as the reference's users know them: rows of docs/semantics/connection.md.
#include <commonhold/commonhold.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>

#include "support/children.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

// A path for a socket that is this test's own.
struct SocketPath {
  std::string path = "/tmp/commonhold-test-" + std::to_string(getpid()) + ".socket";
  ~SocketPath() { unlink(path.c_str()); }
};

}  // namespace

TEST_CASE("a listener tells its real address and the peer's") {
  Listener tcp({"127.0.0.1", 0});
  CHECK(tcp.address().port() != 0);
  CHECK(!tcp.last_accepted());
  Client client(tcp.address());
  Connection accepted = tcp.accept();
  REQUIRE(tcp.last_accepted());
  CHECK(tcp.last_accepted()->host() == "127.0.0.1");
  CHECK(tcp.last_accepted()->port() != tcp.address().port());
  CHECK_THAT(tcp.address().to_string(), Contains("tcp:127.0.0.1:"));
  Listener local;
  CHECK(!local.address().path().empty());
  Client other(local.address());
  local.accept();
  CHECK(local.last_accepted() == Address());
}

TEST_CASE("addresses may be hosts by name, paths, and abstract names") {
  SocketPath place;
  const std::string abstract = std::string(1, '\0') + place.path;
  for (const Address& address : {Address("localhost", 0), Address(place.path), Address(abstract)}) {
    Listener listener(address);
    INFO(listener.address().to_string());
    CHECK(wait_for({listener}, 0s).empty());
    Client client(listener.address());
    CHECK(wait({listener}).size() == 1);
    Connection accepted = listener.accept();
    client.send(address.to_string());
    CHECK(accepted.recv<std::string>() == address.to_string());
  }
}

TEST_CASE("a socket file goes with its listener, in the process that made it") {
  SocketPath place;
  struct stat status {};
  {
    Listener listener(place.path);
    CHECK(stat(place.path.c_str(), &status) == 0);
    Process child([&] { listener.close(); });
    child.start();
    child.join();
    CHECK(stat(place.path.c_str(), &status) == 0);
    Client client(place.path);
    listener.close();
    listener.close();
    CHECK_THROWS_AS(listener.accept(), Closed);
    CHECK_THROWS_AS(listener.fileno(), Closed);
    CHECK(listener.address() == Address(place.path));
  }
  CHECK(stat(place.path.c_str(), &status) != 0);
}

TEST_CASE("an address in use is refused, one that a killed listener left is taken over") {
  SocketPath place;
  Process killed([&] {
    Listener listener(place.path);
    raise(SIGKILL);
  });
  killed.start();
  killed.join();
  struct stat status {};
  REQUIRE(stat(place.path.c_str(), &status) == 0);
  CHECK(system_code([&] { Client client(place.path); }) == ECONNREFUSED);
  Listener listener(place.path);
  CHECK(system_code([&] { Listener second(place.path); }) == EADDRINUSE);
  Client client(place.path);
  Listener tcp({"127.0.0.1", 0});
  CHECK(system_code([&] { Listener second(tcp.address()); }) == EADDRINUSE);
}

TEST_CASE("nobody listening is refused by the system's word") {
  CHECK(system_code([] { Client client("/nonexistent/commonhold"); }) == ENOENT);
  Address gone;
  {
    Listener listener({"127.0.0.1", 0});
    gone = listener.address();
  }
  CHECK(system_code([&] { Client client(gone); }) == ECONNREFUSED);
  CHECK_THROWS_AS(Client(Address("no such host", 1)), ValueError);
  CHECK_THROWS_AS(Listener(std::string(200, 'x')), ValueError);
}

TEST_CASE("both ends prove that they know the key") {
  for (const Address& address : {Address(), Address("127.0.0.1", 0)}) {
    Listener listener(address, {.authkey = "secret"});
    Process client([&] {
      Client connection(listener.address(), {.authkey = "secret"});
      connection.send(connection.recv<int>() + 1);
    });
    client.start();
    Connection connection = listener.accept();
    connection.send(41);
    CHECK(connection.recv<int>() == 42);
    client.join();
  }
}

TEST_CASE("a wrong key fails at both ends, and the listener goes on") {
  Listener listener({}, {.authkey = "secret"});
  const auto client_with = [&](std::optional<std::string> key) {
    return Process([&listener, key] {
      try {
        Client connection(listener.address(), {.authkey = key});
        connection.send_bytes(std::string_view("I know no key"));
        connection.recv_bytes();
        connection.recv_bytes();
      } catch (const AuthenticationError&) {
        throw Exit(42);
      } catch (const EndOfFile&) {
        throw Exit(43);
      } catch (const SystemError&) {
        throw Exit(43);
      }
    });
  };
  for (const auto& [key, status] : std::map<std::string, int>{{"wrong", 42}, {"", 42}, {"none", 43}}) {
    INFO(key);
    Process client = client_with(key == "none" ? std::nullopt : std::optional<std::string>(key));
    client.start();
    CHECK_THROWS_AS(listener.accept(), AuthenticationError);
    client.join();
    CHECK(client.exitcode() == std::optional<int>(status));
  }
  Process client([&] { Client(listener.address(), {.authkey = "secret"}).send(1); });
  client.start();
  CHECK(listener.accept().recv<int>() == 1);
  client.join();
}

TEST_CASE("no client waits for the proof of another one that says nothing") {
  Listener listener({}, {.authkey = "secret"});
  Client silent(listener.address()), other(listener.address());
  const auto client = [&](int number) {
    return Process([&listener, number] { Client(listener.address(), {.authkey = "secret"}).send(number); });
  };
  for (int number : {1, 2}) {
    Process honest = client(number);
    honest.start();
    CHECK(listener.accept().recv<int>() == number);
    honest.join();
    CHECK(honest.exitcode() == std::optional<int>(0));
  }
  // The silent one is not lost: it may still prove itself, and whoever waits for the listener sees it.
  const std::string challenge = silent.recv_bytes();
  CHECK(challenge.starts_with("#CHALLENGE#"));
  silent.send_bytes("nonsense");
  CHECK(wait({listener}) == std::vector<std::size_t>{0});
  CHECK_THROWS_AS(listener.accept(), AuthenticationError);
  silent.close();
  other.close();
  CHECK_THROWS_AS(listener.accept(), AuthenticationError);
  Process last = client(3);
  last.start();
  CHECK(listener.accept().recv<int>() == 3);
  last.join();
}

TEST_CASE("a silent client that dies is forgotten, though a forked child still has its socket") {
  Listener listener({}, {.authkey = "secret"});
  const PlainPipe connected;
  Process silent([&] {
    const Client client(listener.address());
    connected.write(getpid());
    stay();
  });
  const auto accept_honest = [&](int number) {
    Process honest([&] { Client(listener.address(), {.authkey = "secret"}).send(number); });
    honest.start();
    CHECK(listener.accept().recv<int>() == number);
    honest.join();
  };
  silent.start();
  connected.read();
  accept_honest(1);  // the silent one is a guest now
  Process heir(stay);
  heir.start();
  silent.kill();
  silent.join();
  CHECK_THROWS_AS(listener.accept(), AuthenticationError);
  CHECK(wait_for({listener}, 0s).empty());
  accept_honest(2);
  CHECK(wait_for({listener}, 0s).empty());
  heir.kill();
  heir.join();
}

TEST_CASE("a listener with an empty key asks nobody, and a client with a key insists") {
  Listener open({}, {.authkey = ""});
  Client plain(open.address());
  open.accept().close();
  Process insisting([&] {
    try {
      Client client(open.address(), {.authkey = "secret"});
    } catch (const AuthenticationError&) {
      throw Exit(42);
    }
  });
  insisting.start();
  Connection accepted = open.accept();
  accepted.send("not a challenge");
  insisting.join();
  CHECK(insisting.exitcode() == std::optional<int>(42));
}
