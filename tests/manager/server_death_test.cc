// Servers that are killed, and what their successors find.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "manager/adoption.h"
#include "shm/dict.h"
#include "shm/references.h"
#include "support/managers.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using Kind = rpc::schema::ObjectKind;
using test::AnonymousServer;
using namespace std::chrono_literals;

TEST_CASE("a server with few descriptors ends in words, with status 1, or serves") {
  test::ServerGround ground;
  const std::string said = ground.root() + ".said";
  int ended = 0, served = 0;
  for (rlim_t descriptors = 6; served < 2; ++descriptors) {
    REQUIRE(descriptors < 100);
    const pid_t server = test::spawn([&] {
      const int out = open(said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(out, 1);
      dup2(out, 2);
      closefrom(3);
      const rlimit few{descriptors, descriptors};
      setrlimit(RLIMIT_NOFILE, &few);
      const char* command = getenv("COMMONHOLD_COMMAND");
      execl(command, command, "serve", "--foreground", "--name", "few", nullptr);
    });
    const auto words = [&] {
      std::ifstream file(said);
      return std::string(std::istreambuf_iterator<char>(file), {});
    };
    // It ends by itself, or serves as far as it can.
    int status = 0;
    bool gone = false;
    const auto ends = [&] { return gone = gone || waitpid(server, &status, WNOHANG) == server; };
    REQUIRE(test::eventually([&] { return ends() || words().find("ready; ") != std::string::npos; }));
    std::this_thread::sleep_for(50ms);
    if (!ends()) kill(server, SIGTERM);
    if (!test::eventually(ends)) kill(server, SIGKILL);
    INFO(descriptors << " descriptors: " << words());
    REQUIRE(gone);
    REQUIRE(WIFEXITED(status));
    const bool has_ended = words().find("the server ends: ") != std::string::npos;
    if (has_ended) CHECK(WEXITSTATUS(status) == 1);
    ended += has_ended ? 1 : 0;
    served += words().find("ending on signal") != std::string::npos ? 1 : 0;
  }
  CHECK(ended > 0);
  unlink(said.c_str());
  (void)test::run_command({"destroy", "few"});
}

TEST_CASE("a server that is killed is replaced, and clients never stop working") {
  test::ServerGround ground;
  {
    auto address = ground.address("stock");
    int first = test::serve(address);
    auto made = test::make_object(address, Kind::DICT, "d", "dict<int64,int64>");
    auto segment = shm::Segment::open(address.folder);
    shm::Dict dict({segment.get(), made.id.index, made.control});
    struct Board {
      std::atomic<bool> end{false};
      std::atomic<std::int64_t> done[2];
    };
    test::Shared<Board> board;
    pid_t workers[2];
    for (int own : {0, 1}) {
      workers[own] = test::spawn([&, own]() {
        if (shm::add_reference(*segment, made.id) != shm::Status::kOk) throw std::runtime_error("no reference");
        for (std::int64_t i = 0; !board->end; ++i) {
          std::int64_t key = i % 5000 * 2 + own;
          if (dict.put(*segment->here(), test::integer(key), test::integer(i)) != shm::Status::kOk) {
            throw std::runtime_error("put failed");
          }
          board->done[own] = i + 1;
        }
      });
    }
    int before = first;
    for (int round = 0; round < 5; ++round) {
      auto progress = [&]() { return board->done[0] + board->done[1]; };
      std::int64_t seen = progress();
      REQUIRE(test::eventually([&]() { return progress() > seen + 1000; }));
      test::kill_server(address);
      seen = progress();
      REQUIRE(test::eventually([&]() { return progress() > seen + 1000; }));  // without any server
      // A client dies while there is none: its successor finds it.
      pid_t casualty = test::spawn([&]() {
        (void)shm::add_reference(*segment, made.id);
        _exit(0);
      });
      test::wait_for(casualty);
      int next = test::serve(address);
      REQUIRE(next != before);
      before = next;
      auto again = test::make_object(address, Kind::DICT, "d", "dict<int64,int64>");
      REQUIRE(again.id == made.id);
      REQUIRE_FALSE(again.created);
      REQUIRE(segment->header().server_starts == static_cast<std::uint64_t>(round) + 2);
      REQUIRE(test::eventually([&]() { return shm::count_references(*segment, made.id) == 2; }));
    }
    board->end = true;
    for (pid_t worker : workers) REQUIRE(test::wait_for(worker) == 0);
    for (int own : {0, 1}) {
      for (std::int64_t i = std::max<std::int64_t>(0, board->done[own] - 5000); i < board->done[own]; ++i) {
        std::int64_t value = -1, key = i % 5000 * 2 + own;
        REQUIRE(dict.get_fixed(test::integer(key), &value, 8) == shm::Status::kOk);
        REQUIRE(value == i);
      }
    }
    REQUIRE(dict.audit(*segment->here()).error == "");
    segment->leave();
    test::destroy(address);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("what a killed anonymous server left can be served again while clients live") {
  test::ServerGround ground;
  {
    AnonymousServer server;
    auto made = test::make_object(server.address(), Kind::DICT, "d", "dict<text,text>");
    test::kill_server(server.address());
    REQUIRE(std::filesystem::exists(server.folder() + "/segment"));
    rpc::SpawnRequest request;
    request.folder = server.folder();
    AnonymousServer again(AnonymousServer::Start::kCommand, request);
    REQUIRE(again.folder() == server.folder());
    REQUIRE(test::make_object(again.address(), Kind::DICT, "d", "dict<text,text>").id == made.id);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("abandoned anonymous folders are removed, those with a server or a client are not") {
  test::ServerGround ground;
  {
    AnonymousServer served, orphaned, abandoned;
    // Each of them removes such folders itself, once, before it sweeps first.
    for (auto* server : {&served, &orphaned, &abandoned}) {
      const auto segment = shm::Segment::open(server->folder());
      segment->note_garbage();
      REQUIRE(test::eventually(
          [&]() { return segment->header().garbage_swept.load() == segment->header().garbage_noted.load(); }));
    }
    for (auto* server : {&orphaned, &abandoned}) {
      test::kill_server(server->address());
    }
    test::Shared<std::atomic<bool>> joined;
    pid_t client = test::spawn([&]() {
      auto segment = shm::Segment::open(orphaned.folder());
      if (segment->here() == nullptr) throw std::runtime_error("not joined");
      *joined = true;
      pause();
    });
    REQUIRE(test::eventually([&]() { return joined->load(); }));
    // One whose remover was killed; and one that is being made, for all that can be seen.
    const std::string young = ground.root() + "/anonymous-1-0123456789abcdef";
    for (const std::string& folder : {ground.root() + "/.ended-1-anonymous-1-2", young}) {
      std::filesystem::create_directory(folder);
      std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
    }
    REQUIRE(manager::remove_abandoned_folders({}) == 2);
    REQUIRE(std::filesystem::exists(young));
    REQUIRE(manager::remove_abandoned_folders({}, std::chrono::seconds(0)) == 1);
    REQUIRE_FALSE(std::filesystem::exists(abandoned.folder()));
    REQUIRE(std::filesystem::exists(orphaned.folder()));
    REQUIRE(std::filesystem::exists(served.folder()));
    kill(client, SIGKILL);
    test::wait_for(client);
    REQUIRE(manager::remove_abandoned_folders({}) == 1);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("a segment of an older layout is replaced for an anonymous manager and refused for a named one") {
  test::ServerGround ground;
  {
    std::string folder;
    {
      AnonymousServer server;
      folder = server.folder();
      test::kill_server(server.address());
    }
    auto spoil = [](const std::string& path) {
      std::fstream file(path + "/segment", std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(offsetof(shm::SegmentHeader, layout_hash));
      std::uint32_t other = 12345;
      file.write(reinterpret_cast<const char*>(&other), sizeof other);
    };
    spoil(folder);
    rpc::SpawnRequest request;
    request.folder = folder;
    {
      AnonymousServer again(AnonymousServer::Start::kCommand, request);
      REQUIRE(again.line().ready);
      REQUIRE(again.folder() == folder);
    }
    REQUIRE(test::eventually([&]() { return !std::filesystem::exists(folder); }));

    auto address = ground.address("stock");
    test::serve(address);
    test::kill_server(address);
    spoil(address.folder);
    auto refused = test::run_command({"serve", "--name", "stock"});
    REQUIRE(refused.status == 1);
    REQUIRE_THAT(refused.err, Catch::Contains("layout hash") && Catch::Contains("0x3039") && Catch::Contains("remove"));
    REQUIRE(std::filesystem::exists(address.segment_file()));
    REQUIRE(test::run_command({"doctor"}).out.find("of another version") != std::string::npos);

    // Of an earlier boot nobody can be left.
    std::fstream file(address.segment_file(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(offsetof(shm::SegmentHeader, boot_id));
    file.write("01234567-89ab-cdef-0123-456789abcdef", 36);
    file.close();
    test::serve(address);
    test::destroy(address);
  }
  REQUIRE(ground.leftovers() == "");
}

TEST_CASE("servers of one name that start at once leave one server and one segment") {
  test::ServerGround ground;
  {
    for (int round = 0; round < 5; ++round) {
      test::Shared<std::atomic<int>> started;
      std::vector<pid_t> starters;
      for (int i = 0; i < 6; ++i) {
        starters.push_back(test::spawn([&]() {
          if (test::run_command({"serve", "--name", "race"}).status == 0) ++*started;
        }));
      }
      for (pid_t starter : starters) REQUIRE(test::wait_for(starter) == 0);
      REQUIRE(*started == 1);
      test::make_object(ground.address("race"), Kind::DICT, "d", "dict<text,text>");
      test::destroy(ground.address("race"));
    }
  }
  REQUIRE(ground.leftovers() == "");
}
