// What is removed as a dead manager's folder, and what is left alone because nothing proves that it is one.
#include "rpc/folder_removal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>

#include "manager/adoption.h"
#include "shm/lock_file.h"
#include "shm/segment.h"
#include "support/managers.h"
#include "support/process_shared.h"

using namespace commonhold;
using Catch::Contains;

namespace {

std::string make_folder(const std::string& path, unsigned mode = 0700) {
  REQUIRE(mkdir(path.c_str(), 0700) == 0);
  REQUIRE(chmod(path.c_str(), mode) == 0);
  return path;
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

// A dead manager's folder: made by a server that was killed.
void make_dead(const std::string& path) {
  pid_t server = test::spawn([&]() {
    manager::Tenure tenure(rpc::existing_address(path), 1 << 20, [](const std::string&) {});
    kill(getpid(), SIGKILL);
  });
  test::wait_for(server);
  REQUIRE(std::filesystem::exists(path + "/segment"));
}

// Paths, types, contents' sizes and times of everything below the folder.
std::map<std::string, std::string> picture_of(const std::string& root) {
  std::map<std::string, std::string> found;
  for (auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    struct stat status;
    REQUIRE(lstat(entry.path().c_str(), &status) == 0);
    found[entry.path()] = fmt::format("{:o} {} {} {} {}", status.st_mode, status.st_ino, status.st_size,
                                      status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  }
  return found;
}

}  // namespace

TEST_CASE("the doctor cleans no folder of which it is not proven that it is a dead manager's") {
  test::ServerGround ground;
  const std::string& root = ground.root();
  const std::string elsewhere = root + "-elsewhere";
  std::filesystem::remove_all(elsewhere);
  make_folder(elsewhere);
  make_dead(elsewhere + "/linked");
  // Look-alikes; those with a segment have no name for which a next server could come:
  make_folder(root + "/empty");
  write_file(make_folder(root + "/notes") + "/segment", "about the market segment");
  write_file(make_folder(root + "/letters") + "/letter.txt", "dear");
  make_folder(make_folder(root + "/projects") + "/segment");
  make_dead(root + "/anonymous-with-a-note");
  write_file(root + "/anonymous-with-a-note/note.txt", "mine");
  make_dead(root + "/anonymous-with-a-folder");
  make_folder(root + "/anonymous-with-a-folder/socket");
  make_dead(root + "/anonymous-with-a-link");
  REQUIRE(unlink((root + "/anonymous-with-a-link/locks").c_str()) == 0);
  REQUIRE(symlink((elsewhere + "/linked/locks").c_str(), (root + "/anonymous-with-a-link/locks").c_str()) == 0);
  make_dead(root + "/anonymous-open-to-others");
  REQUIRE(chmod((root + "/anonymous-open-to-others").c_str(), 0755) == 0);
  make_dead(root + "/anonymous-hard-linked");
  REQUIRE(link((root + "/anonymous-hard-linked/segment").c_str(), (elsewhere + "/second-name").c_str()) == 0);
  REQUIRE(symlink((elsewhere + "/linked").c_str(), (root + "/symlink").c_str()) == 0);
  make_folder(root + "/anonymous-papers");
  write_file(make_folder(root + "/.ended-novel") + "/segment", "the end");
  write_file(make_folder(root + "/.ended-1-novel") + "/chapter", "the end");
  REQUIRE(mkfifo((make_folder(root + "/pipes") + "/segment").c_str(), 0600) == 0);
  const auto before = picture_of(root), there = picture_of(elsewhere);

  for (const char* option : {"doctor", "--clean"}) {
    std::vector<std::string> words{"doctor"};
    if (std::string(option) == "--clean") words.emplace_back(option);
    auto result = test::run_command(words);
    INFO(result.out << result.err);
    CHECK(result.status == 0);
    CHECK(picture_of(root) == before);
    CHECK(picture_of(elsewhere) == there);
    CHECK_THAT(result.out, Contains("anonymous-with-a-note: no manager's folder, left alone: \"note.txt\""));
  }
  CHECK(test::run_command({"list"}).out.find("notes") == std::string::npos);

  // The same folder without the note is a dead manager's.
  std::filesystem::remove(root + "/anonymous-with-a-note/note.txt");
  CHECK_THAT(test::run_command({"doctor", "--clean"}).out, Contains("removed " + root + "/anonymous-with-a-note"));
  CHECK_FALSE(std::filesystem::exists(root + "/anonymous-with-a-note"));
  std::filesystem::remove_all(elsewhere);
}

TEST_CASE("a folder of another user's is left alone") {
  if (geteuid() != 0) {
    WARN("skipped: only root can give a folder away");
    return;
  }
  test::ServerGround ground;
  make_dead(ground.root() + "/theirs");
  REQUIRE(chown((ground.root() + "/theirs").c_str(), 65534, 65534) == 0);
  CHECK_THAT(rpc::remove_if_dead(ground.address("theirs")).value_or(""), Contains("user 65534"));
  CHECK(std::filesystem::exists(ground.root() + "/theirs/segment"));
}

TEST_CASE("a folder whose segment a process has mapped is not removed, though nobody holds a lock there") {
  test::ServerGround ground;
  make_dead(ground.root() + "/mapped");
  test::Shared<std::atomic<bool>> mapped;
  pid_t reader = test::spawn([&]() {
    auto segment = shm::Segment::open(ground.root() + "/mapped");  // and joins nothing
    *mapped = true;
    pause();
  });
  REQUIRE(test::eventually([&]() { return mapped->load(); }));
  CHECK_THAT(rpc::remove_if_dead(ground.address("mapped")).value_or(""), Contains("has its segment open"));
  CHECK(std::filesystem::exists(ground.root() + "/mapped/segment"));
  kill(reader, SIGKILL);
  test::wait_for(reader);
  CHECK_FALSE(rpc::remove_if_dead(ground.address("mapped")));
  CHECK(ground.leftovers() == "");
}

TEST_CASE("a process that would remove the folder of a segment which it serves keeps its locks") {
  test::ServerGround ground;
  manager::Tenure tenure(rpc::existing_address(ground.root() + "/own"), 1 << 20, [](const std::string&) {});
  CHECK_THAT(rpc::remove_if_dead(ground.address("own")).value_or(""), Contains("has its segment open"));
  // Seen from another process, for a process's own locks do not show.
  pid_t observer = test::spawn([&]() {
    if (!shm::byte_is_locked(tenure.segment()->lock_fd(), shm::kServerByte)) throw std::runtime_error("it is free");
  });
  CHECK(test::wait_for(observer) == 0);
  tenure.close();
}

TEST_CASE("a server and a segment's user refuse what is no file of a manager's in its folder") {
  test::ServerGround ground;
  const std::string folder = ground.root() + "/stock", treasure = ground.root() + "/treasure";
  for (const char* name : {"segment", "locks", "bell", "authkey", "socket"}) {
    for (const char* kind : {"symlink", "fifo", "folder", "file"}) {
      INFO(name << " is a " << kind);
      const std::string file(name), type(kind);
      if (file == "bell" && type == "fifo") continue;
      if (type == "file" && file != "bell") continue;  // segment.h and the next server know what to do with files
      make_dead(folder);
      write_file(treasure, "gold");
      unlink((folder + "/" + file).c_str());
      if (type == "symlink") REQUIRE(symlink(treasure.c_str(), (folder + "/" + file).c_str()) == 0);
      if (type == "fifo") REQUIRE(mkfifo((folder + "/" + file).c_str(), 0600) == 0);
      if (type == "folder") make_folder(folder + "/" + file);
      if (type == "file") write_file(folder + "/" + file, "text");
      auto started = test::run_command({"serve", "--name", "stock"});
      // A stale socket's name is taken over, whatever had it; a folder cannot be.
      const bool takes_over = file == "socket" && type != "folder";
      CHECK(started.status == (takes_over ? 0 : 1));
      if (!takes_over) CHECK_THAT(started.err, Contains(folder + "/" + file));
      if (takes_over) test::kill_server(ground.address("stock"));
      std::ifstream gold(treasure);
      std::string text;
      gold >> text;
      CHECK(text == "gold");
      std::filesystem::remove_all(folder);
    }
  }
}
