// A forked child whose children are born into another pid namespace, as a container's.
#include <commonhold/commonhold.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "support/manager_home.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

TEST_CASE("a death in another pid namespace is seen by those outside, and a living holder there is not robbed") {
  ManagerHome home;
  Manager manager;
  auto lock = manager.lock();
  auto semaphore = manager.semaphore(1);
  auto locked = manager.event(), go = manager.event();
  lock.lock();  // this process knows its own namespace before it forks
  lock.unlock();
  const pid_t outer = spawn([&] {
    if (unshare(CLONE_NEWPID) != 0) _exit(77);
    const pid_t inner = spawn([&] {
      lock.lock();
      semaphore.acquire();
      locked.set();
      go.wait();
      kill(getppid(), 0);
      _exit(0);
    });
    int status = 0;
    waitpid(inner, &status, 0);
  });
  if (!locked.wait(5s)) {
    if (wait_for(outer) == 77) {
      WARN("skipped: this process may not make a pid namespace");
      return;
    }
    FAIL("the client in the other namespace did not work");
  }
  CHECK_FALSE(lock.try_lock_for(600ms));
  go.set();
  CHECK(wait_for(outer) == 0);
  CHECK(lock.try_lock_for(20s));
  CHECK(eventually([&] { return semaphore.get_value() == 1; }));
  lock.unlock();
}
