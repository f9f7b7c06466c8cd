// What an object was made with, and who opens it with something else.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>

#include "support/manager_home.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using Catch::Contains;

namespace {

template <typename Call>
void differs(Call&& call, const std::string& has, const std::string& wanted) {
  const std::string said = refusal<OptionsMismatch>(call);
  CHECK_THAT(said, Contains(has) && Contains(wanted));
}

}  // namespace

TEST_CASE("opening a named object with other options is an error that names both") {
  ManagerHome home;
  Manager manager;
  const auto queue = manager.queue<int>(named("q"), {.maxsize = 5});
  differs([&] { (void)manager.queue<int>(named("q"), {.maxsize = 9, .redeliver = true}); }, "maxsize 5, no redeliver",
          "maxsize 9, redeliver");
  differs([&] { (void)manager.queue<int>(named("q"), QueueOptions{}); }, "maxsize 5", "no maxsize");
  const auto jobs = manager.priority_queue<int>(named("jobs"), {.redeliver = true});
  differs([&] { (void)manager.priority_queue<int>(named("jobs"), {.maxsize = 2, .redeliver = true}); }, "no maxsize",
          "maxsize 2");
  const auto lifo = manager.lifo_queue<int>(named("stack"), {.maxsize = 1});
  differs([&] { (void)manager.lifo_queue<int>(named("stack"), {.maxsize = 2}); }, "maxsize 1", "maxsize 2");
  const auto lock = manager.lock(named("l"));
  differs([&] { (void)manager.lock(named("l"), {.poison = true}); }, "no poison", "with poison");
  differs([&] { (void)manager.lock(named("l"), {.handover = true}); }, "no handover", "with handover");
  const auto rlock = manager.rlock(named("r"), {.poison = true});
  differs([&] { (void)manager.rlock(named("r"), LockOptions{}); }, "with poison", "no poison");
  const auto barrier = manager.barrier(named("b"), 3, {.timeout = 1s});
  differs([&] { (void)manager.barrier(named("b"), 5); }, "parties 3", "parties 5");
  differs([&] { (void)manager.barrier(named("b"), 3, {.timeout = 2s}); }, "timeout 1000000000 ns",
          "timeout 2000000000 ns");
  const auto semaphore = manager.semaphore(named("s"), 3);
  differs([&] { (void)manager.semaphore(named("s"), 7); }, "initial value 3", "initial value 7");
  differs([&] { (void)manager.semaphore(named("s"), 3, {.items = true}); }, "no items", "with items");
  const auto bounded = manager.bounded_semaphore(named("bs"), 3);
  differs([&] { (void)manager.bounded_semaphore(named("bs"), 4); }, "initial value 3", "initial value 4");
  const auto array = manager.array<int>(named("a"), 10);
  differs([&] { (void)manager.array<int>(named("a"), 20); }, "size 10", "size 20");
  differs([&] { (void)manager.array<int>(named("a"), {1, 2}); }, "size 10", "size 2");
  const auto condition = manager.condition(named("c"));
  differs([&] { (void)manager.condition(named("c"), lock); }, "a lock of its own", "the lock ");
}

TEST_CASE("a named object is opened as it is with the same options or without any") {
  ManagerHome home;
  Manager manager;
  const auto queue = manager.queue<int>(named("q"), {.maxsize = 5, .redeliver = true});
  CHECK(manager.queue<int>(named("q")) == queue);
  CHECK(manager.queue<int>(named("q"), {.maxsize = 5, .redeliver = true}) == queue);
  CHECK(manager.open<Queue<int>>("q") == queue);
  CHECK(manager.open_or_create<Queue<int>>("q") == queue);
  const auto lock = manager.lock(named("l"), {.poison = true});
  CHECK(manager.lock(named("l")) == lock);
  const auto barrier = manager.barrier(named("b"), 3, {.timeout = 1s});
  CHECK(manager.barrier(named("b"), 3) == barrier);
  CHECK(manager.barrier(named("b"), 3, {.action = [] {}}) == barrier);
  const auto semaphore = manager.semaphore(named("s"), 3, {.items = true});
  CHECK(manager.semaphore(named("s")) == semaphore);
  CHECK(manager.semaphore(named("s"), 3) == semaphore);
  const auto condition = manager.condition(named("c"), lock);
  CHECK(manager.condition(named("c")) == condition);
  CHECK(manager.condition(named("c"), lock) == condition);
  const auto value = manager.value<int>(named("v"), 1);
  CHECK(manager.value<int>(named("v"), 2).same_as(value));
}

TEST_CASE("an object tells the options that it was made with") {
  ManagerHome home;
  Manager manager;
  CHECK(manager.queue<int>({.maxsize = 5, .redeliver = true}).options().maxsize == 5);
  CHECK(manager.queue<int>({.maxsize = 5, .redeliver = true}).options().redeliver);
  CHECK_FALSE(manager.lifo_queue<int>().options().redeliver);
  CHECK(manager.priority_queue<int>({.redeliver = true}).options().redeliver);
  CHECK(manager.lock({.poison = true}).options().poison);
  CHECK_FALSE(manager.lock().options().poison);
  CHECK(manager.lock({.handover = true}).options().handover);
  CHECK(manager.rlock({.poison = true}).options().poison);
  CHECK(manager.semaphore(4).initial_value() == 4);
  CHECK(manager.semaphore(4, {.items = true}).options().items);
  CHECK(manager.bounded_semaphore(2).initial_value() == 2);
  CHECK(manager.barrier(2, {.timeout = 3ms}).timeout() == 3ms);
  CHECK_FALSE(manager.barrier(2).timeout());
  const auto semaphore = manager.semaphore(3);
  semaphore.acquire();
  CHECK(semaphore.initial_value() == 3);
}

TEST_CASE("a lock that its owner may take again is not made for a handover") {
  ManagerHome home;
  Manager manager;
  CHECK_THAT(refusal<ValueError>([&] { (void)manager.rlock({.handover = true}); }), Contains("RLock"));
  CHECK_THAT(refusal<ValueError>([&] { (void)manager.rlock(named("r"), {.poison = true, .handover = true}); }),
             Contains("handed over"));
  CHECK(manager.objects().empty());
}

TEST_CASE("sizes and counts that no object can have are refused and named") {
  ManagerHome home;
  Manager manager;
  CHECK_THAT(refusal<ValueError>([&] { (void)manager.array<int>(-1); }), Contains("-1 elements"));
  CHECK_THAT(refusal<ValueError>([&] { (void)manager.array<int>(named("a"), -5); }), Contains("-5 elements"));
  CHECK_THAT(refusal<ValueError>([&] { (void)manager.create<Array<int>>("a", -5); }), Contains("-5 elements"));
  CHECK_THAT(refusal<ValueError>([&] { (void)manager.semaphore(-1); }), Contains("-1"));
  CHECK_THAT(refusal<ValueError>([&] { (void)manager.bounded_semaphore(-1); }), Contains("-1"));
  CHECK_THAT(refusal<ValueError>([&] { (void)manager.barrier(0); }), Contains("0 parties"));
  CHECK_THAT(refusal<ValueError>([&] { (void)manager.barrier(named("b"), -3); }), Contains("-3 parties"));
  CHECK(manager.queue<int>(-1).maxsize() == 0);
  CHECK(manager.queue<int>({.maxsize = -1}).maxsize() == 0);
  CHECK(manager.array<int>(0).empty());
}
