// A server whose segment's file was truncated.
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "support/process_shared.h"
#include "support/server_ground.h"

using namespace commonhold;
using Catch::Contains;

TEST_CASE("a server whose segment was truncated says so before it ends, and doctor names the folder") {
  test::ServerGround ground;
  int err[2];
  REQUIRE(pipe(err) == 0);
  const pid_t server = fork();
  if (server == 0) {
    dup2(err[1], 1);
    dup2(err[1], 2);
    execl(test::command_path().c_str(), "commonhold", "serve", "--name", "stock", "--foreground", nullptr);
    _exit(127);
  }
  close(err[1]);
  std::string text;
  auto read_until = [&](const std::string& word) {
    char bytes[512];
    while (text.find(word) == std::string::npos) {
      const ssize_t got = read(err[0], bytes, sizeof bytes);
      if (got <= 0) return false;
      text.append(bytes, static_cast<std::size_t>(got));
    }
    return true;
  };
  REQUIRE(read_until("Ctrl-C"));
  const std::string folder = ground.root() + "/stock";
  std::filesystem::resize_file(folder + "/segment", 4096);
  // Whatever it does next it reads what is gone.
  (void)test::run_command({"list"});
  CHECK(read_until("somebody has truncated the file"));
  CHECK_THAT(text, Contains(folder + "/segment"));
  CHECK(test::wait_for(server) == -SIGBUS);
  close(err[0]);
  CHECK_THAT(test::run_command({"doctor"}).out, Contains("stock"));
}
