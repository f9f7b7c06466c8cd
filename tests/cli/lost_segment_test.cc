// A server whose segment's file was truncated.
#include <signal.h>

#include <filesystem>

#include "support/foreground_server.h"

using namespace commonhold;
using Catch::Contains;

TEST_CASE("a server whose segment was truncated says so before it ends, and doctor names the folder") {
  test::ServerGround ground;
  test::ForegroundServer server("stock");
  const std::string folder = ground.root() + "/stock";
  std::filesystem::resize_file(folder + "/segment", 0);
  kill(server.pid(), SIGTERM);  // on its way out it writes into what is gone
  CHECK(server.read_until("somebody has truncated the file"));
  CHECK_THAT(server.text(), Contains(folder + "/segment"));
  CHECK(server.wait() == -SIGBUS);
  CHECK_THAT(test::run_command({"doctor"}).out, Contains("stock"));
}
