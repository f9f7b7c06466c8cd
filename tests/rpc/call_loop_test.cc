#include "rpc/call_loop.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <stdexcept>
#include <thread>

using namespace commonhold::rpc;
using namespace std::chrono_literals;

TEST_CASE("any thread runs the loop, one after the other") {
  CallLoop loop;
  int sum = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        loop.run([&](kj::WaitScope& scope) { kj::Promise<void>(kj::READY_NOW).then([&] { ++sum; }).wait(scope); });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(sum == 400);
}

TEST_CASE("a result and an exception reach the caller") {
  CallLoop loop;
  REQUIRE(loop.run([](kj::WaitScope&) { return 7; }) == 7);
  REQUIRE_THROWS_AS(loop.run([](kj::WaitScope&) { throw std::out_of_range("x"); }), std::out_of_range);
  REQUIRE(loop.run([](kj::WaitScope&) { return 8; }) == 8);
}

TEST_CASE("time goes on while the loop lies idle") {
  CallLoop loop;
  loop.run([](kj::WaitScope&) {});
  std::this_thread::sleep_for(60ms);
  const auto start = std::chrono::steady_clock::now();
  loop.run([&](kj::WaitScope& scope) { loop.timer().afterDelay(50 * kj::MILLISECONDS).wait(scope); });
  REQUIRE(std::chrono::steady_clock::now() - start >= 50ms);
}

TEST_CASE("a thread with a loop of its own is served by another thread") {
  auto own = kj::setupAsyncIo();
  REQUIRE(thread_has_loop());
  CallLoop loop;
  const auto here = std::this_thread::get_id();
  const auto there = loop.run([](kj::WaitScope&) { return std::this_thread::get_id(); });
  REQUIRE(here != there);
  REQUIRE_THROWS_AS(loop.run([](kj::WaitScope&) { throw std::out_of_range("x"); }), std::out_of_range);
  std::thread([] { REQUIRE_FALSE(thread_has_loop()); }).join();
}

TEST_CASE("a stream carries bytes both ways, waits for both, and ends without a signal") {
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  CallLoop loop;
  kj::Own<kj::AsyncIoStream> a, b;
  loop.run([&](kj::WaitScope& scope) {
    a = loop.wrap_socket(ends[0]);
    b = loop.wrap_socket(ends[1]);
    std::string large(3'000'000, 'x'), copy(large.size(), ' ');
    large.back() = 'y';
    auto read = b->read(copy.data(), copy.size());  // waits, and the writer waits for it in its turn
    a->write(large.data(), large.size()).wait(scope);
    read.wait(scope);
    REQUIRE(copy == large);
    const kj::ArrayPtr<const kj::byte> pieces[] = {kj::StringPtr("ab").asBytes(), kj::StringPtr("cde").asBytes()};
    b->write(kj::arrayPtr(pieces, 2)).wait(scope);
    char five[6] = {};
    a->read(five, 5).wait(scope);
    REQUIRE(five == std::string("abcde"));
    b = nullptr;
    REQUIRE(a->tryRead(five, 1, 5).wait(scope) == 0);
    try {
      a->write("x", 1).wait(scope);
      FAIL("written into nothing");
    } catch (const kj::Exception& error) {
      REQUIRE(error.getType() == kj::Exception::Type::DISCONNECTED);
    }
    a = nullptr;
  });
}

TEST_CASE("what the program does on SIGPIPE stays as it was") {
  struct sigaction before {
  }, after{};
  sigaction(SIGPIPE, nullptr, &before);
  CallLoop loop;
  sigaction(SIGPIPE, nullptr, &after);
  REQUIRE(before.sa_handler == after.sa_handler);
}
