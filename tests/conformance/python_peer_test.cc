// Python's own multiprocessing.connection at the other end: its Client and our Listener, its Listener and our Client.
#include <commonhold/commonhold.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "support/children.h"
#include "support/python_program.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

constexpr Protocol kPython = Protocol::kPython;

// What Python's programs here speak instead of their own proof: that of 3.12 and later, by the hash of their choice.
constexpr const char* kNewerPython = R"(
import hmac, os

def challenge(peer, key, hash=os.environ.get('TEST_HASH', 'sha256')):
    nonce = b'{' + hash.encode() + b'}' + os.urandom(40)
    peer.send_bytes(b'#CHALLENGE#' + nonce)
    said = peer.recv_bytes(256)
    name, digest = ('md5', said) if len(said) == 16 else (said[1:said.index(b'}')].decode(), said[said.index(b'}') + 1:])
    right = hmac.compare_digest(hmac.new(key, nonce, name).digest(), digest)
    peer.send_bytes(b'#WELCOME#' if right else b'#FAILURE#')
    if not right:
        raise AuthenticationError('wrong digest')
    assert name == hash, name

def answer(peer, key):
    said = peer.recv_bytes(256)
    assert said.startswith(b'#CHALLENGE#'), said
    nonce = said[11:]
    name = nonce[1:nonce.index(b'}')]
    assert name == b'sha256' and len(nonce) == 48, nonce
    peer.send_bytes(b'{' + name + b'}' + hmac.new(key, nonce, name.decode()).digest())
    if peer.recv_bytes(256) != b'#WELCOME#':
        raise AuthenticationError('refused')

connection.deliver_challenge, connection.answer_challenge = challenge, answer
)";

// Sends bytes and values to something that sends them back.
constexpr const char* kConversation = R"(
def converse(c):
    for size in (0, 1, 17000, 5 << 20):
        data = bytes(i & 255 for i in range(251)) * (size // 251 + 1)
        c.send_bytes(data[:size])
        assert c.recv_bytes() == data[:size], size
    for value in (None, True, 0, -1, 2**63 - 1, -2**63, 1.5, '', 'gr\u00fc\u00dfe \U0001f600', b'\0\xff', [1, [2.5, None]],
                  {'a': 1, b'b': [True], 3: {}}, [{'name': 'x', 'name2': 'x'}] * 50, list(range(5000))):
        c.send(value)
        back = c.recv()
        assert back == value and type(back) is type(value), back
    c.close()
)";

void send_back(Connection connection) {
  for (int i = 0; i < 4; ++i) connection.send_bytes(connection.recv_bytes());
  for (int i = 0; i < 14; ++i) connection.send(connection.recv<Any>());
  CHECK_THROWS_AS(connection.recv<Any>(), EndOfFile);
}

struct SocketPath {
  std::string path = "/tmp/commonhold-python-" + std::to_string(getpid()) + ".socket";
  ~SocketPath() { unlink(path.c_str()); }
};

std::vector<Address> every_kind_of_address(const SocketPath& place) {
  return {Address(place.path), Address(std::string(1, '\0') + place.path), Address("127.0.0.1", 0)};
}

std::string python_key(const std::optional<std::string>& key) {
  return key ? std::string("b").append(python_text(*key)) : "None";
}

// A Python program with a listener: the address is told to the test, then `text` runs.
struct PythonListener {
  PythonListener(const std::string& text, const std::string& where, const std::optional<std::string>& key)
      : python("listener = Listener(argument[0], authkey=argument[1])\npeer.send(listener.address)\n" + text,
               {where, python_key(key)}) {
    const Any told = python.peer().recv<Any>();
    // An abstract name is bytes to Python.
    address = told.is_list() ? Address(told.at(0).as<std::string>(), told.at(1).as<std::uint16_t>())
                             : Address(where_of(told));
  }
  static std::string where_of(const Any& told) {
    if (told.is_text()) return told.as<std::string>();
    const auto bytes = told.as<Any::Bytes>();
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  PythonPeer python;
  Address address;
};

constexpr const char* kAcceptUntilRight = R"(
while True:
    try:
        c = listener.accept()
        break
    except (AuthenticationError, EOFError, OSError) as error:
        peer.send(type(error).__name__)
)";

}  // namespace

TEST_CASE("Python's Client talks to a listener: by path, abstract name and TCP, with a key and without") {
  const SocketPath place;
  for (const Address& address : every_kind_of_address(place)) {
    for (const auto& key : {std::optional<std::string>(), std::optional<std::string>("a secret")}) {
      Listener listener(address, {.authkey = key, .protocol = kPython});
      INFO(listener.address().to_string());
      PythonProgram python(std::string(kConversation) + "converse(Client(argument[0], authkey=argument[1]))",
                           {python_address(listener.address()), python_key(key)});
      Connection connection = listener.accept();
      CHECK(connection.protocol() == kPython);
      send_back(std::move(connection));
      CHECK(python.status() == 0);
    }
  }
}

TEST_CASE("a client talks to Python's Listener: by path, abstract name and TCP, with a key and without") {
  const SocketPath place;
  for (const Address& address : every_kind_of_address(place)) {
    for (const auto& key : {std::optional<std::string>(), std::optional<std::string>("a secret")}) {
      INFO(address.to_string());
      PythonListener python(std::string(kConversation) + "converse(listener.accept())", python_address(address), key);
      send_back(Client(python.address, {.authkey = key, .protocol = kPython}));
      CHECK(python.python.status() == 0);
    }
  }
}

TEST_CASE("a Python client with a wrong key is refused at both ends, and the listener goes on") {
  Listener listener({}, {.authkey = "secret", .protocol = kPython});
  const std::string address = python_address(listener.address());
  for (const std::string newer : {"", kNewerPython}) {
    PythonProgram wrong(newer + R"(
try:
    Client(argument[0], authkey=b'wrong')
except AuthenticationError:
    sys.exit(42)
)",
                        {address});
    CHECK_THAT(refusal<AuthenticationError>([&] { listener.accept(); }), Contains("does not know the authkey"));
    CHECK(wrong.status() == 42);
    PythonProgram without_key("Client(argument[0]).close()", {address});
    CHECK_THROWS_AS(listener.accept(), AuthenticationError);
    CHECK(without_key.status() == 0);
    PythonProgram right(newer + "Client(argument[0], authkey=b'secret').send(7)", {address});
    CHECK(listener.accept().recv<int>() == 7);
    CHECK(right.status() == 0);
  }
}

TEST_CASE("Python's Listener refuses a client with a wrong key, which says so, and takes the next one") {
  for (const std::string newer : {"", kNewerPython}) {
    PythonListener python(newer + kAcceptUntilRight + "c.send(c.recv() + 1)", python_address(Address("127.0.0.1", 0)),
                          "secret");
    const auto client = [&](const std::string& key) {
      return Client(python.address, {.authkey = key, .protocol = kPython});
    };
    CHECK_THAT(refusal<AuthenticationError>([&] { client("wrong"); }), Contains("the authkeys differ"));
    CHECK(python.python.peer().recv<std::string>() == "AuthenticationError");
    Client right = client("secret");
    right.send(41);
    CHECK(right.recv<int>() == 42);
    CHECK(python.python.status() == 0);
  }
}

TEST_CASE("the challenge of Python 3.12 is spoken, in both roles and by each of its hashes") {
  for (const char* hash : {"sha256", "sha384", "sha3_256", "sha3_384", "md5"}) {
    INFO(hash);
    setenv("TEST_HASH", hash, 1);
    Listener listener({}, {.authkey = "a secret", .protocol = kPython});
    PythonProgram client(
        std::string(kNewerPython) + kConversation + "converse(Client(argument[0], authkey=b'a secret'))",
        {python_address(listener.address())});
    send_back(listener.accept());
    CHECK(client.status() == 0);
    PythonListener other(std::string(kNewerPython) + kConversation + "converse(listener.accept())",
                         python_address(Address("127.0.0.1", 0)), "a secret");
    send_back(Client(other.address, {.authkey = "a secret", .protocol = kPython}));
    CHECK(other.python.status() == 0);
    unsetenv("TEST_HASH");
  }
}

TEST_CASE("a listener that welcomes a client without knowing the key is found out") {
  PythonListener python(R"(
c = listener.accept()
c.send_bytes(b'#CHALLENGE#' + bytes(20))
assert len(c.recv_bytes()) == 16
c.send_bytes(b'#WELCOME#')
assert len(c.recv_bytes()) == 59
c.send_bytes(bytes(16))
assert c.recv_bytes() == b'#FAILURE#'
)",
                        python_address(Address("127.0.0.1", 0)), std::nullopt);
  CHECK_THAT(refusal<AuthenticationError>([&] { Client(python.address, {.authkey = "k", .protocol = kPython}); }),
             Contains("the listener does not know the authkey"));
  CHECK(python.python.status() == 0);
}

TEST_CASE("challenges that no Python makes are refused") {
  const std::vector<std::string> challenges = {"b'#CHALLENGE#'",
                                               "b'#CHALLENGE#' + bytes(19)",
                                               "b'#CHALLENGE#' + bytes(40)",
                                               "b'#CHALLENGE#{sha256'",
                                               "b'#CHALLENGE#{sha512}' + bytes(40)",
                                               "b'#CHALLENGE#{}' + bytes(40)",
                                               "b'hello'",
                                               "b''",
                                               "bytes(257)"};
  for (const std::string& challenge : challenges) {
    INFO(challenge);
    PythonListener python("c = listener.accept()\nc.send_bytes(" + challenge +
                              ")\ntry:\n  c.recv_bytes()\nexcept (EOFError, OSError):\n  pass\n",
                          python_address(Address("127.0.0.1", 0)), std::nullopt);
    CHECK_THROWS_AS(Client(python.address, {.authkey = "k", .protocol = kPython}), AuthenticationError);
  }
}

TEST_CASE("no Python client waits for another one that is silent, sends garbage or hangs up at any step of the proof") {
  Listener listener({}, {.authkey = "secret", .protocol = kPython});
  PythonProgram troubled(R"(
import hmac, os, random, socket
random.seed(argument[1])
def begun(steps):
    c = Client(argument[0])
    said = c.recv_bytes()
    assert said.startswith(b'#CHALLENGE#{sha256}'), said
    if steps > 0:
        c.send_bytes(hmac.new(b'secret', said[11:], 'md5').digest())
        assert c.recv_bytes() == b'#WELCOME#'
    if steps > 1:
        c.send_bytes(b'#CHALLENGE#' + os.urandom(20))
        assert len(c.recv_bytes()) == 16
    return c
silent = [begun(steps) for steps in (0, 1, 2)]
for steps in (0, 1, 2):
    begun(steps).close()
    begun(steps).send_bytes(random.randbytes(16))
    begun(steps).send_bytes(random.randbytes(300))
    begun(steps).send_bytes(b'')
    begun(steps).send_bytes(b'#FAILURE#')
    raw = begun(steps)
    os.write(raw.fileno(), b'GET / HTTP/1.1\r\n\r\n')
    raw.close()
honest = Client(argument[0], authkey=b'secret')
honest.send('honest')
assert honest.recv() == 'and welcome'
for c in silent:
    c.close()
)",
                         {python_address(listener.address()), std::to_string(Catch::rngSeed())});
  int refused = 0;
  std::optional<Connection> honest;
  while (!honest) {
    try {
      honest = listener.accept();
    } catch (const AuthenticationError&) {
      ++refused;
    }
  }
  CHECK(refused == 18);
  CHECK(honest->recv<std::string>() == "honest");
  honest->send("and welcome");
  CHECK(troubled.status() == 0);
  for (int i = 0; i < 3; ++i) CHECK_THROWS_AS(listener.accept(), AuthenticationError);
  CHECK(wait_for({listener}, 0s).empty());
}

TEST_CASE("a Python peer that says nothing is given up after ten seconds, by a listener and by a client") {
  PythonListener python("c = listener.accept()\npeer.poll(None)", python_address(Address("127.0.0.1", 0)),
                        std::nullopt);
  Process client([&] {
    try {
      Client(python.address, {.authkey = "secret", .protocol = kPython});
    } catch (const AuthenticationError&) {
      throw Exit(42);
    }
  });
  client.start();
  Listener listener({}, {.authkey = "secret", .protocol = kPython});
  const Client silent(listener.address(), {.protocol = kPython});
  CHECK_THAT(refusal<AuthenticationError>([&] { listener.accept(); }), Contains("said nothing for 10 seconds"));
  client.join();
  CHECK(client.exitcode() == std::optional<int>(42));
}

TEST_CASE("a Python program at a listener of the native protocol is refused, and the error names the option") {
  Listener listener({}, {.authkey = "secret"});
  for (const std::string newer : {"", kNewerPython}) {
    PythonProgram python(R"(
try:
    Client(argument[0], authkey=b'secret')
except (EOFError, OSError, AssertionError):
    sys.exit(42)
)",
                         {python_address(listener.address())});
    CHECK_THAT(refusal<AuthenticationError>([&] { listener.accept(); }), Contains("Protocol::kPython"));
    CHECK(python.status() == 42);
  }
  Listener for_python({}, {.authkey = "secret", .protocol = kPython});
  Process native([&] {
    try {
      Client(for_python.address(), {.authkey = "secret"});
    } catch (const AuthenticationError&) {
      throw Exit(42);
    }
  });
  native.start();
  CHECK_THROWS_AS(for_python.accept(), AuthenticationError);
  native.join();
  CHECK(native.exitcode() == std::optional<int>(42));
}
