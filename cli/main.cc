// The `commonhold` command: the subcommands' options and help. What they do is in commands.h.
#include <commonhold/version.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>

#include "cli/commands.h"
#include "cli/size.h"
#include "manager/control.h"
#include "manager/serve.h"

namespace {

using namespace commonhold;

constexpr char kFooter[] =
    "A manager holds dicts, lists, values, arrays and locks in shared memory; programs join it by its name.\n"
    "\n"
    "  commonhold serve --name stock --memory-limit 2G    a manager that stays until it is destroyed\n"
    "  commonhold list                                    your managers, with or without a name\n"
    "  commonhold list stock                              what is in it, and who uses it\n"
    "  commonhold locks stock                             who holds which lock, and who waits\n"
    "  commonhold stop stock                              end its server; its objects stay for the next one\n"
    "  commonhold destroy stock                           end it, objects and all\n"
    "  commonhold doctor                                  what dead servers left, and whether it is sound\n"
    "\n"
    "Managers live in /dev/shm/commonhold-<uid>, or where COMMONHOLD_HOME says. COMMONHOLD_AUTHKEY is the key of\n"
    "managers that were started with one. The exit status is 0, 1 when it did not work out, 2 for a wrong command "
    "line.";

// Everything that is read from the command line.
struct Words {
  manager::NamedServer server;
  rpc::SpawnRequest request;
  std::string size;
  bool anonymous = false;
  std::string name;
  double timeout = std::chrono::duration<double>(manager::kAnswersWithin).count();
  bool clean = false;
};

// Of the commands that ask a server to end.
void add_ending_options(CLI::App& command, Words& words) {
  command.add_option("manager", words.name, "A name or a folder")->required();
  command
      .add_option("--timeout", words.timeout,
                  "How many seconds to wait, each, for the connection, the server's answer and its end")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 1e6));
  command.footer(
      "A server that does not answer in time may be stopped, stuck or out of descriptors: the command fails with "
      "status 1 and names its process. `kill -9` ends that one, which loses nothing.");
}

CLI::App* add_serve(CLI::App& app, Words& words) {
  auto* serve = app.add_subcommand("serve", "Start a manager's server");
  serve->add_option("--name", words.server.name,
                    "Its name: 1 to 63 of A-Z a-z 0-9 . _ -, or a folder with a slash in it");
  serve->add_option("--memory-limit", words.size,
                    "What all objects together may take: bytes, or with K, M, G, T; otherwise all of /dev/shm");
  serve->add_flag("--foreground", words.server.foreground,
                  "Stay in the terminal and say what happens; otherwise the server leaves it once it is ready");
  serve->footer(
      "A server that was stopped or killed, by SIGTERM, SIGINT or SIGKILL, leaves its objects: start one of the same "
      "name and everything goes on. `commonhold destroy` removes them.");
  // For programs that start a server of themselves (rpc/spawn.h).
  serve->add_flag("--anonymous", words.anonymous)->group("");
  serve->add_option("--lifeline-fd", words.request.lifeline_fd)->group("");
  serve->add_option("--ready-fd", words.request.ready_fd)->group("");
  serve->add_option("--folder", words.request.folder)->group("");
  return serve;
}

int run_serve(const Words& words) {
  std::uint64_t limit = 0;
  if (!words.size.empty()) {
    std::string why = cli::parse_size(words.size, limit);
    if (!why.empty()) return cli::say_usage_error("--memory-limit " + why);
  }
  if (words.anonymous || words.request.ready_fd >= 0) {
    if (words.request.ready_fd < 0 || (words.request.lifeline_fd < 0) == words.server.name.empty()) {
      return cli::say_usage_error("--anonymous is for programs that start a server; people use --name");
    }
    rpc::SpawnRequest request = words.request;
    request.name = words.server.name;
    request.memory_limit = limit;
    return manager::serve_on_request(request);
  }
  if (words.server.name.empty()) {
    return cli::say_usage_error("serve needs a name by which programs join: commonhold serve --name stock");
  }
  manager::NamedServer server = words.server;
  server.memory_limit = limit;
  return manager::serve_named(server);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Objects held in common by many processes: start managers, see what is shared, who holds it, who waits."};
  app.name("commonhold");
  app.set_version_flag("--version", "commonhold " + std::string(version()));
  app.footer(kFooter);
  app.failure_message([](const CLI::App*, const CLI::Error& error) {
    return "commonhold: " + std::string(error.what()) + "; `commonhold --help` says what there is\n";
  });
  Words words;
  auto* serve = add_serve(app, words);
  auto* list = app.add_subcommand("list", "List your managers, or the objects of one");
  list->add_option("manager", words.name, "A name or a folder");
  auto* stop = app.add_subcommand("stop", "End a manager's server; its objects stay for the next server of the name");
  add_ending_options(*stop, words);
  auto* destroy = app.add_subcommand("destroy", "End a manager: its server, where one runs, and its objects");
  add_ending_options(*destroy, words);
  auto* locks = app.add_subcommand("locks", "Show who holds which lock of a manager, and who waits for it");
  locks->add_option("manager", words.name, "A name or a folder")->required();
  auto* doctor = app.add_subcommand("doctor", "Find what dead servers left, and check it");
  doctor->add_flag("--clean", words.clean,
                   "Remove what no server can go on with: of managers without a name, of another version, unfinished; "
                   "`commonhold destroy` removes the others");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return cli::saying_errors([&]() {
    if (*serve) return run_serve(words);
    if (*list) return words.name.empty() ? cli::list_managers() : cli::list_objects(words.name);
    if (*stop) return cli::stop(words.name, words.timeout);
    if (*destroy) return cli::destroy(words.name, words.timeout);
    if (*locks) return cli::list_locks(words.name);
    if (*doctor) return cli::examine(words.clean);
    std::fputs(app.help().c_str(), stdout);
    return 0;
  });
}
