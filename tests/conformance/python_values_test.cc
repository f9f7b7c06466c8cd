// What travels to and from a Python program, as what, and what does not.
#include <commonhold/commonhold.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <deque>
#include <filesystem>
#include <limits>
#include <list>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "support/children.h"
#include "support/python_program.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using Catch::Contains;

namespace {

enum class Colour : short { kRed = -3 };
struct Point {
  int x = 0, y = 0;
};
struct Name {
  std::string text;
  bool operator==(const Name&) const = default;
};

// Says how Python writes each value, and sends the value back.
constexpr const char* kMirror = R"(
def told(value):
    if isinstance(value, (set, frozenset)):
        return type(value).__name__ + '(' + ', '.join(sorted(map(told, value))) + ')'
    if type(value) is dict:
        return '{' + ', '.join(sorted(told(k) + ': ' + told(v) for k, v in value.items())) + '}'
    return repr(value)
while True:
    try:
        value = peer.recv()
    except EOFError:
        break
    peer.send(told(value))
    peer.send(value)
)";

template <typename T>
std::string seen(Connection& peer, const T& value) {
  peer.send(value);
  return peer.recv<std::string>();
}

template <typename T>
void round_trip(Connection& peer, const T& value, const std::string& as_python) {
  INFO(as_python);
  CHECK(seen(peer, value) == as_python);
  CHECK((peer.recv<T>() == value));
}

struct Person {
  std::string name;
  std::vector<int> marks;
  bool operator==(const Person&) const = default;
};

}  // namespace

template <>
struct commonhold::Codec<Person> : commonhold::Members<"person", &Person::name, &Person::marks> {};
template <>
struct commonhold::Codec<Name> {
  static constexpr std::string_view name = "name";
  static std::string encode(const Name& value) { return value.text; }
  static Name decode(std::string_view bytes) { return {std::string(bytes)}; }
};

TEST_CASE("plain values arrive at a Python program as its own, and come back as they were") {
  PythonPeer python(kMirror);
  Connection& peer = python.peer();
  CHECK(seen(peer, nullptr) == "None");
  CHECK(peer.recv<Any>() == Any());
  CHECK(seen(peer, std::nullopt) == "None");
  CHECK(!peer.recv<std::optional<int>>());
  round_trip(peer, true, "True");
  round_trip(peer, false, "False");
  for (const std::int64_t n : {std::int64_t{0}, std::int64_t{255}, std::int64_t{256}, std::int64_t{65535},
                               std::int64_t{65536}, std::int64_t{2147483647}, std::int64_t{2147483648},
                               std::int64_t{-1}, std::int64_t{-2147483648}, std::int64_t{-2147483649},
                               std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}) {
    round_trip(peer, n, std::to_string(n));
  }
  round_trip(peer, std::numeric_limits<std::uint64_t>::max(), "18446744073709551615");
  round_trip(peer, std::uint64_t{1} << 63, "9223372036854775808");
  round_trip(peer, std::uint8_t{200}, "200");
  round_trip(peer, 'a', "97");
  round_trip(peer, Colour::kRed, "-3");
  round_trip(peer, 1.5, "1.5");
  round_trip(peer, -0.0, "-0.0");
  round_trip(peer, 1.5f, "1.5");
  round_trip(peer, 2.5L, "2.5");
  round_trip(peer, std::numeric_limits<double>::infinity(), "inf");
  CHECK(seen(peer, std::nan("")) == "nan");
  CHECK(std::isnan(peer.recv<double>()));
  round_trip(peer, std::string("grüße"), "'grüße'");
  round_trip(peer, std::string(300, 'x'), python_text(std::string(300, 'x')));
  round_trip(peer, std::string("a\0b", 3), "'a\\x00b'");
  CHECK(seen(peer, "a literal") == "'a literal'");
  CHECK(peer.recv<std::string>() == "a literal");
  CHECK(seen(peer, std::string_view("a view")) == "'a view'");
  CHECK(peer.recv<std::string>() == "a view");
  round_trip(peer, std::vector<std::byte>{std::byte{0}, std::byte{255}}, "b'\\x00\\xff'");
  round_trip(peer, std::vector<std::byte>(300, std::byte{'x'}),
             std::string("b").append(python_text(std::string(300, 'x'))));
  round_trip(peer, Name{"as bytes"}, "b'as bytes'");
  round_trip(peer, Person{"Ann", {1, 2}}, "('Ann', [1, 2])");
  round_trip(peer, std::filesystem::path("/tmp/x"), "'/tmp/x'");
  round_trip(peer, std::u8string(u8"\u00e4"), "'\u00e4'");
  peer.close();
  CHECK(python.status() == 0);
}

TEST_CASE("containers arrive at a Python program as its own, and come back as they were") {
  PythonPeer python(kMirror);
  Connection& peer = python.peer();
  round_trip(peer, std::vector<int>{}, "[]");
  round_trip(peer, std::vector<int>{1, -2, 3}, "[1, -2, 3]");
  round_trip(peer, std::vector<bool>{true, false}, "[True, False]");
  round_trip(peer, std::vector<std::vector<std::string>>{{"a"}, {}, {"b", "c"}}, "[['a'], [], ['b', 'c']]");
  round_trip(peer, std::deque<double>{1, 2}, "[1.0, 2.0]");
  round_trip(peer, std::list<int>{5}, "[5]");
  round_trip(peer, std::pair<int, std::string>(1, "one"), "(1, 'one')");
  round_trip(peer, std::tuple<>(), "()");
  round_trip(peer, std::tuple<bool, double, std::string, int>(true, .5, "x", 4), "(True, 0.5, 'x', 4)");
  round_trip(peer, std::array<int, 3>{1, 2, 3}, "(1, 2, 3)");
  round_trip(peer, std::array<std::string, 2>{"a", "b"}, "('a', 'b')");
  round_trip(peer, std::set<int>{3, 1}, "set(1, 3)");
  round_trip(peer, std::set<int>{}, "set()");
  round_trip(peer, std::unordered_set<std::string>{"x"}, "set('x')");
  round_trip(peer, std::map<std::string, int>{{"a", 1}, {"b", 2}}, "{'a': 1, 'b': 2}");
  round_trip(peer, std::unordered_map<int, std::vector<int>>{{1, {2}}}, "{1: [2]}");
  round_trip(peer, std::map<std::string, std::map<std::string, double>>{{"a", {{"b", 1.5}}}, {"c", {}}},
             "{'a': {'b': 1.5}, 'c': {}}");
  // What cannot be hashed in Python becomes what can.
  round_trip(peer, std::map<std::vector<int>, int>{{{1, 2}, 3}}, "{(1, 2): 3}");
  round_trip(peer, std::set<std::set<int>>{{1, 2}}, "set(frozenset(1, 2))");
  round_trip(peer, std::set<std::pair<int, std::vector<int>>>{{1, {2}}}, "set((1, (2,)))");
  round_trip(peer, std::optional<int>(5), "5");
  round_trip(peer, std::vector<std::optional<std::string>>{"x", std::nullopt}, "['x', None]");
  const Any nested = Any::map({{"list", Any::list(1, 2.5, "x", nullptr, true)}, {5, Any::map({})}});
  round_trip(peer, nested, "{'list': [1, 2.5, 'x', None, True], 5: {}}");
  round_trip(peer, std::map<Any, std::vector<Any>>{{Any::list(1, "a"), {Any::Bytes{std::byte{1}}}}},
             "{(1, 'a'): [b'\\x01']}");
  std::vector<double> many(300'000);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<double>(i) / 3;
  peer.send(many);
  peer.recv<std::string>();
  CHECK(peer.recv<std::vector<double>>() == many);
  peer.close();
  CHECK(python.status() == 0);
}

TEST_CASE("a value of Python's is received as any type that it fits in") {
  PythonPeer python(R"(
for value in (7, (1, 2), [1, 2], frozenset({1}), (1, [2, 3]), None, {}, {1, 2}, bytearray(b'xy'), 2**63):
    peer.send(value) if type(value) is not bytearray else peer.send_bytes(__import__('pickle').dumps(value, 5))
)");
  Connection& peer = python.peer();
  CHECK(peer.recv<double>() == 7.0);
  CHECK(peer.recv<std::vector<int>>() == std::vector<int>{1, 2});
  CHECK(peer.recv<std::pair<int, double>>() == std::pair<int, double>(1, 2));
  CHECK(peer.recv<std::set<int>>() == std::set<int>{1});
  CHECK(peer.recv<std::tuple<int, std::pair<int, int>>>() == std::tuple(1, std::pair(2, 3)));
  CHECK(peer.recv<Any>().is_null());
  CHECK(peer.recv<std::map<std::string, int>>().empty());
  CHECK(peer.recv<Any>().size() == 2);
  CHECK(peer.recv<std::vector<std::byte>>() == std::vector<std::byte>{std::byte{'x'}, std::byte{'y'}});
  CHECK(peer.recv<double>() == 9223372036854775808.0);
  CHECK_THROWS_AS(peer.recv<Any>(), EndOfFile);
}

TEST_CASE("a value of Python's that does not fit is a mismatch that names both, and the next one is fine") {
  PythonPeer python(R"(
import datetime, decimal
class Point:
    pass
for value in ('x', 5, 300, -1, 2**63, 2**64, -2**63 - 1, 2**4000, True, b'x', [1, 2], [1, 'x'], {'a': 'b'}, {1}, (1, 2), None,
              datetime.date(2026, 1, 1), decimal.Decimal(1), Point(), len, 'still here'):
    peer.send(value)
peer.send_bytes(b'hello')
peer.send_bytes(b'')
peer.send('and here')
)");
  Connection& peer = python.peer();
  const auto refused = [&]<typename T>(T, const std::string& sentence) {
    CHECK_THAT(refusal<TypeMismatch>([&] { peer.recv<T>(); }), Contains(sentence));
  };
  refused(0, "recv() of int32 met a str");
  refused(std::string(), "recv() of str met an int, 5");
  refused(std::uint8_t{}, "recv() of uint8 met an int, 300");
  refused(std::uint64_t{}, "recv() of uint64 met an int, -1");
  refused(std::int64_t{}, "recv() of int64 met an int, 9223372036854775808");
  refused(std::uint64_t{}, "met an int of 9 bytes, and C++ has 8");
  refused(Any(), "recv() of any met an int of 9 bytes");
  refused(Any(), "met an int of 501 bytes");
  refused(0, "recv() of int32 met a bool");
  refused(std::string(), "recv() of str met bytes");
  refused(std::tuple<int, int, int>(), "recv() of tuple<int32,int32,int32> met a list of 2 elements");
  refused(std::vector<int>(), "recv() of int32 met a str");
  refused(std::map<std::string, int>(), "recv() of int32 met a str");
  refused(std::vector<int>(), "recv() of vector<int32> met a set");
  refused(std::set<int>(), "recv() of set<int32> met a tuple of 2 elements");
  refused(true, "recv() of bool met None");
  refused(Any(), "a pickle of datetime.date cannot be read here: only None, bool, int");
  refused(Any(), "a pickle of decimal.Decimal cannot be read here");
  refused(Any(), "a pickle of __main__.Point cannot be read here");
  refused(0, "a pickle of builtins.len cannot be read here");
  CHECK(peer.recv<std::string>() == "still here");
  refused(0, "a message of 5 bytes that is no pickle; recv_bytes() takes what send_bytes() sent");
  refused(Any(), "a message of 0 bytes that is no pickle");
  CHECK(peer.recv<std::string>() == "and here");
}

TEST_CASE("what cannot travel to Python is refused before anything is sent") {
  PythonPeer python(kMirror);
  Connection& peer = python.peer();
  Manager manager;
  Pipe pipe;
  const auto list = manager.list<int>({1});
  const std::string sentence = "cannot be sent to Python (Protocol::kPython)";
  CHECK_THAT(refusal<UsageError>([&] { peer.send(list); }), Contains("a shared object " + sentence));
  CHECK_THAT(refusal<UsageError>([&] { peer.send(std::vector{list}); }), Contains("a shared object " + sentence));
  CHECK_THAT(refusal<UsageError>([&] { peer.send(Any::list(1, list)); }), Contains("a shared object " + sentence));
  CHECK_THAT(refusal<UsageError>([&] { peer.send(pipe.first); }), Contains("a connection or descriptor " + sentence));
  CHECK_THAT(refusal<UsageError>([&] { peer.send(Point{1, 2}); }), Contains("Point " + sentence));
  CHECK_THAT(refusal<UsageError>([&] {
               peer.send(std::set<std::map<int, int>>{{{1, 2}}});
             }),
             Contains("a map that is a key"));
  CHECK_THAT(refusal<UsageError>([&] {
               peer.send(std::map<Any, int>{{Any::map({}), 1}});
             }),
             Contains("a map that is a key"));
  CHECK_THROWS_AS(peer.send_descriptor(0), UsageError);
  CHECK_THROWS_AS(peer.recv_descriptor(), UsageError);
  CHECK_THROWS_AS(peer.recv<Connection>(), UsageError);
  CHECK_THAT(refusal<ValueError>([&] { peer.send(std::string("ab\xff")); }), Contains("byte 2 is 0xff"));
  CHECK_THROWS_AS(peer.send(Any("\xc3")), ValueError);
  round_trip(peer, 1, "1");
}

TEST_CASE("a connection to Python stays one when it is moved, duplicated, and sent to another process") {
  PythonPeer python(kMirror);
  Connection moved = std::move(python.peer());
  Connection copy = moved.duplicate();
  CHECK(copy.protocol() == Protocol::kPython);
  Pipe pipe;
  pipe.first.send(copy);
  Connection received = pipe.second.recv<Connection>();
  CHECK(received.protocol() == Protocol::kPython);
  CHECK(pipe.first.protocol() == Protocol::kNative);
  for (Connection* one : {&moved, &copy, &received}) {
    round_trip(*one, std::pair(1, 2), "(1, 2)");
    one->close();
    CHECK_THROWS_AS(one->send(1), Closed);
    CHECK_THROWS_AS(one->recv<int>(), Closed);
    CHECK_THROWS_AS(one->recv<Connection>(), Closed);
    CHECK_THROWS_AS(one->recv_descriptor(), Closed);
  }
}

TEST_CASE("a connection to Python is made of a stream that both have, and of no socket of packets") {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  Connection here(ends[0], true, true, Protocol::kPython);
  PythonProgram python(R"(
peer = connection.Connection(argument[0])
peer.send(peer.recv() + ['from Python'])
)",
                       {std::to_string(ends[1])});
  here.send(std::vector<std::string>{"from C++"});
  CHECK(here.recv<std::vector<std::string>>() == std::vector<std::string>{"from C++", "from Python"});
  CHECK(python.status() == 0);
  close(ends[1]);
  CHECK_THROWS_AS(here.recv<Any>(), EndOfFile);
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  CHECK_THROWS_AS(Connection(ends[0], true, true, Protocol::kPython), ValueError);
  for (const int end : ends) close(end);
}

TEST_CASE("a Python program that sends half a message and dies is an error, and one that announces a descriptor too") {
  PythonPeer python("import os\nos.write(peer.fileno(), b'\\0\\0\\1\\0' + b'half')\n");
  CHECK_THROWS_AS(python.peer().recv<Any>(), SystemError);
  PythonPeer other("import os\nos.write(peer.fileno(), b'\\xff\\xff\\xff\\xfe\\0')\n");
  CHECK_THROWS_AS(other.peer().recv<Any>(), SystemError);
}
