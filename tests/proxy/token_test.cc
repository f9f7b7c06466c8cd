// Objects handed from program to program as text.
#include <commonhold/commonhold.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using Catch::Contains;
using Counts = Dict<std::string, std::int64_t>;

extern char** environ;

namespace {

// Runs the second program (tests/proxy/second_program.cc) and gives its exit status.
int run_second_program(const std::vector<std::string>& tokens) {
  const char* program = std::getenv("COMMONHOLD_SECOND_PROGRAM");
  REQUIRE(program != nullptr);
  std::vector<char*> arguments{const_cast<char*>(program)};
  for (const auto& token : tokens) arguments.push_back(const_cast<char*>(token.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    execv(program, arguments.data());
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace

TEST_CASE("an unrelated program works on objects whose tokens it got") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}});
  auto list = manager.list<std::string>();
  auto value = manager.value(1.5);
  auto array = manager.array<int>(3);
  auto lock = manager.lock();
  CHECK(run_second_program({counts.token(), list.token(), value.token(), array.token(), lock.token()}) == 0);
  CHECK(counts.at("a") == 42);
  CHECK(list.at(0) == "from the second program");
  CHECK(value == 2.5);
  CHECK(array.at(2) == 7);
  CHECK(lock.owner_died() == std::nullopt);
  // It died holding the lock when asked to.
  CHECK(run_second_program({counts.token(), list.token(), value.token(), array.token(), lock.token(), "die"}) == -9);
  std::scoped_lock guard(lock);
  CHECK(lock.owner_died().has_value());
}

TEST_CASE("a token keeps nothing alive") {
  ManagerHome home;
  Manager manager;
  auto counts = std::make_unique<Counts>(manager.dict<std::string, std::int64_t>());
  const std::string token = counts->token();
  CHECK(attach<Counts>(token).same_as(*counts));
  counts.reset();
  CHECK(eventually([&] { return manager.objects().empty(); }));
  CHECK_THROWS_AS(attach<Counts>(token), ObjectGone);
  auto another = manager.dict<std::string, std::int64_t>();
  CHECK_THROWS_WITH(attach<Counts>(token), Contains(token));
}

TEST_CASE("an attached object keeps itself and its server alive") {
  ManagerHome home;
  Pipe pipe;
  // Forked before there is anything to inherit: all that it has of the manager is what it attached.
  Process child([&] {
    auto attached = std::make_unique<Counts>(attach<Counts>(pipe.second.recv<std::string>()));
    pipe.second.send(true);
    (void)pipe.second.recv<bool>();  // nobody else has the dict or the manager any more
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    (*attached)["a"] += 1;
    const std::string token = attached->token();
    pipe.second.send(attach<Counts>(token).at("a") == 2 && !home.is_empty());
    attached.reset();
    (void)pipe.second.recv<bool>();
  });
  child.start();
  {
    Manager manager;
    auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}});
    pipe.first.send(counts.token());
    REQUIRE(pipe.first.recv<bool>());
  }
  pipe.first.send(true);
  CHECK(pipe.first.recv<bool>());
  pipe.first.send(true);
  child.join();
  CHECK(child.exitcode() == 0);
  CHECK(eventually([&] { return home.is_empty(); }));
}

TEST_CASE("a token is refused with the reason") {
  ManagerHome home;
  std::string token;
  {
    Manager manager;
    auto counts = manager.dict<std::string, std::int64_t>();
    token = counts.token();
    CHECK_THROWS_AS((attach<Dict<int, int>>(token)), TypeMismatch);
    CHECK_THROWS_WITH((attach<List<int>>(token)), Contains("dict<text,int64>") && Contains("list<int32>"));
    std::string other = token;
    other.replace(other.find(':', 13) + 1, 4, "0000");
    CHECK_THROWS_AS(attach<Counts>(other), ObjectGone);
  }
  for (const char* text : {"", "hello", "commonhold:2:1.1:00:/x", "commonhold:1:", "commonhold:1:x.1:00:/x",
                           "commonhold:1:1.1:zz:/x", "commonhold:1:1.1:00:relative"}) {
    CHECK_THROWS_AS(attach<Counts>(text), ValueError);
  }
  CHECK(eventually([&] { return home.is_empty(); }));
  CHECK_THROWS_AS(attach<Counts>(token), ObjectGone);
}
