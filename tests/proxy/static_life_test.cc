// Shared objects that are used by destructors of static and thread-local objects, and by functions of atexit().
#include <commonhold/commonhold.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>
#include <thread>

#include "support/manager_home.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

// Objects of several kinds, and a use of each.
struct Kinds {
  explicit Kinds(Manager& manager)
      : manager(manager),
        value(manager.value<int>(1)),
        lock(manager.lock()),
        queue(manager.queue<int>()),
        event(manager.event()),
        list(manager.list<int>({1})),
        dict(manager.dict<std::string, int>({{"a", 1}})),
        array(manager.array<int>(4)) {}

  void use_all() {
    value += 1;
    lock.lock();
    lock.unlock();
    queue.put(1);
    if (queue.get() != 1) _exit(20);
    event.set();
    list.append(1);
    if (dict.at("a") != 1) _exit(21);
    dict["b"] = 2;
    array[1] = 2;
    if (manager.dict<int, int>({{1, 2}}).at(1) != 2) _exit(22);
    if (Any(dict).as<Dict<std::string, int>>().at("b") != 2) _exit(23);
    const pid_t child = fork();
    if (child == 0) {
      dict["a"] += 1;
      _exit(dict.at("a") == 2 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) _exit(24);
    done += 1;
  }

  Manager& manager;
  Value<int> value;
  Lock lock;
  Queue<int> queue;
  Event event;
  List<int> list;
  Dict<std::string, int> dict;
  Array<int> array;
  int done = 0;
};

std::function<void()> at_the_end;

struct AtTheEnd {
  ~AtTheEnd() { at_the_end(); }
};

// How a child ended that runs body() and then exits.
template <typename Body>
int exit_of(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    body();
    exit(7);
  }
  return wait_for(child);
}

}  // namespace

TEST_CASE("objects can be used in the destructor of a static object") {
  ManagerHome home;
  Manager manager;
  Kinds kinds(manager);
  CHECK(exit_of([&] {
          static AtTheEnd before_the_first_use;
          at_the_end = [&] { kinds.use_all(), _exit(kinds.done == 2 ? 0 : 1); };
          kinds.use_all();
          kinds.dict["a"] = 1;
        }) == 0);
}

TEST_CASE("objects can be used in a function that atexit() was given") {
  ManagerHome home;
  Manager manager;
  Kinds kinds(manager);
  CHECK(exit_of([&] {
          at_the_end = [&] { kinds.use_all(), _exit(kinds.done == 2 ? 0 : 1); };
          std::atexit([] { at_the_end(); });
          kinds.use_all();
          kinds.dict["a"] = 1;
        }) == 0);
}

TEST_CASE("objects can be used in the destructor of a thread-local object, and the thread's slot is given back") {
  ManagerHome home;
  Manager manager;
  Kinds kinds(manager);
  CHECK(exit_of([&] {
          at_the_end = [&] { kinds.use_all(); };
          for (int i = 0; i < 3; ++i) {
            kinds.dict["a"] = 1;
            std::thread([&] {
              static thread_local AtTheEnd before_the_first_use;
              (void)&before_the_first_use;
              kinds.use_all();
              kinds.dict["a"] = 1;
            }).join();
          }
          _exit(kinds.done == 6 ? 0 : 1);
        }) == 0);
}

TEST_CASE("a thread that works on while the program ends does no harm") {
  ManagerHome home;
  Manager manager;
  auto numbers = manager.list<int>({1});
  CHECK(exit_of([&] {
          for (int t = 0; t < 2; ++t) {
            std::thread([&] {
              for (int i = 0;; ++i) {
                numbers.append(i);
                (void)numbers.pop();
              }
            }).detach();
          }
          numbers.append(2);
        }) == 7);
  numbers.append(3);
  CHECK(numbers.at(0) == 1);
}
