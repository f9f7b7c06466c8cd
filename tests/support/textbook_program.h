// A whole program as a test. It runs as a process of its own, so that what happens at a program's end is part of what is
// seen: it waits for its children, its daemonic children are terminated, its manager's memory is freed.
//
// What holds for every program here:
//   - its place for managers is its own, and must be empty again when it has ended;
//   - its working directory is its own, empty at the start and removed at the end;
//   - SIGTERM and SIGINT have their default actions, not the test framework's;
//   - checks are the test's, which looks at what the program printed: a failed CHECK in a program would not be counted.
#pragma once

#include <commonhold/process.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "support/captured_output.h"
#include "support/manager_home.h"

namespace commonhold::test {

// Prints its arguments with spaces between them as one line, written at once: lines of several processes do not mix.
template <typename... Parts>
void say(const Parts&... parts) {
  std::ostringstream line;
  const char* between = "";
  ((line << between << parts, between = " "), ...);
  line << '\n';
  std::cout << line.str() << std::flush;
}

// What a program printed, all of its children's lines included, in the order in which they were written.
struct ProgramRun {
  std::string output;
  std::optional<int> exitcode;

  std::vector<std::string> lines() const {
    std::istringstream stream(output);
    std::vector<std::string> all;
    for (std::string line; std::getline(stream, line);) all.push_back(line);
    return all;
  }
  // For what is printed in any order.
  std::vector<std::string> sorted_lines() const {
    auto all = lines();
    std::sort(all.begin(), all.end());
    return all;
  }
  // How many lines contain it.
  std::size_t lines_with(std::string_view text) const {
    const auto all = lines();
    return static_cast<std::size_t>(std::count_if(
        all.begin(), all.end(), [&](const std::string& line) { return line.find(text) != std::string::npos; }));
  }
  bool says(std::string_view text) const { return lines_with(text) > 0; }
  // The first line that contains it; the number of lines if none does.
  std::size_t line_of(std::string_view text) const {
    const auto all = lines();
    std::size_t number = 0;
    while (number < all.size() && all[number].find(text) == std::string::npos) ++number;
    return number;
  }
  bool ended_well() const { return exitcode == std::optional<int>(0); }
};

struct ProgramOptions {
  std::string input;  // what it reads from its standard input
};

namespace detail {

class WorkingDirectory {
 public:
  WorkingDirectory() { REQUIRE(mkdtemp(path_.data()) != nullptr); }
  ~WorkingDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  WorkingDirectory(const WorkingDirectory&) = delete;
  WorkingDirectory& operator=(const WorkingDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = std::filesystem::temp_directory_path() / "commonhold-program-XXXXXX";
};

inline Process process_of_program(std::function<void()> body, const WorkingDirectory& directory,
                                  const std::string& input) {
  return Process({.name = "program"}, [body = std::move(body), path = directory.path(), input] {
    std::filesystem::current_path(path);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    setpgid(0, 0);
    const int typed = memfd_create("input", MFD_CLOEXEC);
    if (typed < 0 || write(typed, input.data(), input.size()) != static_cast<ssize_t>(input.size())) _exit(99);
    lseek(typed, 0, SEEK_SET);
    dup2(typed, STDIN_FILENO);
    body();
  });
}

// What has been written to the file that is the standard output in output_of().
inline std::string output_so_far() {
  std::string text;
  char part[4096];
  for (ssize_t size; (size = pread(STDOUT_FILENO, part, sizeof part, static_cast<off_t>(text.size()))) > 0;) {
    text.append(part, static_cast<std::size_t>(size));
  }
  return text;
}

}  // namespace detail

// Runs it to its end.
inline ProgramRun program(const ProgramOptions& options, std::function<void()> body) {
  ManagerHome home;
  detail::WorkingDirectory directory;
  ProgramRun run;
  run.output = output_of(STDOUT_FILENO, [&] {
    Process process = detail::process_of_program(std::move(body), directory, options.input);
    process.start();
    process.join();
    run.exitcode = process.exitcode();
  });
  return run;
}
inline ProgramRun program(std::function<void()> body) {
  return program({}, std::move(body));
}

// For a program that never ends: runs it until done(what it printed so far), and then interrupts it and its children, as
// the user of a terminal does with Ctrl-C.
inline ProgramRun program_until(const std::function<bool(const ProgramRun&)>& done, std::function<void()> body) {
  ManagerHome home;
  detail::WorkingDirectory directory;
  ProgramRun run;
  run.output = output_of(STDOUT_FILENO, [&] {
    Process process = detail::process_of_program(std::move(body), directory, {});
    process.start();
    setpgid(*process.pid(), *process.pid());
    const bool seen = eventually([&] { return done({detail::output_so_far(), std::nullopt}); });
    kill(-*process.pid(), SIGINT);
    process.join();
    run.exitcode = process.exitcode();
    CHECK(seen);
  });
  return run;
}

}  // namespace commonhold::test
