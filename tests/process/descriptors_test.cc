// Descriptors on their way, and who has none left; pools and results that were moved from.
#include <commonhold/commonhold.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>
#include <vector>

#include "support/children.h"
#include "support/manager_home.h"
#include "support/no_descriptors.h"
#include "support/process_shared.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

TEST_CASE("a long message that there is no descriptor for stays in the pipe and comes next") {
  Pipe pipe;
  const std::string message(100'000, 'm');
  pipe.second.send_bytes(message);
  pipe.second.send_bytes("next");
  {
    const NoDescriptors none;
    CHECK(system_code([&] { (void)pipe.first.recv_bytes(); }) == EMFILE);
    CHECK(system_code([&] { (void)pipe.first.recv_bytes(); }) == EMFILE);
  }
  CHECK(pipe.first.recv_bytes() == message);
  CHECK(pipe.first.recv_bytes() == "next");
}

TEST_CASE("a descriptor that there is no place for stays in the pipe and comes next") {
  Pipe pipe;
  pipe.second.send_descriptor(STDERR_FILENO);
  {
    const NoDescriptors none;
    CHECK(system_code([&] { (void)pipe.first.recv_descriptor(); }) == EMFILE);
  }
  const int received = pipe.first.recv_descriptor();
  CHECK(received > 2);
  close(received);
}

TEST_CASE("a descriptor that there is no place for stays in a listener's connection, too") {
  Listener listener;
  Client client(listener.address());
  Connection accepted = listener.accept();
  client.send(1);
  client.send_descriptor(STDERR_FILENO);
  client.send(2);
  CHECK(accepted.recv<int>() == 1);
  {
    const NoDescriptors none;
    CHECK(system_code([&] { (void)accepted.recv_descriptor(); }) == EMFILE);
  }
  const int received = accepted.recv_descriptor();
  CHECK(received > 2);
  close(received);
  CHECK(accepted.recv<int>() == 2);
}

TEST_CASE("processes that receive from one end with room for one descriptor each get each descriptor once") {
  constexpr int kFiles = 50, kRounds = 400;
  Pipe pipe, answers;
  const auto inode_of = [](int file) {
    struct stat status {};
    fstat(file, &status);
    return static_cast<std::uint64_t>(status.st_ino);
  };
  std::vector<pid_t> receivers;
  for (int i = 0; i < 2; ++i) {
    receivers.push_back(spawn([&] {
      pipe.second.close();
      answers.first.close();
      std::map<std::uint64_t, int> got;
      {
        const int room = open("/dev/null", O_RDONLY);
        const NoDescriptors none;
        close(room);
        try {
          for (;;) {
            const int file = pipe.first.recv_descriptor();
            ++got[inode_of(file)];
            close(file);
          }
        } catch (const EndOfFile&) {
        }
      }
      answers.second.send(got);
    }));
  }
  pipe.first.close();
  answers.second.close();
  std::map<std::uint64_t, int> sent, got;
  std::vector<int> files;
  for (int i = 0; i < kFiles; ++i) files.push_back(memfd_create("test", MFD_CLOEXEC));
  for (int i = 0; i < kFiles * kRounds; ++i) pipe.second.send_descriptor(files[static_cast<std::size_t>(i % kFiles)]);
  pipe.second.close();
  for (const int file : files) {
    sent[inode_of(file)] = kRounds;
    close(file);
  }
  for (const pid_t receiver : receivers) {
    for (const auto& [inode, times] : answers.first.recv<std::map<std::uint64_t, int>>()) got[inode] += times;
    CHECK(wait_for(receiver) == 0);
  }
  CHECK(got == sent);
}

TEST_CASE("a pool, a result or its iterator that was moved from is a usage error") {
  ManagerHome home;
  Pool pool(1);
  auto result = pool.apply_async([](int n) { return n; }, 1);
  auto results = pool.imap([](int n) { return n; }, std::vector{1, 2});
  auto kept = std::move(result);
  CHECK_THAT(refusal<UsageError>([&] { (void)result.get(); }), Contains("AsyncResult"));
  CHECK_THROWS_AS(result.ready(), UsageError);
  CHECK(kept.get() == 1);
  auto kept_results = std::move(results);
  CHECK_THROWS_AS(results.next(), UsageError);
  CHECK(kept_results.next() == 1);
  Pool other = std::move(pool);
  CHECK_THAT(refusal<UsageError>([&] { (void)pool.apply([](int n) { return n; }, 1); }), Contains("Pool"));
  CHECK_THROWS_AS(pool.processes(), UsageError);
  CHECK_THROWS_AS(pool.close(), UsageError);
  CHECK_THROWS_AS(pool.join(), UsageError);
  CHECK(other.apply([](int n) { return n; }, 2) == 2);
}

TEST_CASE("a daemon that ignores SIGTERM ends after its program was killed") {
  ManagerHome home;
  Pipe pipe;
  Process program([&] {
    Process daemon({.daemon = true}, [&] {
      signal(SIGTERM, SIG_IGN);
      pipe.second.send(static_cast<int>(getpid()));
      stay();
    });
    daemon.start();
    Pool pool(1);
    (void)pool.apply_async([] {
      signal(SIGTERM, SIG_IGN);
      stay();
    });
    pipe.second.send(pool.worker_pids().at(0));
    std::this_thread::sleep_for(200ms);
    pipe.second.send(0);
    stay();
  });
  program.start();
  std::vector<int> pids;
  for (int pid = pipe.first.recv<int>(); pid != 0; pid = pipe.first.recv<int>()) pids.push_back(pid);
  REQUIRE(pids.size() == 2);
  program.kill();
  program.join();
  for (const int pid : pids) CHECK(eventually([&] { return is_gone(pid); }));
  for (const int pid : pids) kill(pid, SIGKILL);
}
