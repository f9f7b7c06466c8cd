// Shared memory to try the kill stepper on.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "support/kill_stepper.h"
#include "support/shared_image.h"

namespace commonhold::test {

// A few zeroed pages, and a plan that puts them back before each run.
class KillTestGround {
 public:
  explicit KillTestGround(std::string name, std::size_t length = 0x10000)
      : memory_(length), image_({{memory_.data(), length}}), runs_memory_(sizeof(std::atomic<int>)) {
    plan.name = std::move(name);
    plan.prepare = [this] { image_.restore(); };
    plan.shared = {{memory_.data(), length}};
    plan.enter = [this] { ++runs(); };
  }

  // Runs the plan; check(k) says what is wrong after the kill before instruction k.
  KillReport run(const std::function<std::string(std::size_t)>& check) {
    plan.verify = [&check](pid_t, std::size_t k) { return check(k); };
    return run_kill_plan(plan);
  }
  KillReport run() {
    return run([](std::size_t) { return std::string(); });
  }

  [[nodiscard]] volatile std::uint64_t* words() const { return static_cast<std::uint64_t*>(memory_.data()); }
  [[nodiscard]] std::uint8_t* bytes() const { return static_cast<std::uint8_t*>(memory_.data()); }
  // Takes the present bytes as what a run starts from.
  void save() { image_.save(); }
  // How many victims there were, recordings included. Outside of the image, so an operation can misbehave by it.
  [[nodiscard]] std::atomic<int>& runs() const { return *static_cast<std::atomic<int>*>(runs_memory_.data()); }

  KillPlan plan;

 private:
  SharedBuffer memory_;
  SharedImage image_;
  SharedBuffer runs_memory_;
};

}  // namespace commonhold::test
