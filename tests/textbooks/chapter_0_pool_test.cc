// Tutorial 0: a manager's dict, pools, and a server whose clients a pool talks with.
#include <commonhold/commonhold.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cctype>
#include <chrono>
#include <iostream>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/tcp_socket.h"
#include "support/textbook_program.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

int work_and_square(int number) {
  say(getpid(), "runs");
  std::this_thread::sleep_for(2ms);
  say(getpid(), "is done");
  return number * number;
}

// The first words of the lines that contain `text`.
std::set<std::string> who(const ProgramRun& run, const std::string& text) {
  std::set<std::string> all;
  for (const auto& line : run.lines()) {
    if (line.find(text) != std::string::npos) all.insert(line.substr(0, line.find(' ')));
  }
  return all;
}

// The server of the tutorial: whatever a client says, a worker of the pool says in capitals.
void talk(FileDescriptor accepted) {
  const TcpSocket client(accepted.release());
  say(getpid(), "talks");
  for (std::string words; !(words = client.recv()).empty();) {
    for (char& letter : words) letter = static_cast<char>(std::toupper(letter));
    client.send(words);
  }
}
void serve_with_a_pool_of_four() {
  const TcpSocket server = TcpSocket::listening();
  Pool pool(4);
  say("port", server.port());
  for (;;) {
    const FileDescriptor client(server.accept().release());
    pool.apply_async(talk, client);
  }
}
int port_of(const ProgramRun& server) {
  return server.says("port ") ? std::stoi(server.output.substr(server.output.find("port ") + 5)) : 0;
}

// The client of the tutorial: sends what is typed, prints what comes back.
void chat(int port) {
  const TcpSocket client = TcpSocket::connected_to(static_cast<std::uint16_t>(port));
  for (std::string words; std::getline(std::cin, words);) {
    if (words.empty()) continue;
    client.send(words);
    say(client.recv());
  }
}

}  // namespace

TEST_CASE("a hundred processes that count down under a lock leave nothing of a hundred") {
  const auto run = program([] {
    const auto work = [](Dict<std::string, int> shared, Lock lock) {
      std::lock_guard guard(lock);
      shared["count"] -= 1;
    };
    Manager manager;
    auto lock = manager.lock();
    auto shared = manager.dict<std::string, int>({{"count", 100}});
    std::vector<Process> processes;
    for (int i = 0; i < 100; ++i) {
      Process process(work, shared, lock);
      process.start();
      processes.push_back(std::move(process));
    }
    for (auto& process : processes) process.join();
    say(shared);
  });
  CHECK(run.ended_well());
  CHECK(run.lines().size() == 1);
  CHECK(run.says("count"));
  CHECK(run.says(": 0}"));
}

TEST_CASE("twenty tasks of a pool of five run five at a time, four on each worker") {
  const auto run = program([] {
    Manager manager;
    auto five_run = manager.barrier(5);
    const auto work = [](int number, Barrier five_run) {
      five_run.wait();
      say(getpid(), "did", number);
    };
    Pool pool(5);
    for (int i = 0; i < 20; ++i) pool.apply_async(work, i, five_run);
    pool.close();
    pool.join();
  });
  CHECK(run.ended_well());
  CHECK(run.lines().size() == 20);
  const auto workers = who(run, " did ");
  CHECK(workers.size() == 5);
  for (const auto& worker : workers) CHECK(run.lines_with(worker + " did ") == 4);
}

TEST_CASE("tasks that are waited for one by one run one after the other, and give their results at once") {
  const auto run = program([] {
    Pool pool(3);
    std::vector<int> results;
    for (int i = 0; i < 10; ++i) results.push_back(pool.apply(work_and_square, i));
    for (const int result : results) say(result);
  });
  CHECK(run.ended_well());
  const auto lines = run.lines();
  REQUIRE(lines.size() == 30);
  for (std::size_t i = 0; i < 20; i += 2) {
    CHECK(lines[i].ends_with(" runs"));
    CHECK(lines[i + 1] == lines[i].substr(0, lines[i].find(' ')) + " is done");
  }
  for (int i = 0; i < 10; ++i) CHECK(lines[static_cast<std::size_t>(20 + i)] == std::to_string(i * i));
  CHECK(who(run, " runs").size() <= 3);
}

TEST_CASE("results that are asked for when the pool has ended are there, in the order of the tasks") {
  const auto run = program([] {
    Pool pool(3);
    std::vector<AsyncResult<int>> results;
    for (int i = 0; i < 10; ++i) {
      auto result = pool.apply_async(work_and_square, i);
      results.push_back(result);
    }
    pool.close();
    pool.join();
    for (auto& result : results) say("result", result.get());
  });
  CHECK(run.ended_well());
  const auto lines = run.lines();
  REQUIRE(lines.size() == 30);
  for (int i = 0; i < 10; ++i) CHECK(lines[static_cast<std::size_t>(20 + i)] == "result " + std::to_string(i * i));
  CHECK(who(run, " runs").size() <= 3);
}

TEST_CASE("a callback runs in the program, once for each task, with what the task gave") {
  const auto run = program([] {
    say(getpid(), "is the program");
    const auto work = [](int number) {
      say(getpid(), "did", number);
      return number;
    };
    const auto back = [](int number) { say(getpid(), "was told", number); };
    Pool pool(5);
    for (int i = 0; i < 10; ++i) pool.apply_async(then(back), work, i);
    pool.close();
    pool.join();
  });
  CHECK(run.ended_well());
  CHECK(run.lines().size() == 21);
  CHECK(who(run, "was told") == who(run, "is the program"));
  CHECK(who(run, " did ").count(*who(run, "is the program").begin()) == 0);
  for (int i = 0; i < 10; ++i) {
    CHECK(run.lines_with("was told " + std::to_string(i)) == 1);
    CHECK(run.line_of("did " + std::to_string(i)) < run.line_of("was told " + std::to_string(i)));
  }
}

TEST_CASE("a pool of as many workers as there are processors, and its results collected without a callback") {
  const auto run = program([] {
    const auto work = [](int number) {
      std::this_thread::sleep_for(2ms);
      return number * number;
    };
    Pool pool;
    std::vector<AsyncResult<int>> results;
    for (int i = 0; i < 10; ++i) results.push_back(pool.apply_async(work, i));
    pool.close();
    pool.join();
    int sum = 0;
    for (auto& result : results) sum += result.get();
    say(sum);
  });
  CHECK(run.ended_well());
  CHECK(run.output == "285\n");
}

TEST_CASE(
    "a server gives accepted sockets to a pool of four: four clients are served at once, the fifth after one left") {
  std::vector<std::string> answers;
  const auto talked = [&](const ProgramRun& so_far) {
    if (port_of(so_far) == 0) return false;
    std::vector<TcpSocket> clients;
    for (int i = 0; i < 5; ++i) {
      clients.push_back(TcpSocket::connected_to(static_cast<std::uint16_t>(port_of(so_far))));
      clients.back().send("hello " + std::to_string(i));
      if (i < 4) answers.push_back(clients.back().recv());
    }
    for (int i = 0; i < 4; ++i) {
      clients[static_cast<std::size_t>(i)].send("again");
      answers.push_back(clients[static_cast<std::size_t>(i)].recv());
    }
    clients[0].close();
    answers.push_back(clients[4].recv());
    return true;
  };
  const auto server = program_until(talked, serve_with_a_pool_of_four);
  CHECK(answers == std::vector<std::string>{"HELLO 0", "HELLO 1", "HELLO 2", "HELLO 3", "AGAIN", "AGAIN", "AGAIN",
                                            "AGAIN", "HELLO 4"});
  CHECK(server.lines_with("talks") == 5);
  CHECK(who(server, "talks").size() == 4);
  CHECK(server.exitcode == -SIGINT);
}

TEST_CASE("a client sends what is typed and prints what the server answers") {
  ProgramRun client;
  const auto talked = [&](const ProgramRun& so_far) {
    const int port = port_of(so_far);
    if (port == 0) return false;
    client = program({.input = "good day\n\nbye\n"}, [port] { chat(port); });
    return true;
  };
  (void)program_until(talked, serve_with_a_pool_of_four);
  CHECK(client.ended_well());
  CHECK(client.output == "GOOD DAY\nBYE\n");
}
