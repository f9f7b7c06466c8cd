// Clients that die, stop or become another program: what they held is released exactly when they are gone.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>

#include "shm/references.h"
#include "shm/user_lock.h"
#include "support/managers.h"
#include "support/process_shared.h"

using namespace commonhold;
using Kind = rpc::schema::ObjectKind;
using test::AnonymousServer;

TEST_CASE("a client that dies with a lock is recovered by the server, without anybody waiting for the lock") {
  test::ServerGround ground;
  {
    auto address = ground.address("stock");
    test::serve(address);
    auto made = test::make_object(address, Kind::LOCK, "l", "lock");
    auto segment = shm::Segment::open(address.folder);
    shm::UserLock user_lock({segment.get(), made.id.index, made.control});
    for (int round = 0; round < 10; ++round) {
      pid_t holder = test::spawn([&]() {
        if (user_lock.acquire(*segment->here()) != shm::Status::kOk) throw std::runtime_error("not acquired");
        pause();
      });
      REQUIRE(test::eventually([&]() { return user_lock.holder_pid() == static_cast<std::uint32_t>(holder); }));
      kill(holder, SIGKILL);
      REQUIRE(test::wait_for(holder) == -SIGKILL);
      // Nobody but the server looks: this process only reads the word.
      REQUIRE(test::eventually([&]() { return !user_lock.locked(); }));
      REQUIRE(user_lock.died_pid() == static_cast<std::uint32_t>(holder));
    }
    test::destroy(address);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a client that is stopped keeps its lock, one that replaced its image does not") {
  test::ServerGround ground;
  {
    AnonymousServer server;
    auto made = test::make_object(server.address(), Kind::LOCK, "l", "lock");
    auto segment = shm::Segment::open(server.folder());
    shm::UserLock user_lock({segment.get(), made.id.index, made.control});
    test::Shared<std::atomic<pid_t>> seen;  // whom the test has seen holding the lock: he may go on
    auto start_holder = [&](auto&& then) {
      pid_t holder = test::spawn([&]() {
        if (user_lock.acquire(*segment->here()) != shm::Status::kOk) throw std::runtime_error("not acquired");
        while (*seen != getpid()) usleep(200);
        then();
      });
      REQUIRE(test::eventually([&]() { return user_lock.holder_pid() == static_cast<std::uint32_t>(holder); }));
      *seen = holder;
      return holder;
    };
    pid_t stopped = start_holder([]() { pause(); });
    kill(stopped, SIGSTOP);
    for (int i = 0; i < 20; ++i) {
      segment->ring_bell();
      usleep(5000);
    }
    REQUIRE(user_lock.holder_pid() == static_cast<std::uint32_t>(stopped));
    kill(stopped, SIGKILL);
    test::wait_for(stopped);
    REQUIRE(test::eventually([&]() { return !user_lock.locked(); }));

    pid_t replaced = start_holder([]() { execl("/bin/sleep", "sleep", "60", nullptr); });
    REQUIRE(test::eventually([&]() { return !user_lock.locked(); }));  // no pidfd tells: the clock does
    REQUIRE(kill(replaced, 0) == 0);
    kill(replaced, SIGKILL);
    test::wait_for(replaced);
    segment->leave();
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("an object goes when the last of its sessions is killed") {
  test::ServerGround ground;
  {
    AnonymousServer server;
    auto segment = shm::Segment::open(server.folder());
    test::Shared<std::uint64_t> id;
    auto user = [&]() {
      return test::spawn([&]() {
        auto made = test::make_object(server.address(), Kind::DICT, "shared", "dict<text,text>");
        if (shm::add_reference(*segment, made.id) != shm::Status::kOk) throw std::runtime_error("no reference");
        *id = made.id.word();
        pause();
      });
    };
    pid_t a = user();
    REQUIRE(test::eventually([&]() { return *id != 0; }));
    shm::ObjectId object = shm::ObjectId::from_word(*id);
    *id = 0;
    pid_t b = user();
    REQUIRE(test::eventually([&]() { return *id != 0 && shm::count_references(*segment, object) == 2; }));
    REQUIRE(shm::ObjectId::from_word(*id) == object);
    {
      auto loop = kj::setupAsyncIo();
      test::RpcClient client(loop, server.folder());
      auto session = client.come_in(server.address());
      REQUIRE_FALSE(test::remove(client, session, "shared"));
    }
    kill(a, SIGKILL);
    test::wait_for(a);
    REQUIRE(test::eventually([&]() { return shm::count_references(*segment, object) == 1; }));
    usleep(20'000);
    REQUIRE(shm::object_control(*segment, object) != 0);
    kill(b, SIGKILL);
    test::wait_for(b);
    REQUIRE(test::eventually([&]() { return shm::object_control(*segment, object) == 0; }));
  }
  REQUIRE(ground.leftovers() == "");
}
