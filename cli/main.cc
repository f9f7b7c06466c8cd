#include <commonhold/version.h>
#include <CLI/CLI.hpp>

#include <string>

int main(int argc, char** argv) {
  CLI::App app{"Objects held in common by many processes: see what is shared, who holds it, who waits."};
  app.name("commonhold");
  app.set_version_flag("--version", "commonhold " + std::string(commonhold::version()));
  app.require_subcommand(0);
  CLI11_PARSE(app, argc, argv);
  return 0;
}
