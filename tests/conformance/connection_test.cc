// Pipe and Connection as the reference's users know them: the rows of
// docs/semantics/connection.md.
#include <commonhold/commonhold.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>
#include <thread>
#include <vector>

#include "support/channels.h"
#include "support/manager_home.h"
#include "support/readable.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

struct Point {
  std::int32_t x, y;
  bool operator==(const Point&) const = default;
};

std::span<std::byte> bytes_of(std::string& text) {
  return std::as_writable_bytes(std::span(text.data(), text.size()));
}

}  // namespace

TEST_CASE("messages keep their borders and order, empty ones included") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    for (const char* text : {"one", "", "three", "\0"}) a.send_bytes(std::string_view(text));
    b.send_bytes(std::string_view("back"));
    CHECK(b.recv_bytes() == "one");
    CHECK(b.recv_bytes().empty());
    CHECK(b.recv_bytes() == "three");
    CHECK(b.recv_bytes().empty());
    CHECK(a.recv_bytes() == "back");
  }
}

TEST_CASE("values of every stored type arrive as they were sent") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    a.send(42);
    CHECK(b.recv<int>() == 42);
    a.send(-1);
    CHECK(b.recv<std::int64_t>() == -1);
    a.send(true);
    CHECK(b.recv<bool>());
    a.send(0.25);
    CHECK(b.recv<double>() == 0.25);
    a.send("a literal");
    CHECK(b.recv<std::string>() == "a literal");
    a.send(std::string("null \0 in it", 12));
    CHECK(b.recv<std::string>().size() == 12);
    a.send(Point{1, -2});
    CHECK(b.recv<Point>() == Point{1, -2});
    const std::map<std::string, std::vector<double>> map{{"a", {1, 2}}, {"b", {}}};
    a.send(map);
    CHECK(b.recv<std::map<std::string, std::vector<double>>>() == map);
    const std::vector<std::byte> raw{std::byte{0}, std::byte{255}};
    a.send(raw);
    CHECK(b.recv<std::vector<std::byte>>() == raw);
  }
}

TEST_CASE("nothing can be sent in place of a value: an optional takes both, and an Any takes null") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    a.send(5);
    CHECK(b.recv<std::optional<int>>() == 5);
    a.send(std::nullopt);
    CHECK(b.recv<std::optional<int>>() == std::nullopt);
    a.send(nullptr);
    CHECK(b.recv<std::optional<std::string>>() == std::nullopt);
    a.send("text");
    CHECK(b.recv<std::optional<std::string>>() == "text");
    a.send(std::optional(6));
    CHECK(b.recv<std::optional<int>>() == 6);
    a.send(std::optional<int>());
    CHECK(b.recv<std::optional<int>>() == std::nullopt);
    a.send(std::optional(std::vector{1, 2}));
    CHECK(b.recv<std::optional<std::vector<int>>>() == std::vector{1, 2});
    a.send(nullptr);
    CHECK(b.recv<Any>().is_null());
    a.send(std::nullopt);
    CHECK(b.recv<Any>().is_null());
    a.send("text");
    CHECK_THROWS_AS(b.recv<std::optional<int>>(), TypeMismatch);
    a.send(nullptr);
    CHECK_THROWS_AS(b.recv<int>(), TypeMismatch);
  }
}

TEST_CASE("a message of another kind is a mismatch that names both, and the next one is fine") {
  Pipe pipe;
  pipe.first.send("text");
  pipe.first.send(5);
  CHECK_THROWS_WITH(pipe.second.recv<int>(), Contains("whole number") && Contains("text"));
  CHECK(pipe.second.recv<int>() == 5);
  pipe.first.send_bytes(std::string_view(""));
  CHECK_THROWS_AS(pipe.second.recv<int>(), TypeMismatch);
}

TEST_CASE("a part of bytes is sent by offset and size, within its limits") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    const std::string_view bytes = "0123456789";
    a.send_bytes(bytes, 7);
    CHECK(b.recv_bytes() == "789");
    a.send_bytes(bytes, 2, 3);
    CHECK(b.recv_bytes() == "234");
    a.send_bytes(bytes, 10);
    CHECK(b.recv_bytes().empty());
    a.send_bytes(bytes, 3, 0);
    CHECK(b.recv_bytes().empty());
    CHECK_THROWS_AS(a.send_bytes(bytes, 11), ValueError);
    CHECK_THROWS_AS(a.send_bytes(bytes, 8, 3), ValueError);
    CHECK_THROWS_AS(a.send_bytes(bytes, 0, 11), ValueError);
    CHECK(!b.poll());
  }
}

TEST_CASE("a message longer than the limit makes an end unreadable, and closes one that only reads") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    a.send_bytes(std::string(10, 'x'));
    CHECK(b.recv_bytes(10).size() == 10);
    a.send_bytes(std::string(11, 'x'));
    CHECK_THROWS_AS(b.recv_bytes(10), LimitReached);
    CHECK(!b.readable());
    CHECK(!b.closed());
    CHECK_THROWS_AS(b.recv_bytes(), UsageError);
    b.send_bytes(std::string_view("still"));
    CHECK(a.recv_bytes() == "still");
  }
  Pipe pipe(false);
  pipe.second.send_bytes(std::string(100'000, 'x'));
  CHECK_THROWS_AS(pipe.first.recv_bytes(10), LimitReached);
  CHECK(pipe.first.closed());
}

TEST_CASE("receiving into a buffer gives the length, and a short buffer the whole message") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    std::string buffer(5, '.');
    a.send_bytes(std::string_view("abc"));
    CHECK(b.recv_bytes_into(bytes_of(buffer), 1) == 3);
    CHECK(buffer == ".abc.");
    CHECK_THROWS_AS(b.recv_bytes_into(bytes_of(buffer), 6), ValueError);
    a.send_bytes(std::string_view("abcdef"));
    a.send_bytes(std::string_view("next"));
    try {
      b.recv_bytes_into(bytes_of(buffer));
      FAIL("a message of 6 bytes in a buffer of 5");
    } catch (const BufferTooShort& error) {
      CHECK(error.bytes() == "abcdef");
    }
    CHECK(b.recv_bytes() == "next");
    a.send_bytes(std::string_view(""));
    CHECK(b.recv_bytes_into(bytes_of(buffer), 5) == 0);
  }
}

TEST_CASE("poll tells of messages and of the end, waits as long as it is told, and takes nothing") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    CHECK(!b.poll());
    CHECK(!b.poll_for(-1s));
    const auto start = std::chrono::steady_clock::now();
    CHECK(!b.poll_for(20ms));
    CHECK(std::chrono::steady_clock::now() - start >= 20ms);
    a.send_bytes(std::string_view("x"));
    CHECK(b.poll_for(std::chrono::hours(1)));
    CHECK(b.poll());
    CHECK(b.recv_bytes() == "x");
    CHECK(!b.poll());
    a.close();
    CHECK(b.poll_for(std::chrono::hours(24 * 365 * 1000)));
    CHECK_THROWS_AS(b.recv_bytes(), EndOfFile);
    CHECK(b.poll());
  }
}

TEST_CASE("after the last sender closed, what is pending comes first and then the end of file, each time") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    a.send(1);
    a.send(2);
    a.close();
    CHECK(b.recv<int>() == 1);
    CHECK(b.recv<int>() == 2);
    for (int i = 0; i < 3; ++i) CHECK_THROWS_AS(b.recv<int>(), EndOfFile);
    CHECK_THROWS_AS(b.recv_bytes(), EndOfFile);
  }
}

TEST_CASE("a peer that closed with unread messages resets a connection once") {
  Pipe pipe;
  pipe.second.send(1);
  pipe.first.send(2);
  pipe.first.close();
  // The message that was on its way comes or not, as the kernel has it; then the reset once; then the end.
  int resets = 0;
  for (bool ended = false; !ended;) {
    try {
      const int number = pipe.second.recv<int>();
      CHECK(number == 2);
    } catch (const EndOfFile&) {
      ended = true;
    } catch (const SystemError& error) {
      CHECK(error.code() == ECONNRESET);
      ++resets;
    }
  }
  CHECK(resets == 1);
}

TEST_CASE("sending to a closed peer is a broken pipe, for empty messages as well") {
  for (const bool duplex : {true, false}) {
    Pipe pipe(duplex);
    pipe.first.close();
    CHECK(system_code([&] { pipe.second.send(1); }) == EPIPE);
    CHECK(system_code([&] { pipe.second.send_bytes(std::string_view()); }) == EPIPE);
    CHECK(system_code([&] { pipe.second.send_bytes(std::string(100'000, 'x')); }) == EPIPE);
  }
}

TEST_CASE("every call on a closed connection says so, and close may be called again") {
  Pipe pipe(false);
  pipe.first.close();
  pipe.first.close();
  CHECK(pipe.first.closed());
  CHECK(pipe.first.readable());
  CHECK(!pipe.first.writable());
  CHECK_THROWS_AS(pipe.first.recv_bytes(), Closed);
  CHECK_THROWS_AS(pipe.first.recv<int>(), Closed);
  CHECK_THROWS_AS(pipe.first.poll(), Closed);
  CHECK_THROWS_AS(pipe.first.fileno(), Closed);
  CHECK_THROWS_WITH(pipe.first.send(1), Contains("closed"));
  CHECK_THROWS_AS(pipe.first.send_bytes(std::string_view("x"), 5), Closed);
}

TEST_CASE("the ends of a one-way pipe have a direction each") {
  Pipe pipe(false);
  CHECK(pipe.first.readable());
  CHECK(!pipe.first.writable());
  CHECK(!pipe.second.readable());
  CHECK(pipe.second.writable());
  CHECK_THROWS_AS(pipe.first.send(1), UsageError);
  CHECK_THROWS_AS(pipe.second.recv<int>(), UsageError);
  CHECK_THROWS_AS(pipe.second.poll(), UsageError);
  pipe.second.send(7);
  CHECK(pipe.first.recv<int>() == 7);
}

TEST_CASE("a connection is made of a connected socket only") {
  CHECK_THROWS_AS(Connection(-1), ValueError);
  Pipe pipe;
  CHECK_THROWS_AS(Connection(pipe.first.fileno(), false, false), ValueError);
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  CHECK_THROWS_AS(Connection(ends[0]), ValueError);
  close(ends[0]);
  close(ends[1]);
  CHECK(fcntl(pipe.first.fileno(), F_GETFD) == FD_CLOEXEC);
}

TEST_CASE("messages of any size pass") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    for (const std::size_t size : {65'534u, 65'535u, 65'536u, 65'537u, 200'000u, 16u << 20}) {
      std::string sent(size, 'x');
      for (std::size_t i = 0; i < size; i += 997) sent[i] = static_cast<char>(i);
      std::thread sender([&, &a = a] { a.send_bytes(sent); });
      const std::string received = b.recv_bytes();
      sender.join();
      CHECK(received.size() == size);
      CHECK(received == sent);
    }
    a.send(std::string(100'000, 'y'));
    CHECK(b.recv<std::string>() == std::string(100'000, 'y'));
  }
}

TEST_CASE("one thread may send while another one receives") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    std::thread echo([&b = b] {
      for (int i = 0; i < 2000; ++i) b.send(b.recv<int>() + 1);
    });
    std::thread sender([&a = a] {
      for (int i = 0; i < 2000; ++i) a.send(i);
    });
    bool sound = true;
    for (int i = 0; i < 2000; ++i) sound = sound && a.recv<int>() == i + 1;
    CHECK(sound);
    sender.join();
    echo.join();
  }
}

TEST_CASE("an end inside a message is an error, not an end of file") {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  Connection connection(ends[0]);
  REQUIRE(write(ends[1], "\0\0\0\5abc", 7) == 7);
  close(ends[1]);
  CHECK(system_code([&] { connection.recv_bytes(); }) == EIO);
}

TEST_CASE("a message over a stream has a 32-bit big-endian length, and goes out at once") {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  Connection connection(ends[0]);
  connection.send_bytes(std::string_view("abc"));
  char bytes[16];
  CHECK(read(ends[1], bytes, sizeof bytes) == 7);
  CHECK(std::string_view(bytes, 7) == std::string_view("\0\0\0\3abc", 7));
  REQUIRE(write(ends[1], "\xff\xff\xff\xff\0\0\0\0\0\0\0\2ok", 14) == 14);
  CHECK(connection.recv_bytes() == "ok");
  REQUIRE(write(ends[1], "\x80\0\0\0", 4) == 4);
  CHECK(system_code([&] { connection.recv_bytes(); }) == EBADMSG);
  close(ends[1]);
}

TEST_CASE(
    "several processes send into one end of a pipe, and every message arrives whole, once and in its sender's order") {
  constexpr int kSenders = 4, kEach = 200;
  Pipe pipe(false);
  std::vector<Process> senders;
  for (int sender = 0; sender < kSenders; ++sender) {
    senders.emplace_back([&, sender] {
      for (int i = 0; i < kEach; ++i) {
        const std::string filling(static_cast<std::size_t>(i * 37 % 5000), static_cast<char>('a' + sender));
        pipe.second.send(std::tuple(sender, i, filling));
      }
    });
    senders.back().start();
  }
  std::map<int, int> next;
  bool sound = true;
  for (int i = 0; i < kSenders * kEach; ++i) {
    const auto [sender, number, filling] = pipe.first.recv<std::tuple<int, int, std::string>>();
    sound = sound && number == next[sender]++ && filling.size() == static_cast<std::size_t>(number * 37 % 5000) &&
            filling.find_first_not_of(static_cast<char>('a' + sender)) == std::string::npos;
  }
  CHECK(sound);
  CHECK(next.size() == kSenders);
  CHECK(!pipe.first.poll());
  for (auto& sender : senders) sender.join();
}

TEST_CASE("fileno is the descriptor that is readable while a message is there") {
  for (auto& [kind, a, b] : channels()) {
    INFO(kind);
    const int fd = a.fileno();
    CHECK(!readable(fd, 0));
    b.send(7);
    CHECK(readable(fd, 20'000));
    CHECK(a.recv<int>() == 7);
    CHECK(!readable(fd, 0));
    b.close();
    CHECK(readable(fd, 20'000));  // the end of file
    a.close();
    CHECK_THROWS_AS(a.fileno(), Closed);
  }
}
