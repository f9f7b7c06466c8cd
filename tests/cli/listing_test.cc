// What the command lists: objects, locks, and names that no terminal should see as they are.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <sstream>

#include "shm/references.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"
#include "support/process_shared.h"
#include "support/require_sentence.h"
#include "support/rpc_client.h"
#include "support/server_ground.h"

using namespace commonhold;
using Catch::Contains;
using Kind = rpc::schema::ObjectKind;
using test::require_sentence;
using test::run_command;

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
