// Connections, shared objects and descriptors that are sent, and wait: rows of docs/semantics/connection.md.
#include <commonhold/commonhold.h>
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <iterator>
#include <vector>

#include "support/channels.h"
#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("a connection is sent, works at the receiver, and the sender may close its own") {
  Pipe carrier, cargo;
  Process child([&] {
    carrier.first.close();
    cargo.first.close();
    cargo.second.close();
    auto received = carrier.second.recv<Connection>();
    received.send(received.recv<int>() + 1);
  });
  child.start();
  carrier.first.send(cargo.second);
  cargo.second.close();
  cargo.first.send(41);
  CHECK(cargo.first.recv<int>() == 42);
  child.join();
  CHECK_THROWS_AS(cargo.first.recv<int>(), EndOfFile);
}

TEST_CASE("a shared object is sent, and is the same object at the receiver") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, int>();
  Pipe pipe;
  Process child([&] {
    auto received = pipe.second.recv<Dict<std::string, int>>();
    received["n"] += 7;
    pipe.second.send(received);
  });
  child.start();
  pipe.first.send(counts);
  CHECK(pipe.first.recv<Dict<std::string, int>>() == counts);
  child.join();
  CHECK(counts["n"] == 7);
}

TEST_CASE("a sent connection keeps its direction") {
  for (auto& [kind, a, b] : channels()) {
    if (kind == "tcp") continue;
    INFO(kind);
    Pipe cargo(false);
    a.send(cargo.second);
    auto received = b.recv<Connection>();
    CHECK(!received.readable());
    CHECK(received.writable());
    CHECK(fcntl(received.fileno(), F_GETFD) == FD_CLOEXEC);
    received.send("hello");
    CHECK(cargo.first.recv<std::string>() == "hello");
  }
}

TEST_CASE("a descriptor is passed, and a descriptor and a value are told apart") {
  for (auto& [kind, a, b] : channels()) {
    if (kind == "tcp") continue;
    INFO(kind);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    a.send_descriptor(ends[1]);
    const int received = b.recv_descriptor();
    CHECK(received != ends[1]);
    CHECK(write(received, "x", 1) == 1);
    char byte = 0;
    CHECK(read(ends[0], &byte, 1) == 1);
    close(received);
    a.send_descriptor(ends[0]);
    CHECK_THROWS_AS(b.recv<int>(), TypeMismatch);
    a.send(1);
    CHECK_THROWS_AS(b.recv_descriptor(), TypeMismatch);
    a.send_descriptor(ends[0]);
    CHECK_THROWS_AS(b.recv<Connection>(), TypeMismatch);
    a.send(2);
    CHECK(b.recv<int>() == 2);
    close(ends[0]);
    close(ends[1]);
  }
}

TEST_CASE("wait names what is ready: messages, ends of file, ends of processes, descriptors") {
  Pipe a, b, c;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  Process process([&] {
    c.second.close();
    pause();
  });
  process.start();
  const std::vector<Waitable> all{a.first, b.first, c.first, process, ends[0]};
  CHECK(wait_for(all, 0s).empty());
  CHECK(wait_for(all, -1s).empty());
  const auto start = std::chrono::steady_clock::now();
  CHECK(wait_for(all, 20ms).empty());
  CHECK(std::chrono::steady_clock::now() - start >= 20ms);
  b.second.send(1);
  CHECK(wait(all) == std::vector<std::size_t>{1});
  c.second.close();
  CHECK(wait(all) == std::vector<std::size_t>{1, 2});
  process.kill();
  process.join();
  REQUIRE(write(ends[1], "x", 1) == 1);
  CHECK(wait(all) == std::vector<std::size_t>{1, 2, 3, 4});
  CHECK(wait({b.first, a.first, b.first}) == std::vector<std::size_t>{0, 2});
  CHECK(b.first.recv<int>() == 1);
  const auto before = std::chrono::steady_clock::now();
  CHECK(wait_for({}, 20ms).empty());
  CHECK(std::chrono::steady_clock::now() - before >= 20ms);
  close(ends[0]);
  close(ends[1]);
  CHECK_THROWS_AS(wait({ends[0]}), Closed);
  b.first.close();
  CHECK_THROWS_AS(wait({b.first}), Closed);
}

TEST_CASE("accepted connections go through a queue to the workers, each to one of them") {
  ManagerHome home;
  Manager manager;
  auto clients = manager.queue<Connection>();
  auto served = manager.value<int>(0);
  std::vector<Process> workers;
  for (int i = 0; i < 3; ++i) {
    workers.emplace_back([&] {
      for (;;) {
        Connection client = clients.get();
        const int number = client.recv<int>();
        if (number < 0) return;
        served += 1;
        client.send(number * 2);
      }
    });
    workers.back().start();
  }
  for (int i = 0; i < 30; ++i) {
    Pipe pipe;
    clients.put(pipe.second);
    pipe.second.close();
    pipe.first.send(i);
    CHECK(pipe.first.recv<int>() == 2 * i);
  }
  for (std::size_t i = 0; i < workers.size(); ++i) {
    Pipe pipe;
    clients.put(pipe.second);
    pipe.first.send(-1);
  }
  for (auto& worker : workers) worker.join();
  CHECK(served.load() == 30);
}

TEST_CASE("a descriptor goes through pipes, queues and fresh processes, and the sender's stays open") {
  ManagerHome home;
  Manager manager;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const FileDescriptor reads(ends[0]), writes(ends[1]);
  const auto check = [&](int other, char letter) {
    CHECK(write(other, &letter, 1) == 1);
    char read_back = 0;
    CHECK(read(reads.get(), &read_back, 1) == 1);
    CHECK(read_back == letter);
  };
  Pipe pipe;
  pipe.first.send(writes);
  check(pipe.second.recv<FileDescriptor>().get(), 'a');
  auto queue = manager.queue<FileDescriptor>();
  queue.put(writes);
  check(queue.get().get(), 'b');
  check(writes.get(), 'c');
  auto dict = manager.dict<std::string, FileDescriptor>();
  dict.put("log", writes);
  check(dict.at("log").get(), 'd');
  CHECK_THROWS_AS(dict.at("log"), SystemError);  // once
  CHECK_THROWS_AS(FileDescriptor(-1), ValueError);
  CHECK_THROWS_AS(FileDescriptor(9999), ValueError);
}

TEST_CASE("a descriptor that a queue has no room for is kept open by nobody") {
  ManagerHome home;
  Manager manager;
  auto full = manager.queue<FileDescriptor>(1);
  const FileDescriptor output(dup(1));
  full.put(output);
  const auto open_ones = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto before = open_ones();
  for (int i = 0; i < 50; ++i) CHECK(!full.try_put(output));
  full.shutdown();
  for (int i = 0; i < 50; ++i) CHECK_THROWS_AS(full.put(output), Closed);
  CHECK(open_ones() == before);
}
