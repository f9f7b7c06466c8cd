// A place for a test's managers that is its own, so that tests running side by side do not meet, and that must be empty
// again when the test is over.
#pragma once

#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

namespace commonhold::test {

// Waits until done() is true; false when it is not so within `limit`.
template <typename Done>
bool eventually(Done&& done, std::chrono::milliseconds limit = std::chrono::seconds(20)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Sets a variable of the environment for a scope.
class Environment {
 public:
  Environment(const char* name, const std::optional<std::string>& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ~Environment() { set(before_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  void set(const std::optional<std::string>& value) { value ? setenv(name_, value->c_str(), 1) : unsetenv(name_); }
  const char* name_;
  std::optional<std::string> before_;
};

class ManagerHome {
 public:
  ManagerHome() : folder_(make()), variable_("COMMONHOLD_HOME", folder_) {}
  ~ManagerHome() {
    if (owner_ != getpid()) return;
    CHECK(eventually([&] { return is_empty(); }));
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  const std::string& folder() const { return folder_; }
  bool is_empty() const { return !std::filesystem::exists(folder_) || std::filesystem::is_empty(folder_); }

 private:
  static std::string make() {
    static int made = 0;
    return "/dev/shm/commonhold-test-" + std::to_string(getpid()) + "-" + std::to_string(++made);
  }
  pid_t owner_ = getpid();
  std::string folder_;
  Environment variable_;
};

}  // namespace commonhold::test
