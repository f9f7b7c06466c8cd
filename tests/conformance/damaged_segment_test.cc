// Garbage in the segment: a server, clients that use objects of every kind, one of whom is killed, and somebody who
// overwrites words of the segment meanwhile. No process that wrote no garbage crashes, waits past its deadline, goes in
// a circle or takes memory without end; what it throws is an Error of ours.
//
//   COMMONHOLD_DAMAGE_SEED=N     runs that seed alone, and prints each word that is overwritten
//   COMMONHOLD_DAMAGE_SEEDS=N    that many seeds (default 300; with COMMONHOLD_SOAK 3,000)
#include <commonhold/manager.h>
#include <commonhold/server.h>
#include <execinfo.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <iostream>
#include <thread>

#include "support/damage_client.h"
#include "support/damage_objects.h"
#include "support/manager_home.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

constexpr const char* kName = "damaged";
constexpr std::uint64_t kMemoryLimit = 24u << 20;
constexpr int kClients = 3;                               // one more only looks, at the end
constexpr std::uint64_t kCallTimeoutNs = 15'000'000'000;  // with one call
constexpr std::uint64_t kLifeNs = 60'000'000'000;         // of a process

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

struct Run {
  Survivor servers[2], clients[kClients + 1];
};

// Of a pipe; closed with this.
struct Ends {
  Ends() { REQUIRE(pipe2(fd, O_CLOEXEC) == 0); }
  explicit Ends(std::nullptr_t) {}
  Ends(Ends&& other) noexcept { *this = std::move(other); }
  Ends& operator=(Ends&& other) noexcept {
    std::swap(fd[0], other.fd[0]);
    std::swap(fd[1], other.fd[1]);
    return *this;
  }
  ~Ends() {
    close_one(0);
    close_one(1);
  }
  void close_one(int end) {
    if (fd[end] >= 0) close(std::exchange(fd[end], -1));
  }
  int fd[2] = {-1, -1};
};

extern "C" void show_crash(int number) {
  void* frames[40];
  const int count = backtrace(frames, 40);
  backtrace_symbols_fd(frames, count, STDERR_FILENO);
  signal(number, SIG_DFL);
  raise(number);
}

// For a child that is to survive.
void prepare() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  void* frame;
  (void)backtrace(&frame, 1);  // loads what it needs, before anything is wrong
  for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) signal(number, show_crash);
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they reserve terabytes for themselves
  const rlimit memory{std::uint64_t{3} << 30, std::uint64_t{3} << 30};
  setrlimit(RLIMIT_AS, &memory);
#endif
}

// Serves until `stop` is closed. Says on `ready` when it does, or that it will not.
void serve(Survivor& self, int ready, int stop) {
  prepare();
  std::atomic<bool> stopping = false;
  Server server({.name = kName, .memory_limit = kMemoryLimit, .log = [&](const std::string& line) {
                   if (line.find("the server ends") != std::string::npos ||
                       line.find("housekeeper ends") != std::string::npos)
                     self.complain(line.c_str());
                 }});
  self.begin("start of the server");
  try {
    server.start();
  } catch (const ServerError&) {
    _exit(write(ready, "-", 1) == 1 ? 0 : 1);
  }
  self.end();
  if (write(ready, "+", 1) != 1) _exit(1);
  char byte;
  while (read(stop, &byte, 1) < 0) {
  }
  self.begin("end of the server");
  server.detach();
  self.end();
  _exit(0);
}

struct Watched {
  pid_t pid = 0;
  Survivor* self = nullptr;
  const char* role = "";
  bool killed = false;
};

class Seed {
 public:
  Seed(std::uint64_t number, SegmentDamage& damage, Run& run) : random_(number), damage_(damage), run_(run) {}

  // What went wrong, empty for nothing.
  std::string play() {
    damage_.restore();
    std::memset(static_cast<void*>(&run_), 0, sizeof run_);
    if (random_() % 4 == 0) spoil(1 + random_() % 3);  // before anybody came
    if (start_server(0)) {
      for (int i = 0; i < kClients; ++i) start_client(i, 12 + static_cast<int>(random_() % 20));
      spoil_for_a_while();
      kill_one();
      if (random_() % 6 == 0) {
        kill_server();
        (void)start_server(1);
      }
      wait_for_everybody(false);
      start_client(kClients, 8);
      wait_for_everybody(false);
    }
    stop_.close_one(1);
    wait_for_everybody(true);
    const std::uint64_t grown = damage_.backed_bytes();
    if (grown > damage_.backed_in_image() + 2 * kMemoryLimit)
      wrong(fmt::format("the file has grown to {} MiB", grown >> 20));
    return wrong_;
  }
  const std::vector<std::string>& flips() const { return flips_; }
  bool served() const { return served_; }

 private:
  void wrong(const std::string& what) { wrong_ += (wrong_.empty() ? "" : "; ") + what; }

  void spoil(std::uint64_t words) {
    for (; words != 0; --words) flips_.push_back(damage_.spoil(random_));
  }

  template <typename Body>
  void start(Survivor& self, const char* role, Body&& body) {
    watched_.push_back({spawn(body), &self, role});
  }
  void start_client(int index, int milliseconds) {
    const std::uint64_t seed = random_();
    start(run_.clients[index], "client", [&, seed] {
      prepare();
      Random own(seed);
      use_damaged_objects(kName, run_.clients[index], own, milliseconds);
      if (own() % 2 == 0) _exit(0);  // like one that was killed between two calls
      std::exit(0);
    });
  }

  // False: it does not want to serve such a segment.
  bool start_server(int number) {
    Ends ready;
    stop_ = Ends();
    start(run_.servers[number], "server", [&] {
      stop_.close_one(1);
      serve(run_.servers[number], ready.fd[1], stop_.fd[0]);
    });
    ready.close_one(1);
    pollfd one{ready.fd[0], POLLIN, 0};
    while (poll(&one, 1, 20) == 0) check_all();
    char byte = 0;
    const bool serves = read(ready.fd[0], &byte, 1) == 1 && byte == '+';
    served_ = served_ || serves;
    return serves;
  }

  void kill_server() {
    for (Watched& watched : watched_) {
      if (!is_server(watched) || watched.killed) continue;
      watched.killed = kill(watched.pid, SIGKILL) == 0;
      wait_until([&] { return check(watched); });
      std::erase_if(watched_, [&](const Watched& other) { return other.self == watched.self; });
      return;
    }
  }

  void spoil_for_a_while() {
    for (std::uint64_t left = random_() % 8; left != 0; --left) {
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % 6000));
      spoil(1 + random_() % 2);
      check_all();
    }
  }

  void kill_one() {
    for (Watched& watched : watched_) {
      if (is_server(watched) || watched.killed) continue;
      watched.killed = kill(watched.pid, SIGKILL) == 0;
      return;
    }
  }

  // Looks at who has ended, and at who hangs.
  void check_all() {
    for (auto it = watched_.begin(); it != watched_.end();) it = check(*it) ? watched_.erase(it) : it + 1;
  }
  template <typename Done>
  void wait_until(Done&& done) {
    for (const std::uint64_t end = now_ns() + kLifeNs; !done() && now_ns() < end;) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  }
  bool is_server(const Watched& watched) const {
    return watched.self == &run_.servers[0] || watched.self == &run_.servers[1];
  }
  void wait_for_everybody(bool server_too) {
    const auto waits_for = [&](const Watched& watched) { return server_too || !is_server(watched); };
    wait_until([&] {
      check_all();
      return std::none_of(watched_.begin(), watched_.end(), waits_for);
    });
    for (Watched& watched : watched_) {
      if (waits_for(watched)) stuck(watched);
    }
    std::erase_if(watched_, waits_for);
  }

  // True when it has ended.
  bool check(Watched& watched) {
    int status = 0;
    const pid_t ended = waitpid(watched.pid, &status, WNOHANG);
    if (ended < 0) return true;  // it hung, and was waited for
    if (ended == watched.pid) {
      if (WIFSIGNALED(status) && !watched.killed) {
        wrong(fmt::format("the {} died of signal {} in \"{}\"", watched.role, WTERMSIG(status), watched.self->call));
      }
      if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        wrong(fmt::format("the {} ended with {}", watched.role, WEXITSTATUS(status)));
      if (watched.self->wrong[0] != '\0') wrong(fmt::format("the {} threw: {}", watched.role, watched.self->wrong));
      return true;
    }
    const std::uint64_t began = watched.self->began_ns.load();
    if (began != 0 && now_ns() > began + kCallTimeoutNs) stuck(watched);
    return false;
  }
  void stuck(Watched& watched) {
    if (watched.killed) return;
    wrong(fmt::format("the {} hangs in \"{}\"", watched.role, watched.self->call));
    if (std::getenv("COMMONHOLD_DAMAGE_SEED") != nullptr) {
      (void)!std::system(
          fmt::format("gdb -p {} -batch -ex 'thread apply all bt 18' 2>/dev/null | grep -v '^\\[New'", watched.pid)
              .c_str());
    }
    kill(watched.pid, SIGKILL);
    watched.killed = true;
    waitpid(watched.pid, nullptr, 0);
  }

  Random random_;
  SegmentDamage& damage_;
  Run& run_;
  std::vector<Watched> watched_;
  std::vector<std::string> flips_;
  std::string wrong_;
  Ends stop_{nullptr};  // the server serves as long as our end is open
  bool served_ = false;
};

std::uint64_t number_of(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

}  // namespace

TEST_CASE("garbage in the segment crashes and holds up nobody who did not write it") {
  ManagerHome home;
  std::string folder;
  pid_t maker = spawn([&] {
    Server server({.name = kName, .memory_limit = kMemoryLimit});
    server.start();
    make_objects_to_damage(kName);
    server.detach();
  });
  REQUIRE(wait_for(maker) == 0);
  folder = home.folder() + "/" + kName;
  SegmentDamage damage(folder + "/segment");
  Shared<Run> run;

  const bool one = std::getenv("COMMONHOLD_DAMAGE_SEED") != nullptr;
  const std::uint64_t first = number_of("COMMONHOLD_DAMAGE_SEED", std::uint64_t{Catch::rngSeed()} * 100'000);
  const std::uint64_t seeds =
      one ? number_of("COMMONHOLD_DAMAGE_SEEDS", 1)
          : number_of("COMMONHOLD_DAMAGE_SEEDS", std::getenv("COMMONHOLD_SOAK") != nullptr ? 3000 : 300);
  std::uint64_t failures = 0, served = 0, calls = 0, refused = 0;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    Seed played(seed, damage, *run);
    const std::string wrong = played.play();
    served += played.served() ? 1 : 0;
    for (const Survivor& client : run->clients) calls += client.calls, refused += client.refused;
    if (one || !wrong.empty()) {
      std::cout << "seed " << seed << (wrong.empty() ? "" : ": " + wrong) << '\n';
      for (const std::string& flip : played.flips()) std::cout << "    " << flip << '\n';
      std::cout << std::flush;
    }
    if (!wrong.empty()) ++failures;
  }
  std::cout << seeds << " seeds, " << served << " segments served, " << calls << " calls, " << refused
            << " of them refused, " << failures << " failures\n";
  CHECK(failures == 0);
  std::filesystem::remove_all(folder);
}
