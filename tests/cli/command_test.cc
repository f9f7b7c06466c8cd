// The `commonhold` command as people meet it: what it prints, its exit status, and that a mistake is one sentence that
// names the value and says what to do.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "cli/size.h"
#include "shm/lock_file.h"
#include "shm/references.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"
#include "support/process_shared.h"
#include "support/rpc_client.h"
#include "support/server_ground.h"

using namespace commonhold;
using Catch::Contains;
using Kind = rpc::schema::ObjectKind;
using test::run_command;

namespace {

// That a command failed as a person should see it: the status, one line, on standard error alone.
void require_sentence(const test::CommandResult& result, int status) {
  INFO("out: " << result.out << " err: " << result.err);
  REQUIRE(result.status == status);
  REQUIRE(result.out == "");
  REQUIRE_THAT(result.err, Catch::StartsWith("commonhold: "));
  REQUIRE(std::count(result.err.begin(), result.err.end(), '\n') == 1);
}

}  // namespace

TEST_CASE("help teaches, and the version is told") {
  auto help = run_command({"--help"});
  REQUIRE(help.status == 0);
  for (const char* word : {"commonhold serve --name stock", "commonhold list", "commonhold stop", "commonhold destroy",
                           "locks", "doctor", "COMMONHOLD_HOME"}) {
    REQUIRE_THAT(help.out, Contains(word));
  }
  REQUIRE(run_command({}).out == help.out);
  REQUIRE_THAT(run_command({"--version"}).out, Catch::Matches("commonhold [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  for (const char* command : {"serve", "list", "stop", "destroy", "locks", "doctor"}) {
    auto result = run_command({command, "--help"});
    REQUIRE(result.status == 0);
    REQUIRE_THAT(result.out, !Contains("lifeline"));  // what is not for people is not shown
  }
}

TEST_CASE("a wrong command line is status 2 and a sentence") {
  test::ServerGround ground;
  require_sentence(run_command({"--nonsense"}), 2);
  require_sentence(run_command({"frobnicate"}), 2);
  require_sentence(run_command({"serve", "--nonsense"}), 2);
  require_sentence(run_command({"serve"}), 2);
  require_sentence(run_command({"stop"}), 2);
  require_sentence(run_command({"serve", "--anonymous"}), 2);
  for (const char* size : {"much", "-1", "0", "12Q", "1e30", "", "3 G"}) {
    auto result = run_command({"serve", "--name", "stock", "--memory-limit", size});
    if (*size == '\0') continue;
    require_sentence(result, 2);
    REQUIRE_THAT(result.err, Contains(fmt::format("\"{}\"", size)) && Contains("512M"));
  }
  (void)run_command({"destroy", "stock"});
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("sizes are bytes or have a unit") {
  std::uint64_t bytes = 0;
  for (auto& [text, expected] : std::vector<std::pair<std::string, std::uint64_t>>{{"65536", 65536},
                                                                                   {"64K", 65536},
                                                                                   {"64k", 65536},
                                                                                   {"1.5G", 3ull << 29},
                                                                                   {"2GiB", 2ull << 30},
                                                                                   {"1T", 1ull << 40}}) {
    INFO(text);
    REQUIRE(cli::parse_size(text, bytes) == "");
    REQUIRE(bytes == expected);
  }
  REQUIRE(cli::size_text(0) == "0 B");
  REQUIRE(cli::size_text(1536) == "1.5 KiB");
  REQUIRE(cli::size_text(10ull << 30) == "10 GiB");
}

TEST_CASE("a server is started, listed and stopped; a second one and a missing one are told so") {
  test::ServerGround ground;
  {
    auto started = run_command({"serve", "--name", "stock", "--memory-limit", "64M"});
    REQUIRE(started.status == 0);
    REQUIRE(started.out == fmt::format("serving \"stock\" at {}/stock\n", ground.root()));
    int pid = test::server_pid(ground.address("stock"));

    auto second = run_command({"serve", "--name", "stock"});
    require_sentence(second, 1);
    REQUIRE_THAT(second.err, Contains("\"stock\"") && Contains(fmt::format("process {}", pid)) &&
                                 Contains("commonhold stop stock"));
    auto foreground = run_command({"serve", "--name", "stock", "--foreground"});
    REQUIRE(foreground.status == 1);

    auto list = run_command({"list"});
    REQUIRE(list.status == 0);
    REQUIRE_THAT(list.out,
                 Contains("MANAGER") && Contains("stock") && Contains("served") && Contains(std::to_string(pid)));

    auto stopped = run_command({"destroy", "stock"});
    REQUIRE(stopped.status == 0);
    REQUIRE_FALSE(std::filesystem::exists(ground.root() + "/stock"));
    for (const char* command : {"stop", "destroy", "list", "locks"}) {
      auto missing = run_command({command, "stock"});
      require_sentence(missing, 1);
      REQUIRE_THAT(missing.err, Contains("\"stock\"") && Contains("commonhold list"));
    }
    auto bad = run_command({"serve", "--name", "bad name"});
    require_sentence(bad, 1);
    REQUIRE_THAT(bad.err, Contains("\"bad name\""));
    REQUIRE_THAT(run_command({"list"}).out, Contains("no managers") && Contains("commonhold serve"));
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("objects and locks are listed with who uses, holds and waits") {
  test::ServerGround ground;
  {
    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    auto address = ground.address("stock");
    REQUIRE_THAT(run_command({"list", "stock"}).out, Contains("no objects"));
    REQUIRE_THAT(run_command({"locks", "stock"}).out, Contains("nobody holds"));
    test::OpenAnswer lock;
    {
      auto loop = kj::setupAsyncIo();
      test::RpcClient client(loop, address.folder);
      auto session = client.come_in(address);
      test::create(client, session, Kind::DICT, "prices", "dict<text,double>");
      lock = test::create(client, session, Kind::LOCK, "till", "lock");
      lock.hold = std::nullopt;
    }
    auto segment = shm::Segment::open(address.folder);
    shm::UserLock till({segment.get(), lock.id.index, lock.control});
    auto user = [&]() {
      return test::spawn([&]() {
        (void)shm::add_reference(*segment, lock.id);
        (void)till.acquire(*segment->here());
        pause();
      });
    };
    pid_t holder = user();
    REQUIRE(test::eventually([&]() { return till.holder_pid() == static_cast<std::uint32_t>(holder); }));
    pid_t waiter = user();
    std::string waiter_text = std::to_string(waiter);
    REQUIRE(test::eventually([&]() {
      return run_command({"locks", "stock"}).out.find(waiter_text) != std::string::npos;
    }));
    auto locks = run_command({"locks", "stock"});
    REQUIRE_THAT(locks.out, Contains("lock till") && Contains(fmt::format("{} test_cli", holder)) &&
                                Contains(fmt::format("{} test_cli", waiter)));
    REQUIRE(locks.out.find(std::to_string(holder)) < locks.out.find(waiter_text));

    auto list = run_command({"list", "stock"});
    REQUIRE_THAT(list.out, Contains("prices") && Contains("dict<text,double>") && Contains("till"));
    REQUIRE_THAT(list.out, Catch::Matches("(.|\\n)*till +lock +[0-9.]+ KiB +2 +0\\n(.|\\n)*"));
    REQUIRE_THAT(run_command({"list"}).out, Catch::Matches("(.|\\n)*stock +served +[0-9]+ +2 +2 (.|\\n)*"));
    for (pid_t child : {holder, waiter}) {
      kill(child, SIGKILL);
      test::wait_for(child);
    }
    REQUIRE(test::eventually([&]() { return !till.locked(); }));
    segment.reset();
    REQUIRE(run_command({"destroy", "stock"}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("who reads or writes a readers-writer lock, and who has permits of a semaphore, is listed with who waits") {
  test::ServerGround ground;
  {
    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    auto address = ground.address("stock");
    test::OpenAnswer atlas, desks;
    {
      auto loop = kj::setupAsyncIo();
      test::RpcClient client(loop, address.folder);
      auto session = client.come_in(address);
      atlas = test::create(client, session, Kind::RWLOCK, "atlas", "rwlock");
      desks = test::create(client, session, Kind::SEMAPHORE, "desks", "semaphore", {4});
      atlas.hold = std::nullopt;
      desks.hold = std::nullopt;
    }
    auto segment = shm::Segment::open(address.folder);
    const shm::RwLock lock({segment.get(), atlas.id.index, atlas.control});
    const shm::Semaphore semaphore({segment.get(), desks.id.index, desks.control});
    std::vector<pid_t> children;
    auto user = [&](auto&& work) {
      test::Shared<std::atomic<bool>> done;
      children.push_back(test::spawn([&]() {
        (void)shm::add_reference(*segment, atlas.id);
        (void)shm::add_reference(*segment, desks.id);
        *done = true;
        work(*segment->here());
        pause();
      }));
      REQUIRE(test::eventually([&]() { return done->load(); }));
      return children.back();
    };
    auto line_of = [&](const std::string& start) {
      std::istringstream lines(run_command({"locks", "stock"}).out);
      for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(start)) return line;
      }
      return std::string();
    };
    auto shows = [&](const std::string& start, const std::string& text) {
      return test::eventually([&]() { return line_of(start).find(text) != std::string::npos; });
    };
    REQUIRE_THAT(run_command({"locks", "stock"}).out, Contains("nobody holds"));
    auto reads = [&](shm::ThreadContext& me) { (void)lock.acquire_shared(me); };
    pid_t one = user([&](shm::ThreadContext& me) {
      reads(me);
      reads(me);
    });
    REQUIRE(shows("rwlock atlas", fmt::format("{} test_cli reads 2 times", one)));
    pid_t two = user(reads);
    REQUIRE(shows("rwlock atlas", fmt::format("{} test_cli reads ", two)));
    pid_t writer = user([&](shm::ThreadContext& me) { (void)lock.acquire(me); });
    REQUIRE(shows("rwlock atlas", std::to_string(writer)));
    std::string atlas_line = line_of("rwlock atlas");
    REQUIRE_THAT(atlas_line, Contains(fmt::format("{} test_cli reads 2 times", one)) && !Contains("writes"));
    REQUIRE(atlas_line.ends_with(fmt::format("{} test_cli", writer)));  // it waits
    for (pid_t reader : {one, two}) {
      kill(reader, SIGKILL);
      test::wait_for(reader);
    }
    REQUIRE(shows("rwlock atlas", fmt::format("{} test_cli writes", writer)));
    pid_t late = user(reads);
    REQUIRE(test::eventually([&]() { return line_of("rwlock atlas").ends_with(fmt::format("{} test_cli", late)); }));

    auto takes = [&](int permits) {
      return [&semaphore, permits](shm::ThreadContext& me) {
        for (int i = 0; i < permits; ++i) (void)semaphore.acquire(me);
      };
    };
    pid_t three = user(takes(3)), single = user(takes(1));
    REQUIRE(shows("semaphore desks", "; 0 left"));
    REQUIRE_THAT(line_of("semaphore desks"), Contains(fmt::format("{} test_cli has 3", three)) &&
                                                 Contains(fmt::format("{} test_cli has 1", single)));
    pid_t waits = user(takes(1));
    REQUIRE(
        test::eventually([&]() { return line_of("semaphore desks").ends_with(fmt::format("{} test_cli", waits)); }));
    kill(three, SIGKILL);
    test::wait_for(three);
    REQUIRE(shows("semaphore desks", "; 2 left"));
    std::string desks_line = line_of("semaphore desks");
    REQUIRE_THAT(desks_line, Contains(fmt::format("{} test_cli has 1", waits)) && !Contains(std::to_string(three)));
    REQUIRE(desks_line.ends_with("-"));

    for (pid_t child : {writer, late, single, waits}) {
      kill(child, SIGKILL);
      test::wait_for(child);
    }
    segment.reset();
    REQUIRE(test::eventually([&]() {
      return run_command({"locks", "stock"}).out.find("nobody holds") != std::string::npos;
    }));
    REQUIRE(run_command({"destroy", "stock"}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a server in the foreground says what happens and ends on Ctrl-C") {
  test::ServerGround ground;
  {
    int err[2];
    REQUIRE(pipe2(err, O_CLOEXEC) == 0);
    pid_t server = fork();
    if (server == 0) {
      dup2(err[1], 2);
      dup2(err[1], 1);
      execl(test::command_path().c_str(), "commonhold", "serve", "--name", "stock", "--foreground", nullptr);
      _exit(127);
    }
    close(err[1]);
    std::string text;
    auto read_until = [&](const std::string& word) {
      char bytes[512];
      while (text.find(word) == std::string::npos) {
        ssize_t got = read(err[0], bytes, sizeof bytes);
        if (got <= 0) return false;
        text.append(bytes, static_cast<std::size_t>(got));
      }
      return true;
    };
    REQUIRE(read_until("Ctrl-C"));
    REQUIRE_THAT(text, Contains("serving \"stock\" at " + ground.root() + "/stock"));
    pid_t client = test::spawn([&]() {
      auto segment = shm::Segment::open(ground.root() + "/stock");
      (void)segment->here();
      kill(getpid(), SIGKILL);
    });
    test::wait_for(client);
    REQUIRE(read_until("what it held was released"));
    REQUIRE_THAT(text, Contains(fmt::format("process {}", client)));
    kill(server, SIGINT);
    REQUIRE(read_until("ended"));
    close(err[0]);
    REQUIRE(test::wait_for(server) == 0);
    REQUIRE_THAT(text, Contains("its objects stay for the next server of the name"));
    REQUIRE(run_command({"destroy", "stock"}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("stop leaves a manager's objects to the next server of the name, destroy removes them, served or not") {
  test::ServerGround ground;
  {
    auto address = ground.address("stock");
    auto open = [&]() {
      auto loop = kj::setupAsyncIo();
      test::RpcClient client(loop, address.folder);
      auto session = client.come_in(address);
      return test::open_or_create(client, session, Kind::DICT, "prices", "dict<text,double>").created;
    };
    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    REQUIRE(open());
    auto stopped = run_command({"stop", "stock"});
    REQUIRE(stopped.status == 0);
    REQUIRE_THAT(stopped.out, Contains("its objects stay") && Contains("commonhold serve --name stock"));
    REQUIRE_THAT(run_command({"list", "stock"}).out, Contains("prices"));
    auto twice = run_command({"stop", "stock"});
    require_sentence(twice, 1);
    REQUIRE_THAT(twice.err, Contains("no server runs") && Contains("commonhold destroy stock"));
    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    REQUIRE_FALSE(open());
    REQUIRE(run_command({"stop", "stock"}).status == 0);
    REQUIRE(run_command({"destroy", "stock"}).status == 0);  // without a server
    REQUIRE_FALSE(std::filesystem::exists(address.folder));

    test::AnonymousServer anonymous;
    auto refused = run_command({"stop", anonymous.address().name});
    require_sentence(refused, 1);
    REQUIRE_THAT(refused.err, Contains("ends with its last owner"));
    REQUIRE(run_command({"destroy", anonymous.address().name}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("stop and destroy return also where somebody starts the next server at once") {
  test::ServerGround ground;
  {
    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    auto address = ground.address("stock");
    test::Shared<std::atomic<bool>> looks;
    // Has the server's byte the moment that it is free.
    const pid_t next = test::spawn([&]() {
      auto segment = shm::Segment::open(address.folder);
      *looks = true;
      while (!shm::try_lock_byte(segment->lock_fd(), shm::kServerByte)) {
      }
      for (;;) pause();
    });
    while (!*looks) std::this_thread::yield();
    CHECK(run_command({"stop", "stock"}).status == 0);
    CHECK(test::server_pid(address) == next);
    kill(next, SIGKILL);
    test::wait_for(next);

    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    *looks = false;
    // Makes files of the same names the moment that they are free.
    const pid_t maker = test::spawn([&]() {
      *looks = true;
      while (mkdir(address.folder.c_str(), 0700) != 0) {
      }
      for (const auto& file : {address.segment_file(), address.locks_file()}) std::ofstream(file) << "another's";
    });
    while (!*looks) std::this_thread::yield();
    REQUIRE(run_command({"destroy", "stock"}).status == 0);
    REQUIRE(test::wait_for(maker) == 0);
    REQUIRE(std::filesystem::file_size(address.segment_file()) == 9);
    std::filesystem::remove_all(address.folder);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("names with control characters are escaped wherever the command prints them") {
  test::ServerGround ground;
  {
    REQUIRE(run_command({"serve", "--name", "stock"}).status == 0);
    {
      auto address = ground.address("stock");
      auto loop = kj::setupAsyncIo();
      test::RpcClient client(loop, address.folder);
      auto session = client.come_in(address);
      REQUIRE(test::create(client, session, Kind::DICT, "red\x1b[31m\nline\\", "dict<text,\x07>").created);
      auto again = test::create(client, session, Kind::DICT, "red\x1b[31m\nline\\", "dict<text,\x07>");
      REQUIRE_THAT(again.message, Contains("\"red\\x1b[31m\\x0aline\\\\\"") && !Contains("\x1b") && !Contains("\x07"));
    }
    auto list = run_command({"list", "stock"});
    REQUIRE_THAT(list.out, Contains("red\\x1b[31m\\x0aline\\\\") && Contains("dict<text,\\x07>"));
    REQUIRE_THAT(list.out, !Contains("\x1b") && !Contains("\x07"));
    auto bad = run_command({"serve", "--name", "bell\x07"});
    require_sentence(bad, 1);
    REQUIRE_THAT(bad.err, Contains("\"bell\\x07\"") && !Contains("\x07"));
    REQUIRE(run_command({"destroy", "stock"}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("destroying a manager with a key of its own needs the key") {
  test::ServerGround ground;
  {
    REQUIRE(run_command({"serve", "--name", "stock"}, {"COMMONHOLD_AUTHKEY=secret"}).status == 0);
    auto without = run_command({"destroy", "stock"});
    require_sentence(without, 1);
    REQUIRE_THAT(without.err, Contains("\"stock\"") && Contains("COMMONHOLD_AUTHKEY"));
    auto wrong = run_command({"destroy", "stock"}, {"COMMONHOLD_AUTHKEY=guess"});
    require_sentence(wrong, 1);
    REQUIRE_THAT(wrong.err, Contains("authkey"));
    REQUIRE(run_command({"destroy", "stock"}, {"COMMONHOLD_AUTHKEY=secret"}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("the doctor finds what servers left, audits it, and cleans only what no server can go on with") {
  test::ServerGround ground;
  {
    REQUIRE_THAT(run_command({"doctor"}).out, Contains("nothing in"));
    for (const char* name : {"dead", "stopped", "orphaned", "alive"})
      REQUIRE(run_command({"serve", "--name", name}).status == 0);
    auto make = [&](const char* name) {
      auto address = ground.address(name);
      auto loop = kj::setupAsyncIo();
      test::RpcClient client(loop, address.folder);
      auto session = client.come_in(address);
      REQUIRE(test::create(client, session, Kind::DICT, "d", "dict<text,text>").created);
    };
    for (const char* name : {"dead", "stopped"}) make(name);
    test::Shared<std::atomic<bool>> joined;
    pid_t client = test::spawn([&]() {
      auto segment = shm::Segment::open(ground.root() + "/orphaned");
      (void)segment->here();
      *joined = true;
      pause();
    });
    REQUIRE(test::eventually([&]() { return joined->load(); }));
    for (const char* name : {"dead", "orphaned"}) {
      test::kill_server(ground.address(name));
    }
    REQUIRE(run_command({"stop", "stopped"}).status == 0);
    const test::AnonymousServer nameless;
    test::kill_server(nameless.address());
    // Its maker was killed before the segment had its name.
    std::filesystem::create_directory(ground.root() + "/unmade");
    std::filesystem::permissions(ground.root() + "/unmade", std::filesystem::perms::owner_all);
    std::ofstream(ground.root() + "/unmade/segment.4711") << "COMHOLD1";
    auto report = run_command({"doctor"});
    INFO(report.out);
    REQUIRE(report.status == 0);
    REQUIRE_THAT(report.out, Contains("alive: served by process") &&
                                 Contains("dead: its server died and nobody uses it: 1 objects") &&
                                 Contains("commonhold destroy dead") &&
                                 Contains("stopped: stopped; its objects wait for the next server (1 objects") &&
                                 Contains("commonhold destroy stopped") &&
                                 Contains(nameless.address().name + ": its server died") &&
                                 Contains("orphaned: its server died, 1 clients go on") &&
                                 Contains("unmade: unfinished") && Contains("--clean"));
    REQUIRE_THAT(report.out, !Contains("unsound"));
    auto cleaned = run_command({"doctor", "--clean"});
    REQUIRE_THAT(cleaned.out,
                 Contains("removed " + nameless.folder()) && Contains("removed " + ground.root() + "/unmade"));
    REQUIRE_FALSE(std::filesystem::exists(nameless.folder()));
    for (const char* name : {"dead", "stopped", "orphaned"})
      REQUIRE(std::filesystem::exists(ground.root() + "/" + name));
    // What was kept is what the next server of the name serves.
    for (const char* name : {"dead", "stopped"}) {
      REQUIRE(run_command({"serve", "--name", name}).status == 0);
      REQUIRE_THAT(run_command({"list", name}).out, Contains("dict<text,text>"));
      REQUIRE(run_command({"stop", name}).status == 0);
      REQUIRE_THAT(run_command({"list"}).out, Catch::Matches(fmt::format("(.|\\n)*{} +stopped(.|\\n)*", name)));
      REQUIRE(run_command({"destroy", name}).status == 0);
    }
    kill(client, SIGKILL);
    test::wait_for(client);
    REQUIRE(run_command({"serve", "--name", "orphaned"}).status == 0);  // adopted
    for (const char* name : {"orphaned", "alive"}) REQUIRE(run_command({"destroy", name}).status == 0);
  }
  REQUIRE(ground.leftovers() == "");
}
