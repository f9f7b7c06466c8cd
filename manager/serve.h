// The server as a process of its own, for the `commonhold` command and for programs that start one of themselves.
#pragma once

#include <cstdint>
#include <string>

#include "rpc/spawn.h"

namespace commonhold::manager {

// Serves a manager for the program that asked for it (rpc/spawn.h), in a new process: the calling one returns 0 at
// once, so whoever started it has a child to wait for that ends immediately, and none that stays. Failures go to the
// ready descriptor. REQUIRES: one thread.
int serve_on_request(const rpc::SpawnRequest& request);

struct NamedServer {
  std::string name;
  std::uint64_t memory_limit = 0;
  bool foreground = false;
};

// Serves a named manager until a client ends it, or SIGTERM or SIGINT, which leave its objects to the next server of the
// name: in a process of its own once it is ready, or here with what happens written to standard error. Returns the exit
// status, having said in a sentence what went wrong: 1 too when the server, once it was ready, ended by an error.
// REQUIRES: one thread.
int serve_named(const NamedServer& server);

}  // namespace commonhold::manager
