// Recursive locks, events, conditions and barriers beside what pthreads have for it, shared between processes.
#include <commonhold/manager.h>
#include <pthread.h>

#include <mutex>
#include <stdexcept>

#include "bench/lazy.h"
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

// ---- pthreads, in anonymous shared memory

struct PthreadMutex {
  explicit PthreadMutex(int type = PTHREAD_MUTEX_DEFAULT) {
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_settype(&kind, type);
    pthread_mutex_init(&*mutex, &kind);
    pthread_mutexattr_destroy(&kind);
  }
  void lock() { pthread_mutex_lock(&*mutex); }
  void unlock() { pthread_mutex_unlock(&*mutex); }
  Shared<pthread_mutex_t> mutex;
};
struct PthreadRecursive : PthreadMutex {
  PthreadRecursive() : PthreadMutex(PTHREAD_MUTEX_RECURSIVE) {}
};

struct PthreadCondition : PthreadMutex {
  PthreadCondition() {
    pthread_condattr_t kind;
    pthread_condattr_init(&kind);
    pthread_condattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&*condition, &kind);
    pthread_condattr_destroy(&kind);
  }
  void wait() { pthread_cond_wait(&*condition, &*mutex); }
  void notify() { pthread_cond_signal(&*condition); }
  void notify_all() { pthread_cond_broadcast(&*condition); }
  Shared<pthread_cond_t> condition;
};

// An event as one builds it of these.
struct PthreadEvent : PthreadCondition {
  void set() {
    std::scoped_lock guard(*this);
    *flag = true;
    notify_all();
  }
  void clear() {
    std::scoped_lock guard(*this);
    *flag = false;
  }
  bool is_set() {
    std::scoped_lock guard(*this);
    return *flag;
  }
  void wait_until_set() {
    std::scoped_lock guard(*this);
    while (!*flag) wait();
  }
  Shared<bool> flag;
};

struct PthreadBarrier {
  PthreadBarrier() {
    pthread_barrierattr_t kind;
    pthread_barrierattr_init(&kind);
    pthread_barrierattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&*barrier, &kind, 2);
    pthread_barrierattr_destroy(&kind);
  }
  void wait() { pthread_barrier_wait(&*barrier); }
  Shared<pthread_barrier_t> barrier;
};

// ---- ours

struct OurRLock {
  void lock() { held.lock(); }
  void unlock() { held.unlock(); }
  Manager manager;
  RLock held = manager.rlock();
};

struct OurCondition {
  void lock() { condition.lock(); }
  void unlock() { condition.unlock(); }
  void wait() { condition.wait(); }
  void notify() { condition.notify(); }
  Manager manager;
  Condition condition = manager.condition(manager.lock());
};

struct OurEvent {
  void set() { event.set(); }
  void clear() { event.clear(); }
  bool is_set() { return event.is_set(); }
  void wait_until_set() { event.wait(); }
  Manager manager;
  Event event = manager.event();
};

struct OurBarrier {
  void wait() { barrier.wait(); }
  Manager manager;
  Barrier barrier = manager.barrier(2);
};

// ---- how they are measured

// Millions of steps a second by one process.
template <typename Thing, typename Step>
Contender alone(std::string name, Lazy<Thing> lazy, Step step) {
  return {std::move(name), [lazy, step](const Plan& plan) -> std::vector<double> {
            Thing& thing = *lazy;
            return {million_per_second(1, plan, [&](Worker& worker) {
              worker.repeat([&](std::uint64_t) {
                for (std::uint64_t i = 0; i < Worker::kBatch; ++i) step(thing);
              });
            })};
          }};
}

// Microseconds a round of two processes that wait for each other; step(thing, which of the two).
template <typename Thing, typename Step>
Contender rounds(std::string name, Lazy<Thing> lazy, Step step) {
  return {std::move(name), [lazy, step](const Plan& plan) -> std::vector<double> {
            Thing& thing = *lazy;
            const auto count = static_cast<int>(plan.seconds * 40'000);
            auto work = run_workers(2, plan, [&](Worker& worker) {
              for (int i = 0; i < count / 10; ++i) step(thing, worker.index());
              worker.meet();
              const std::int64_t start = now_ns();
              for (int i = 0; i < count; ++i) step(thing, worker.index());
              worker.record({static_cast<double>(count), seconds_since(start)});
            });
            return {work[0].seconds / work[0].operations * 1e6};
          }};
}

// A ball between two, under one condition.
template <typename Condition>
struct Game {
  Condition condition;
  Shared<int> turn;
  void play(int me) {
    std::scoped_lock guard(condition);
    while (*turn != me) condition.wait();
    *turn = 1 - me;
    condition.notify();
  }
};

template <typename Event>
struct Signals {
  Event there, back;
  void exchange(int me) {
    if (me == 0) there.set();
    Event& other = me == 0 ? back : there;
    other.wait_until_set();
    other.clear();
    if (me == 1) back.set();
  }
};

}  // namespace

void add_sync_rows(Rows& rows) {
  Lazy<OurRLock> rlock;
  Lazy<PthreadRecursive> recursive;
  const auto once = [](auto& lock) {
    lock.lock();
    lock.unlock();
  };
  const auto thrice = [](auto& lock) {
    for (int i = 0; i < 3; ++i) lock.lock();
    for (int i = 0; i < 3; ++i) lock.unlock();
  };
  const auto beside = [](auto ours, auto theirs) { return std::pair(std::move(ours), std::move(theirs)); };
  const auto add = [&](std::string family, std::string name, auto contenders, bool is_time) {
    rows.push_back({.family = std::move(family),
                    .name = std::move(name),
                    .unit = is_time ? "us" : "M/s",
                    .better = is_time ? Better::kLower : Better::kHigher,
                    .ours = std::move(contenders.first),
                    .beside = {std::move(contenders.second)}});
  };
  add("rlock", "lock and unlock, free",
      beside(alone("", rlock, once), alone("pthread recursive mutex, process-shared", recursive, once)), false);
  add("rlock", "three levels deep",
      beside(alone("", rlock, thrice), alone("pthread recursive mutex, process-shared", recursive, thrice)), false);

  Lazy<OurEvent> event;
  Lazy<PthreadEvent> pthread_event;
  const auto look = [](auto& any) {
    if (any.is_set()) throw std::runtime_error("the event is set");
  };
  const auto set_and_clear = [](auto& any) {
    any.set();
    any.clear();
  };
  add("event", "is_set",
      beside(alone("", event, look), alone("pthread mutex, condition and a flag", pthread_event, look)), false);
  add("event", "set and clear, nobody waits",
      beside(alone("", event, set_and_clear),
             alone("pthread mutex, condition and a flag", pthread_event, set_and_clear)),
      false);
  const auto exchange = [](auto& signals, int me) { signals.exchange(me); };
  add("event", "set for each other, 2 processes",
      beside(rounds("", Lazy<Signals<OurEvent>>(), exchange),
             rounds("pthread mutex, condition and a flag", Lazy<Signals<PthreadEvent>>(), exchange)),
      true);

  Lazy<OurCondition> condition;
  Lazy<PthreadCondition> pthread_condition;
  const auto tell_nobody = [](auto& any) {
    std::scoped_lock guard(any);
    any.notify();
  };
  add("condition", "lock, notify nobody, unlock",
      beside(alone("", condition, tell_nobody),
             alone("pthread condition, process-shared", pthread_condition, tell_nobody)),
      false);
  const auto play = [](auto& game, int me) { game.play(me); };
  add("condition", "handed to and fro, 2 processes",
      beside(rounds("", Lazy<Game<OurCondition>>(), play),
             rounds("pthread condition, process-shared", Lazy<Game<PthreadCondition>>(), play)),
      true);

  const auto meet = [](auto& barrier, int) { barrier.wait(); };
  add("barrier", "a round of 2 processes",
      beside(rounds("", Lazy<OurBarrier>(), meet),
             rounds("pthread barrier, process-shared", Lazy<PthreadBarrier>(), meet)),
      true);
}

}  // namespace commonhold::bench
