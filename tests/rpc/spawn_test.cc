#include "rpc/spawn.h"

#include <catch2/catch.hpp>

using namespace commonhold::rpc;

TEST_CASE("a request survives its way through the environment") {
  SpawnRequest request{7, 9, 1 << 20, "/dev/shm/a folder/with = signs"};
  auto read = SpawnRequest::from_environment(request.environment());
  REQUIRE(read);
  REQUIRE(read->lifeline_fd == 7);
  REQUIRE(read->ready_fd == 9);
  REQUIRE(read->memory_limit == 1 << 20);
  REQUIRE(read->folder == request.folder);
  REQUIRE(SpawnRequest::from_environment(SpawnRequest{3, 4, 0, ""}.environment())->folder == "");
  SpawnRequest named{-1, 9, 5, "", "/a folder/stock"};
  read = SpawnRequest::from_environment(named.environment());
  REQUIRE(read);
  REQUIRE(read->lifeline_fd == -1);
  REQUIRE(read->memory_limit == 5);
  REQUIRE(read->name == named.name);
  REQUIRE(named.arguments() ==
          std::vector<std::string>{"serve", "--ready-fd", "9", "--name", named.name, "--memory-limit", "5"});
}

TEST_CASE("what is no request is told apart") {
  for (const char* text : {"", "1", "lifeline-fd=3", "lifeline-fd=3 ready-fd=", "lifeline-fd=x ready-fd=4",
                           "lifeline-fd=3 ready-fd=4 more=5", "lifeline-fd=3 ready-fd=4 name=x", "ready-fd=4 folder=/x",
                           "lifeline-fd=3 ready-fd=4 memory-limit=-1"}) {
    INFO(text);
    REQUIRE_FALSE(SpawnRequest::from_environment(text));
  }
}

TEST_CASE("a ready line survives its way, and half a line is none") {
  ReadyLine ready{true, "/dev/shm/x y", {}, {}};
  REQUIRE(ReadyLine::parse(ready.text())->folder == ready.folder);
  ReadyLine failed{false, {}, "foreign-layout", "a sentence\nin two lines"};
  auto read = ReadyLine::parse(failed.text());
  REQUIRE(read);
  REQUIRE_FALSE(read->ready);
  REQUIRE(read->code == "foreign-layout");
  REQUIRE(read->message == "a sentence in two lines");
  for (const char* text : {"", "ready", "ready /dev/shm/half", "ready relative\n", "failed\n", "hello\n"}) {
    INFO(text);
    REQUIRE_FALSE(ReadyLine::parse(text));
  }
}
