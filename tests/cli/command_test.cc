// The `commonhold` command as people meet it: what it prints, its exit status, and that a mistake is one sentence that
// names the value and says what to do.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "cli/size.h"
#include "support/require_sentence.h"
#include "support/server_ground.h"

using namespace commonhold;
using Catch::Contains;
using test::require_sentence;
using test::run_command;

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
  for (const char* command : {"stop", "destroy"}) {
    REQUIRE_THAT(run_command({command, "--help"}).out, Contains("--timeout") && Contains("kill -9"));
  }
}

TEST_CASE("a wrong command line is status 2 and a sentence") {
  test::ServerGround ground;
  require_sentence(run_command({"--nonsense"}), 2);
  require_sentence(run_command({"frobnicate"}), 2);
  require_sentence(run_command({"serve", "--nonsense"}), 2);
  require_sentence(run_command({"serve"}), 2);
  require_sentence(run_command({"stop"}), 2);
  require_sentence(run_command({"stop", "stock", "--timeout", "-1"}), 2);
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
