// main() of every test program: prints the seed, and never lets a test run for ever.
//
//   --rng-seed N or COMMONHOLD_TEST_SEED=N       repeats a run; tests take their seed from Catch::rngSeed()
//   COMMONHOLD_TEST_WATCHDOG_SECONDS=N           ends the program after N seconds (default 600, 0: no
//   watchdog)
//
// fork clears an alarm, so the watchdog is of the test program alone. It takes the children with it when the
// program leads its process group, as under Meson.

#if !defined(COMMONHOLD_PLANTED_FAULTS)  // such a program has no layer above shm
#include <commonhold/fresh.h>
#endif
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <string>

#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

namespace {

// The running test's name for the signal handler. A name torn by the signal is still text that ends in a null.
char running_test[256] = "no test";

class RunningTestListener : public Catch::TestEventListenerBase {
 public:
  using TestEventListenerBase::TestEventListenerBase;

  void testCaseStarting(const Catch::TestCaseInfo& info) override {
    const std::size_t length = std::min(info.name.size(), sizeof running_test - 1);
    std::memcpy(running_test, info.name.data(), length);
    running_test[length] = '\0';
  }
};

void write_error(const char* text) {
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

extern "C" void end_by_watchdog(int) {
  write_error("\nwatchdog: time is over in test: ");
  write_error(running_test);
  write_error("\n");
  if (getpgrp() == getpid()) kill(0, SIGKILL);
  _exit(124);
}

// The environment's number, or `otherwise` when the variable is unset; anything else ends the program.
unsigned long number_from_environment(const char* name, unsigned long otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  const unsigned long number = std::strtoul(text, &end, 10);
  if (*end != '\0' || number > 0xffffffffUL) {
    std::cerr << name << " must be a number below 2^32, not \"" << text << "\"\n";
    std::exit(2);
  }
  return number;
}

}  // namespace

CATCH_REGISTER_LISTENER(RunningTestListener)

int main(int argc, char** argv) {
#if !defined(COMMONHOLD_PLANTED_FAULTS)
  commonhold::run_if_fresh();
#endif
  Catch::Session session;
  session.configData().rngSeed =
      static_cast<unsigned>(number_from_environment("COMMONHOLD_TEST_SEED", std::random_device{}()));
  if (const int status = session.applyCommandLine(argc, argv); status != 0) return 2;

  const unsigned long seconds = number_from_environment("COMMONHOLD_TEST_WATCHDOG_SECONDS", 600);
  if (seconds > 0) {
    struct sigaction action = {};
    action.sa_handler = end_by_watchdog;
    sigaction(SIGALRM, &action, nullptr);
    alarm(static_cast<unsigned>(seconds));
  }

  // A program or a filter that runs no test at all has not passed.
  auto& config = session.configData();
  config.warnings = static_cast<Catch::WarnAbout::What>(config.warnings | Catch::WarnAbout::NoTests);
  if (!config.showHelp && !config.listTests && !config.listTags && !config.listTestNamesOnly) {
    std::cout << "seed " << config.rngSeed << " (repeat with --rng-seed " << config.rngSeed << ")\n" << std::flush;
  }
  return std::min(session.run(), 255);
}
