// Connections, shared objects and descriptors that are sent, and wait: rows of docs/semantics/connection.md.
#include <commonhold/commonhold.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <iterator>
#include <vector>

#include "support/channels.h"
#include "support/children.h"
#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

auto open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

}  // namespace

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
  check(dict.at("log").get(), 'e');
  check(dict.pop("log").get(), 'f');
  CHECK_THROWS_AS(FileDescriptor(-1), ValueError);
  CHECK_THROWS_AS(FileDescriptor(9999), ValueError);
}

TEST_CASE("a ticket that was taken, alone or in another value, is kept open by its sender no longer") {
  ManagerHome home;
  Manager manager;
  const FileDescriptor output(dup(1));
  auto plain = manager.queue<FileDescriptor>();
  auto nested = manager.queue<std::vector<FileDescriptor>>();
  auto safe = manager.queue<FileDescriptor>(QueueOptions{.redeliver = true});
  auto list = manager.list<FileDescriptor>();
  auto dict = manager.dict<int, FileDescriptor>();
  plain.put(output);
  (void)plain.get();  // now the thread is there that hands over
  const auto is_taken = [before = open_descriptors()] { return open_descriptors() == before; };
  const auto round = [&] {
    std::vector<FileDescriptor> two;
    two.push_back(output.duplicate());
    two.push_back(output.duplicate());
    plain.put(output);
    nested.put(two);
    safe.put(output);
    list.append(output);
    dict.put(1, output);
    dict.put(2, output);
  };
  round();
  {
    const auto one = plain.get();
    const auto both = nested.get_many(5);
    CHECK(both.at(0).size() == 2);
    const auto again = safe.get();
    const auto last = list.pop();
    const auto popped = dict.pop(1);
    const auto item = dict.popitem();
    CHECK(fcntl(item.second.get(), F_GETFD) >= 0);
  }
  CHECK(!is_taken());  // one is good until the task is done
  safe.task_done();
  CHECK(is_taken());
  // The same from another process, which tells the sender.
  round();
  Process taker([&] {
    (void)plain.get();
    (void)nested.get();
    (void)safe.get();
    safe.task_done();
    (void)list.pop(0);
    (void)dict.exchange(1, output);
    (void)dict.pop(2);
  });
  taker.start();
  taker.join();
  CHECK(taker.exitcode() == 0);
  taker.close();
  CHECK(eventually(is_taken));
}

TEST_CASE("a descriptor is taken by one of many who want it, and nobody is told that somebody was faster") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<std::vector<FileDescriptor>>();
  auto taken = manager.value(0), errors = manager.value(0);
  constexpr int kItems = 60;
  std::vector<Process> takers;
  for (int i = 0; i < 3; ++i) {
    takers.emplace_back([&] {
      while (true) {
        try {
          const auto two = queue.get();
          if (fcntl(two.at(0).get(), F_GETFD) < 0 || fcntl(two.at(1).get(), F_GETFD) < 0) ++errors;
          ++taken;
        } catch (const Closed&) {
          return;
        } catch (const Error&) {
          ++errors;
        }
      }
    });
    takers.back().start();
  }
  for (int i = 0; i < kItems; ++i) {
    std::vector<FileDescriptor> two;
    two.emplace_back(dup(1));
    two.emplace_back(dup(2));
    queue.put(two);
  }
  queue.shutdown();
  for (auto& taker : takers) taker.join();
  CHECK(taken == kItems);
  CHECK(errors == 0);
}

TEST_CASE("a ticket whose sender has ended is taken out with an error; while its sender is stopped the item stays") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.joinable_queue<FileDescriptor>();
  auto dict = manager.dict<std::string, Connection>();
  Process sender([&] {
    queue.put(FileDescriptor(dup(1)));
    queue.put(FileDescriptor(dup(1)));
    Pipe pipe;
    dict.put("pipe", pipe.first);
    raise(SIGSTOP);
    pause();
  });
  sender.start();
  REQUIRE(eventually([&] { return dict.contains("pipe"); }));
  REQUIRE(eventually([&] { return is_stopped(*sender.pid()); }));
  CHECK_THROWS_WITH(queue.get(300ms), Catch::Contains("did not answer for 300 ms"));
  CHECK_THROWS_AS(dict.find("pipe"), SystemError);
  CHECK(queue.size() == 2);
  kill(*sender.pid(), SIGCONT);
  CHECK(fcntl(queue.get().get(), F_GETFD) >= 0);
  sender.kill();
  sender.join();
  CHECK_THROWS_WITH(queue.get(), Catch::Contains("has ended"));
  CHECK(queue.empty());
  queue.task_done();               // of the one that was taken
  CHECK(queue.join(10s) == true);  // the one that is gone counts as done
  CHECK_THROWS_AS(dict.at("pipe"), SystemError);
  CHECK_THROWS_AS(dict.pop("pipe"), SystemError);
  CHECK(dict.empty());
}

TEST_CASE("a void ticket in a queue that redelivers is no task: the others are delivered and done as ever") {
  ManagerHome home;
  Manager manager;
  auto queue = manager.queue<FileDescriptor>(QueueOptions{.redeliver = true});
  Process sender([&] { queue.put(FileDescriptor(dup(1))); });
  queue.put(FileDescriptor(dup(1)));
  sender.start();
  sender.join();
  queue.put(FileDescriptor(dup(1)));
  const auto first = queue.get();
  CHECK_THROWS_AS(queue.get(), SystemError);
  CHECK(queue.unfinished() == 2);
  queue.task_done();
  const auto second = queue.get();
  queue.task_done();
  CHECK(queue.join(10s));
  CHECK_THROWS_AS(queue.task_done(), ValueError);
}

TEST_CASE(
    "whoever reads a list or dict of descriptors while others take from it is not told that somebody was faster") {
  ManagerHome home;
  Manager manager;
  auto list = manager.list<FileDescriptor>();
  auto dict = manager.dict<int, FileDescriptor>();
  auto stop = manager.event();
  const FileDescriptor output(dup(1));
  list.append(output);
  dict.put(1, output);
  Process taker([&] {
    const FileDescriptor other(dup(1));
    while (!stop.is_set()) {
      list.append(other);
      (void)list.pop_front();
      (void)dict.exchange(1, other);
    }
  });
  taker.start();
  for (int i = 0; i < 300; ++i) {
    CHECK_NOTHROW(list.at(0));
    CHECK_NOTHROW(dict.at(1));
    CHECK_NOTHROW(dict.items());
    CHECK_NOTHROW(list.slice(0));
  }
  stop.set();
  taker.join();
}

TEST_CASE("what is stored nowhere is kept open by nobody, in whatever call, and so is what a message carried") {
  ManagerHome home;
  Manager manager;
  const FileDescriptor output(dup(1));
  auto full = manager.queue<FileDescriptor>(1);
  auto first = manager.priority_queue<FileDescriptor>({.maxsize = 1});
  auto dict = manager.dict<int, FileDescriptor>();
  auto list = manager.list<FileDescriptor>();
  full.put(output);
  first.put(1, output);
  dict.put(1, output);
  Pipe pipe;
  const auto before = open_descriptors();
  for (int i = 0; i < 10; ++i) {
    std::vector<FileDescriptor> two;
    two.push_back(output.duplicate());
    two.push_back(output.duplicate());
    CHECK(full.put_many(two, 0s) == 0);
    CHECK(!first.try_put(2, output));
    CHECK(!dict.insert(1, output));
    CHECK(!dict.replace(2, output));
    CHECK_THROWS_AS(list.set(3, output), IndexError);
    CHECK_THROWS_AS(list.insert(3, output), IndexError);
    pipe.first.send(two);
    CHECK(pipe.second.recv<std::vector<FileDescriptor>>().size() == 2);
    CHECK(dict.setdefault(1, output).get() > 0);
  }
  CHECK(eventually([&] { return open_descriptors() == before; }));
  CHECK(dict.setdefault(2, output).get() > 0);
}

TEST_CASE("a consumer that dies with a connection gives it back to a queue that redelivers") {
  ManagerHome home;
  Manager manager;
  auto clients = manager.queue<Connection>(QueueOptions{.redeliver = true});
  Pipe pipe;
  clients.put(pipe.second);
  pipe.second.close();
  Process dies([&] {
    auto client = clients.get();
    raise(SIGKILL);
  });
  dies.start();
  dies.join();
  auto client = clients.get();
  client.send(7);
  CHECK(pipe.first.recv<int>() == 7);
  clients.task_done();
}

TEST_CASE("a descriptor that a queue has no room for is kept open by nobody") {
  ManagerHome home;
  Manager manager;
  auto full = manager.queue<FileDescriptor>(1);
  const FileDescriptor output(dup(1));
  full.put(output);
  const auto before = open_descriptors();
  for (int i = 0; i < 50; ++i) CHECK(!full.try_put(output));
  full.shutdown();
  for (int i = 0; i < 50; ++i) CHECK_THROWS_AS(full.put(output), Closed);
  CHECK(open_descriptors() == before);
}
