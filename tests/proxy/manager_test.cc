// Starting, finding, ending and restarting servers; names; what is left behind.
#include <commonhold/commonhold.h>
#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;
using Counts = Dict<std::string, std::int64_t>;

namespace {

// The pid of the process that listens at a manager's folder: the one server whose command line or open files name it.
int server_of(const Manager& manager) {
  for (const auto& process : std::filesystem::directory_iterator("/proc")) {
    const std::string pid = process.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos || std::stoi(pid) == getpid()) continue;
    std::ifstream locks("/proc/" + pid + "/comm");
    std::string name;
    std::getline(locks, name);
    if (name != "commonhold") continue;
    std::error_code ignored;
    for (const auto& file : std::filesystem::directory_iterator(process.path() / "fd", ignored)) {
      if (std::filesystem::read_symlink(file.path(), ignored) == manager.folder() + "/locks") return std::stoi(pid);
    }
  }
  return 0;
}

void kill_server(const Manager& manager) {
  const int pid = server_of(manager);
  REQUIRE(pid > 0);
  REQUIRE(kill(pid, SIGKILL) == 0);
  REQUIRE(eventually([&] { return server_of(manager) == 0; }));
}

template <typename Call>
NameError::Reason reason_of(Call&& call) {
  try {
    call();
  } catch (const NameError& error) {
    return error.reason();
  }
  throw std::runtime_error("no NameError");
}

}  // namespace

TEST_CASE("an anonymous manager ends with its last user and leaves no file") {
  ManagerHome home;
  {
    Manager manager;
    CHECK(std::filesystem::exists(manager.folder()));
    CHECK_THAT(manager.name(), Catch::StartsWith("anonymous-"));
    CHECK(server_of(manager) > 0);
  }
  CHECK(eventually([&] { return home.is_empty(); }));
}

TEST_CASE("an object keeps its anonymous manager alive") {
  ManagerHome home;
  auto counts = Manager().dict<std::string, std::int64_t>({{"a", 1}});
  std::this_thread::sleep_for(50ms);
  counts["a"] += 1;
  CHECK(counts.at("a") == 2);
  auto copy = counts;
  CHECK(!home.is_empty());
}

TEST_CASE("a forked child keeps an anonymous manager alive") {
  ManagerHome home;
  auto manager = std::make_unique<Manager>();
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  Process child([&] {
    char byte;
    if (read(ends[0], &byte, 1) != 1) _exit(1);
    auto counts = manager->dict<std::string, std::int64_t>({{"a", 1}});
    counts["a"] += 1;
    _exit(counts.at("a") == 2 ? 0 : 2);
  });
  child.start();
  // The child has no session yet; its copy of the lifeline counts.
  manager.reset();
  std::this_thread::sleep_for(50ms);
  CHECK(!home.is_empty());
  REQUIRE(write(ends[1], "x", 1) == 1);
  child.join();
  CHECK(child.exitcode().value_or(-1000) == 0);
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("several managers are independent") {
  ManagerHome home;
  Manager a, b;
  CHECK(!(a == b));
  CHECK(a.name() != b.name());
  auto in_a = a.dict<std::string, int>(named("x"));
  auto in_b = b.dict<std::string, int>(named("x"));
  in_a["k"] = 1;
  CHECK(in_b.empty());
}

TEST_CASE("a named manager is found by name and by folder, and stays") {
  ManagerHome home;
  {
    auto manager = Manager::start({.name = "stock", .memory_limit = 64 << 20});
    manager.dict<std::string, std::int64_t>(named("counts"))["a"] = 5;
  }
  auto manager = Manager::connect("stock");
  CHECK(manager.name() == "stock");
  CHECK(manager.open<Counts>("counts").at("a") == 5);
  CHECK(Manager::connect(manager.folder()).open<Counts>("counts").at("a") == 5);
  CHECK(reason_of([] { Manager::start({.name = "stock"}); }) == NameError::Reason::kTaken);
  manager.shutdown();
  CHECK(eventually([&] { return home.is_empty(); }));
  CHECK_THROWS_AS((manager.dict<int, int>()), UsageError);
  CHECK_THROWS_AS(Manager::connect("stock"), ServerGone);
}

TEST_CASE("a manager is shut down once, and a second time is no error") {
  ManagerHome home;
  Manager manager = Manager::start({.name = "twice"});
  manager.shutdown();
  CHECK_NOTHROW(manager.shutdown());
}

TEST_CASE("a name with a null byte is refused, and nothing is made under its beginning") {
  ManagerHome home;
  const std::string name("cut\0off", 7);
  CHECK_THROWS_AS(Manager::start({.name = name}), NameError);
  CHECK_THROWS_AS(Manager::connect("cut"), ServerGone);
  Manager manager;
  CHECK_THROWS_AS((manager.create<Dict<int, int>>(name)), NameError);
  CHECK(manager.objects().empty());
  CHECK_THROWS_AS(manager.remove(name), NameError);
}

TEST_CASE("an authkey keeps those out who do not know it") {
  ManagerHome home;
  auto manager = Manager::start({.name = "vault", .authkey = "open sesame"});
  auto counts = manager.dict<std::string, std::int64_t>(named("counts"));
  CHECK(Manager::connect("vault", {.authkey = "open sesame"}).open<Counts>("counts").empty());
  CHECK_THROWS_AS(Manager::connect("vault", ConnectOptions{"guess"}), AuthenticationError);
  CHECK_THROWS_AS(Manager::connect("vault"), AuthenticationError);
  {
    Environment key("COMMONHOLD_AUTHKEY", "open sesame");
    CHECK(Manager::connect("vault").open<Counts>("counts").empty());
  }
  CHECK_THROWS_AS((Manager::start({.authkey = ""})), ValueError);
  manager.shutdown();
  Manager anonymous = Manager::start({.authkey = "another"});
  CHECK(anonymous.list<int>({1}).size() == 1);
}

TEST_CASE("objects are created, opened, listed and removed by name") {
  ManagerHome home;
  Manager manager;
  auto created = manager.create<Counts>("counts");
  created["a"] = 1;
  CHECK(reason_of([&] { manager.create<Counts>("counts"); }) == NameError::Reason::kTaken);
  CHECK(reason_of([&] { manager.open<Counts>("others"); }) == NameError::Reason::kUnknown);
  CHECK(reason_of([&] { manager.create<Counts>(std::string(200, 'x')); }) == NameError::Reason::kInvalid);
  CHECK(manager.open<Counts>("counts").at("a") == 1);
  CHECK(manager.open_or_create<Counts>("counts").at("a") == 1);
  CHECK(manager.create<Array<double>>("grid", 10).size() == 10);
  CHECK(manager.create<Value<int>>("v", 7) == 7);
  CHECK(manager.open_or_create<Value<int>>("v", 8) == 7);
  struct Big {
    std::int64_t words[4];
  };
  CHECK(manager.value<Big>(named("big"), Big{{1, 2, 3, 4}}).load().words[3] == 4);
  CHECK(manager.open_or_create<Value<Big>>("big", Big{}).load().words[3] == 4);
  CHECK(!manager.create<Lock>("lock").locked());
  CHECK(manager.list<int>(named("list")).empty());
  auto anonymous = manager.dict<int, int>();

  auto objects = manager.objects();
  CHECK(objects.size() == 7);
  const auto counts = std::find_if(objects.begin(), objects.end(), [](auto& info) { return info.name == "counts"; });
  REQUIRE(counts != objects.end());
  CHECK(counts->type == "dict<text,int64>");
  CHECK(counts->bytes > 0);
  CHECK(counts->processes == 1);

  manager.remove("counts");
  CHECK(created.at("a") == 1);
  CHECK(created.name().empty());
  CHECK(reason_of([&] { manager.remove("counts"); }) == NameError::Reason::kUnknown);
  CHECK(manager.open_or_create<Counts>("counts").empty());
}

TEST_CASE("an object opened as another type is a mismatch that names both") {
  ManagerHome home;
  Manager manager;
  manager.create<Counts>("counts");
  CHECK_THROWS_AS((manager.open<Dict<std::string, int>>("counts")), TypeMismatch);
  CHECK_THROWS_WITH((manager.open<Dict<std::string, int>>("counts")),
                    Contains("dict<text,int64>") && Contains("dict<text,int32>") && Contains("counts"));
  CHECK_THROWS_WITH(manager.list<int>(named("counts")), Contains("list<int32>") && Contains("dict<text,int64>"));
}

TEST_CASE("an anonymous object goes with its last proxy") {
  ManagerHome home;
  Manager manager;
  auto counts = std::make_unique<Counts>(manager.dict<std::string, std::int64_t>());
  auto copy = std::make_unique<Counts>(*counts);
  counts.reset();
  std::this_thread::sleep_for(20ms);
  CHECK(manager.objects().size() == 1);
  copy.reset();
  CHECK(eventually([&] { return manager.objects().empty(); }));
}

TEST_CASE("objects of a process that was killed go") {
  ManagerHome home;
  Manager manager;
  Process child([&] {
    auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}});
    for (;;) pause();
  });
  child.start();
  CHECK(eventually([&] { return manager.objects().size() == 1; }));
  child.kill();
  child.join();
  CHECK(eventually([&] { return manager.objects().empty(); }));
}

TEST_CASE("a memory limit is an error that changes nothing") {
  ManagerHome home;
  auto manager = Manager::start({.memory_limit = 8 << 20});
  auto texts = manager.dict<int, std::string>();
  int stored = 0;
  const auto fill = [&] {
    for (; stored < 100; ++stored) texts.put(stored, std::string(1 << 20, 'x'));
  };
  CHECK_THROWS_AS(fill(), OutOfMemory);
  CHECK(stored > 2);
  CHECK(texts.size() == static_cast<std::size_t>(stored));
  CHECK(texts.at(stored - 1).size() == 1 << 20);
  for (int i = 0; i < stored; ++i) texts.erase(i);
  texts.put(1, std::string(1 << 20, 'y'));
  CHECK(texts.at(1).back() == 'y');
}

TEST_CASE("the data path goes on while the server is dead, and the rest once there is one again") {
  ManagerHome home;
  auto manager = Manager::start({.name = "stock"});
  auto counts = manager.dict<std::string, std::int64_t>(named("counts"));
  auto lock = manager.lock();
  counts["a"] = 1;
  kill_server(manager);
  counts["a"] += 1;
  { std::scoped_lock guard(lock); }
  Process child([&] {
    std::scoped_lock guard(lock);
    counts["a"] += 1;
  });
  child.start();
  child.join();
  CHECK(counts.at("a") == 3);
  const auto start = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(manager.list<int>(), ServerGone);
  CHECK(std::chrono::steady_clock::now() - start < 20s);
  auto again = Manager::start({.name = "stock"});
  CHECK(again.open<Counts>("counts").at("a") == 3);
  CHECK(manager.list<int>({1, 2}).size() == 2);
  CHECK(manager.open<Counts>("counts").same_as(counts));
  again.shutdown();
}

TEST_CASE("a killed anonymous server is started again by whoever needs it") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}});
  for (int round = 0; round < 3; ++round) {
    kill_server(manager);
    std::vector<std::thread> threads;
    std::atomic<int> made{0};  // the test framework's checks are for one thread
    for (int t = 0; t < 3; ++t) threads.emplace_back([&] { made += manager.list<int>({1}).size() == 1; });
    for (auto& thread : threads) thread.join();
    CHECK(made == 3);
    counts["a"] += 1;
  }
  CHECK(counts.at("a") == 4);
}

TEST_CASE("a manager that was replaced under its name says so") {
  ManagerHome home;
  auto manager = Manager::start({.name = "stock"});
  auto counts = manager.dict<std::string, std::int64_t>({{"a", 1}});
  Manager::connect("stock").shutdown();
  CHECK(eventually([&] { return home.is_empty(); }));
  auto another = Manager::start({.name = "stock"});
  CHECK_THROWS_AS(manager.list<int>(), ServerGone);
  CHECK(counts.at("a") == 1);
  CHECK(another.list<int>().empty());
  another.shutdown();
}

TEST_CASE("threads may start and use managers side by side") {
  ManagerHome home;
  std::vector<std::thread> threads;
  std::atomic<int> whole{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 3; ++round) {
        Manager manager;
        auto counts = manager.dict<int, int>();
        for (int i = 0; i < 20; ++i) {
          counts[i] += 1;
          manager.list<int>({i});
        }
        whole += counts.size() == 20;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(whole == 12);
}

TEST_CASE("a program that waits for any child is not held up by a server") {
  ManagerHome home;
  Manager manager;
  auto counts = manager.dict<int, int>();
  if (fork() == 0) {
    counts[1] += 1;
    _exit(0);
  }
  int children = 0;
  while (wait(nullptr) > 0) ++children;
  CHECK(children == 1);
  CHECK(counts.at(1) == 1);
}

TEST_CASE("a server holds none of the program's files open and none of its signals blocked") {
  ManagerHome home;
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  Manager manager;
  close(ends[1]);
  char byte;
  CHECK(read(ends[0], &byte, 1) == 0);  // end of file: nobody else has the other end
  close(ends[0]);
  struct sigaction action {};
  sigaction(SIGPIPE, nullptr, &action);
  manager.list<int>();
  struct sigaction after {};
  sigaction(SIGPIPE, nullptr, &after);
  CHECK(action.sa_handler == after.sa_handler);
}

TEST_CASE("a program that was never installed, and finds no command, is its own server") {
  ManagerHome home;
  const char* program = std::getenv("COMMONHOLD_SECOND_PROGRAM");
  REQUIRE(program != nullptr);
  // The library alone in a folder; the program finds it there.
  Dl_info library{};
  REQUIRE(dladdr(reinterpret_cast<const void*>(&commonhold::version), &library) != 0);
  const std::filesystem::path alone = "/tmp/commonhold-alone-" + std::to_string(getpid());
  std::filesystem::create_directory(alone);
  const std::filesystem::path file = library.dli_fname;
  std::filesystem::copy_file(std::filesystem::canonical(file), alone / file.filename());
  {
    Environment path("LD_LIBRARY_PATH", alone.string());
    Environment command("COMMONHOLD_SERVER", std::nullopt);
    CHECK(std::system(program) == 0);
  }
  std::filesystem::remove_all(alone);
}

TEST_CASE("a server that cannot be executed is named") {
  ManagerHome home;
  Environment server("COMMONHOLD_SERVER", "/no/such/program");
  CHECK_THROWS_WITH(Manager{}, Contains("/no/such/program") && Contains("COMMONHOLD_SERVER"));
}

TEST_CASE("a server that ends before it is ready is an error, not a wait") {
  ManagerHome home;
  Environment server("COMMONHOLD_SERVER", "/bin/true");
  CHECK_THROWS_AS(Manager{}, ServerGone);
}
