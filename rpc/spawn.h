// How a client starts the server of a manager, anonymous ones in the first place, and how the server answers: the words
// that both ends share.
//
// A named manager is started in the same way, without a lifeline.
//
// The client makes two pipes and executes a program with the request as arguments (`commonhold serve ...`) or
// in the environment variable COMMONHOLD_BOOTSTRAP of its own program image, where the library takes over
// before main() (manager/bootstrap.cc).
//
// What was executed ends at once with status 0 (the server is a process of its own by then, in a session of its own,
// and no child of the client): the client waits for it, and a program's own wait() never meets the server.
//
//   ready      the server writes one line and closes: "ready FOLDER\n" or "failed CODE MESSAGE\n"
//   lifeline   the client and every process forked from it keep the write end open; the server has the read end.
//              At end of file, and with no client session left alive, the server removes its folder and ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace commonhold::rpc {

inline constexpr char kServerVariable[] = "COMMONHOLD_SERVER";        // path of a `commonhold` command to start
inline constexpr char kBootstrapVariable[] = "COMMONHOLD_BOOTSTRAP";  // a request, for the program's own image

// The same for a program that serves when it has registered its types (proxy/include/commonhold/type.h).
inline constexpr char kLateBootstrapVariable[] = "COMMONHOLD_BOOTSTRAP_WITH_TYPES";

struct SpawnRequest {
  int lifeline_fd = -1;            // read end, as numbered in the server
  int ready_fd = -1;               // write end, as numbered in the server
  std::uint64_t memory_limit = 0;  // bytes, 0: all that the file system holds
  // Serve this folder (again): for clients whose anonymous server was killed. Empty: a new folder.
  std::string folder;
  // Serve a named manager, which stays until it is shut down: its name or folder. Then there is no lifeline.
  std::string name;

  // "serve" "--anonymous" "--lifeline-fd" "5" ...: the arguments after the program's name.
  std::vector<std::string> arguments() const;
  // The value of COMMONHOLD_BOOTSTRAP: "lifeline-fd=5 ready-fd=6 memory-limit=0 folder=...", or with "name=..." at
  // the end.
  std::string environment() const;
  // nullopt: not such a value.
  static std::optional<SpawnRequest> from_environment(std::string_view value);
};

// Set when this program's image holds a server (manager/bootstrap.cc): what serves a request in a forked child of a
// program with one thread, without executing anything. Returns the child's exit status.
extern int (*serve_in_this_image)(const SpawnRequest& request);

struct ReadyLine {
  bool ready = false;
  std::string folder;         // when ready
  std::string code, message;  // when not: a word ("foreign-layout") and a sentence

  std::string text() const;  // with the newline
  // nullopt: the server ended before it wrote a line, or wrote something else.
  static std::optional<ReadyLine> parse(std::string_view text);
};

}  // namespace commonhold::rpc
