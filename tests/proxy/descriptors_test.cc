// Programs that close all descriptors, as daemons do, and open files of their own that get the numbers.
#include <commonhold/commonhold.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <optional>
#include <thread>

#include "support/manager_home.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

void require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

// Closes every descriptor but the standard ones, and opens as many files in their places.
class OwnFiles {
 public:
  OwnFiles() {
    int last = 2;
    DIR* directory = opendir("/proc/self/fd");
    while (dirent* entry = readdir(directory)) last = std::max(last, atoi(entry->d_name));
    closedir(directory);
    for (int fd = 3; fd <= last; ++fd) close(fd);
    while (files_.empty() || files_.back() < last) {
      const int file = memfd_create("own", MFD_CLOEXEC);
      require(file >= 3 && write(file, "0123456789", 10) == 10, "no file");
      files_.push_back(file);
    }
  }

  void require_untouched() const {
    for (int file : files_) {
      char bytes[11] = {};
      struct stat status {};
      require(fstat(file, &status) == 0, "a file of the program was closed");
      require(status.st_size == 10, "a file of the program has another size");
      require(pread(file, bytes, 10, 0) == 10 && std::string(bytes) == "0123456789", "a file has other contents");
      require(lseek(file, 0, SEEK_CUR) == 10, "a file of the program is at another place");
    }
  }

 private:
  std::vector<int> files_;
};

}  // namespace

TEST_CASE("a program that closed all descriptors works on with its objects, and its own files stay untouched") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, std::string>(named("d"));
  auto lock = manager.lock(named("l"));
  dict["x"] = "y";
  const pid_t child = spawn([&] {
    alarm(60);
    dict["joined"] = "";
    auto copy = std::make_unique<Manager>(Manager::connect(manager.folder()));
    auto watch = std::make_unique<Watch>(dict.watch());
    (void)watch->fd();
    auto pipe = std::make_unique<Pipe>();
    const OwnFiles own;
    for (int i = 0; i < 4000; ++i) dict.put(std::to_string(i), std::string(3000, 'x'));
    own.require_untouched();
    std::thread([&] { dict["thread"] = "t"; }).join();
    lock.lock();
    lock.unlock();
    require(manager.list<int>({1, 2}).at(1) == 2, "making an object");
    require(manager.open<Dict<std::string, std::string>>("d").at("thread") == "t", "opening an object");
    require(watch->wait(10s), "watching");
    (void)watch->fd();
    own.require_untouched();
    copy.reset();
    watch.reset();
    pipe.reset();
    dict.clear();
    own.require_untouched();
  });
  CHECK(wait_for(child) == 0);
  CHECK(dict.size() == 0);
}

TEST_CASE("a process that lost its lock file's descriptor is known to live, and its death is seen") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto ready = manager.event(), go = manager.event();
  Process child([&] {
    lock.lock();
    const OwnFiles own;
    auto more = manager.value<int>(1);  // notices the loss
    ready.set();
    go.wait();
    own.require_untouched();
    for (;;) pause();
  });
  child.start();
  REQUIRE(ready.wait(20s));
  CHECK_FALSE(lock.try_lock_for(500ms));
  go.set();
  std::this_thread::sleep_for(10ms);
  child.kill();
  child.join();
  CHECK(lock.try_lock_for(20s));
  lock.unlock();
}

TEST_CASE("a child that was forked by a process that lost its descriptors joins by itself") {
  ManagerHome home;
  Manager manager;
  auto value = manager.value<int>(0);
  const pid_t child = spawn([&] {
    value += 1;
    const OwnFiles own;
    const pid_t grandchild = spawn([&] {
      value += 1;
      require(manager.value<int>(5) == 5, "making an object");
      own.require_untouched();
    });
    require(wait_for(grandchild) == 0, "the grandchild failed");
    own.require_untouched();
  });
  CHECK(wait_for(child) == 0);
  CHECK(value == 2);
}
