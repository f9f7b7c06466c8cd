// Process as the reference's users know it: each test is a row of docs/semantics/process.md.
#include <commonhold/commonhold.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <thread>

#include "support/captured_output.h"
#include "support/children.h"
#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

class Squarer : public Process {
 public:
  Squarer(Value<int> result, int number) : result_(std::move(result)), number_(number) {}
  void run() override { result_ = number_ * number_; }

 private:
  Value<int> result_;
  int number_;
};

}  // namespace

TEST_CASE("a name's counter is consumed by the making, and an empty name is the default") {
  Process first([] {}), second({.name = "named"}, [] {}), third([] {});
  const auto number = [](const Process& process) {
    return std::stoi(process.name().substr(std::string("Process-").size()));
  };
  CHECK(second.name() == "named");
  CHECK(number(third) == number(first) + 2);
  second.set_name("");
  CHECK(number(second) == number(first) + 1);
}

TEST_CASE("a derived class has its own run and its class in its name") {
  ManagerHome home;
  Manager manager;
  auto result = manager.value(0);
  Squarer squarer(result, 7);
  CHECK(squarer.name().starts_with("Squarer-"));
  squarer.start();
  squarer.join();
  CHECK(squarer.exitcode() == std::optional<int>(0));
  CHECK(result == 49);
  Squarer here(result, 8);
  here.run();
  CHECK(result == 64);
}

TEST_CASE("run calls the target in the calling process, and start drops the target") {
  auto held = std::make_shared<int>(0);
  Process process([held] { ++*held; });
  process.run();
  CHECK(*held == 1);
  CHECK(held.use_count() == 2);
  process.start();
  CHECK(held.use_count() == 1);
  process.join();
  CHECK(*held == 1);
}

TEST_CASE("arguments are copied to the child") {
  ManagerHome home;
  Manager manager;
  auto sum = manager.value(0);
  std::string text = "four";
  Process process([&sum](int a, const std::string& b) { sum = a + static_cast<int>(b.size()); }, 3, text);
  text = "changed";
  process.start();
  process.join();
  CHECK(sum == 7);
}

TEST_CASE("daemon is inherited, settable until start, and daemonic processes start none") {
  Process process([] {});
  CHECK(!process.daemon());
  process.set_daemon(true);
  CHECK(process.daemon());
  process.set_daemon(false);
  process.start();
  CHECK_THROWS_AS(process.set_daemon(true), ProcessError);
  process.join();
  Process daemon({.daemon = true}, [] {
    Process child([] {});
    if (!child.daemon() || !current_process().daemon()) _exit(1);
    try {
      child.start();
    } catch (const ProcessError& error) {
      _exit(std::string(error.what()).find("daemonic") == std::string::npos ? 2 : 42);
    }
  });
  daemon.start();
  daemon.join();
  CHECK(daemon.exitcode() == std::optional<int>(42));
}

TEST_CASE("an exit request ends the child with its status, or with its text and 1") {
  std::optional<int> code;
  std::string said = output_of(STDERR_FILENO, [&] {
    CHECK(run(Process([] { throw Exit(); })) == std::optional<int>(0));
    CHECK(run(Process([] { throw Exit(7); })) == std::optional<int>(7));
    CHECK(run(Process([] { throw Exit(256 + 7); })) == std::optional<int>(7));
    CHECK(run(Process([] { throw Exit(true); })) == std::optional<int>(1));
  });
  CHECK(said.empty());
  said = output_of(STDERR_FILENO, [&] { code = run(Process([] { throw Exit("out of paper"); })); });
  CHECK(code == std::optional<int>(1));
  CHECK(said == "out of paper\n");
}

TEST_CASE("an exit request unwinds the child's stack") {
  const std::string said = output_of(STDOUT_FILENO, [&] {
    run(Process([] {
      struct Loud {
        ~Loud() { std::cout << "unwound"; }
      } loud;
      throw Exit(3);
    }));
  });
  CHECK(said == "unwound");
}

TEST_CASE("a closed process keeps its name and is refused elsewhere") {
  Process never({.name = "never"}, [] {});
  never.close();
  CHECK_THROWS_AS(never.start(), Closed);
  Process process({.name = "shut"}, [] {});
  process.start();
  process.join();
  process.close();
  process.close();
  CHECK(process.name() == "shut");
  CHECK(!process.daemon());
  CHECK_THAT(process.describe(), Contains("closed"));
  CHECK_THROWS_AS(process.pid(), Closed);
  CHECK_THROWS_AS(process.exitcode(), Closed);
  CHECK_THROWS_AS(process.is_alive(), Closed);
  CHECK_THROWS_AS(process.join(), Closed);
  CHECK_THROWS_AS(process.sentinel(), Closed);
  CHECK_THROWS_AS(process.terminate(), Closed);
  CHECK_THROWS_AS(process.run(), Closed);
  CHECK_THROWS_WITH(process.join(), Contains("shut") && Contains("closed"));
}

TEST_CASE("a running process is not closed") {
  PlainTermination plain;
  Process process(stay);
  process.start();
  CHECK_THROWS_AS(process.close(), ProcessError);
  process.terminate();
  process.join();
  process.close();
}

TEST_CASE("a process describes its state") {
  PlainTermination plain;
  Process process({.name = "N", .daemon = true}, stay);
  CHECK(process.describe() == "<Process name='N' parent=" + std::to_string(getpid()) + " initial daemon>");
  process.start();
  CHECK_THAT(process.describe(), Contains(" started daemon>") && Contains("pid=" + std::to_string(*process.pid())));
  process.terminate();
  process.join();
  CHECK_THAT(process.describe(), Contains(" stopped exitcode=-SIGTERM daemon>"));
  std::ostringstream out;
  out << process;
  CHECK(out.str() == process.describe());
}

TEST_CASE("the first process is MainProcess and has no parent") {
  CHECK(current_process().name() == "MainProcess");
  CHECK(current_process().pid() == getpid());
  CHECK(!current_process().daemon());
  CHECK(!parent_process());
  CHECK(cpu_count() >= 1);
  CHECK(usable_cpu_count() >= 1);
  CHECK(usable_cpu_count() <= cpu_count());
}

TEST_CASE("the authkey is 32 random bytes that children inherit") {
  const std::string key = current_process().authkey();
  CHECK(key.size() == 32);
  CHECK_THROWS_AS(current_process().set_authkey(""), ValueError);
  CHECK(run(Process([&] { _exit(current_process().authkey() == key ? 0 : 1); })) == std::optional<int>(0));
  current_process().set_authkey("other");
  CHECK(run(Process([] { _exit(current_process().authkey() == "other" ? 0 : 1); })) == std::optional<int>(0));
  current_process().set_authkey(key);
}

TEST_CASE("a child sees its parent live and end") {
  PlainPipe pids, told;
  Process parent({.name = "parent"}, [&] {
    Process child([&] {
      const auto mine = parent_process();
      if (!mine || mine->name() != "parent" || mine->pid() != getppid() || !mine->is_alive() || mine->join_for(1ms)) {
        _exit(1);
      }
      pids.write(getpid());
      mine->join();
      told.write(mine->is_alive() ? 1 : 42);
    });
    child.start();
    pause();
  });
  parent.start();
  pids.read();
  parent.kill();
  parent.join();
  CHECK(told.read() == 42);
}

TEST_CASE("active children are those that have not ended") {
  PlainTermination plain;
  CHECK(active_children().empty());
  Process sleeper({.name = "sleeper", .daemon = true}, stay), done([] {});
  CHECK(active_children().empty());
  sleeper.start();
  done.start();
  done.join();
  auto children = active_children();
  REQUIRE(children.size() == 1);
  CHECK(children[0].name() == "sleeper");
  CHECK(children[0].daemon());
  CHECK(children[0].pid() == sleeper.pid());
  CHECK(children[0].is_alive());
  CHECK(!children[0].exitcode());
  CHECK(!children[0].join_for(1ms));
  CHECK(run(Process([] { _exit(static_cast<int>(active_children().size())); })) == std::optional<int>(0));
  CHECK(run(Process([&] {
          try {
            children[0].join();
          } catch (const ProcessError&) {
            _exit(42);
          }
        })) == std::optional<int>(42));
  children[0].terminate();
  children[0].join();
  CHECK(children[0].exitcode() == std::optional<int>(-SIGTERM));
  CHECK(sleeper.exitcode() == std::optional<int>(-SIGTERM));
  CHECK(active_children().empty());
}

TEST_CASE("a process at its end terminates its daemonic children and waits for the others") {
  PlainTermination plain;
  PlainPipe pids;
  ManagerHome home;
  Manager manager;
  auto done = manager.value(0);
  for (const bool exits : {false, true}) {
    done = 0;
    Process parent([&] {
      auto* daemon = new Process({.daemon = true}, stay);
      daemon->start();
      pids.write(*daemon->pid());
      auto* worker = new Process([&] {
        std::this_thread::sleep_for(30ms);
        done = 1;
      });
      worker->start();
      if (exits) std::exit(0);
    });
    parent.start();
    const pid_t daemon = pids.read();
    parent.join();
    CHECK(parent.exitcode() == std::optional<int>(0));
    CHECK(done == 1);
    CHECK(eventually([&] { return is_gone(daemon); }));
  }
}

TEST_CASE("daemonic children end when their parent is killed") {
  PlainTermination plain;
  PlainPipe pids;
  for (const bool from_thread : {false, true}) {
    Process parent([&] {
      const auto start = [&] {
        auto* daemon = new Process({.daemon = true}, stay);
        daemon->start();
        pids.write(*daemon->pid());
      };
      from_thread ? std::thread(start).join() : start();
      pause();
    });
    parent.start();
    const pid_t daemon = pids.read();
    // The thread that forked it may have ended: that alone ends nobody.
    std::this_thread::sleep_for(20ms);
    CHECK(!is_gone(daemon));
    parent.kill();
    parent.join();
    CHECK(eventually([&] { return is_gone(daemon); }));
  }
}
