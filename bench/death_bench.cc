// How long those who wait for a lock wait after its holder was killed.
#include <commonhold/manager.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "bench/ground.h"
#include "bench/lazy.h"
#include "bench/workers.h"
#include "shm/user_lock.h"

namespace commonhold::bench {

namespace {

using namespace std::chrono_literals;

constexpr int kKillsARound = 30;  // 210 in seven rounds

struct Scene {
  std::atomic<bool> held{false}, waiting{false};
  std::atomic<std::int64_t> passed_on_ns{0};
};

template <typename Condition>
void await(Condition&& condition) {
  while (!condition()) std::this_thread::sleep_for(50us);
}

// Milliseconds from the kill of a holder to the moment when the one who waits has the lock.
template <typename Mutex>
double one_kill(Mutex& mutex) {
  Shared<Scene> scene;
  pid_t holder = fork_child([&] {
    auto held = mutex.visit();
    held.lock();
    scene->held = true;
    for (;;) pause();
  });
  pid_t waiter = fork_child([&] {
    auto wanted = mutex.visit();
    await([&] { return scene->held.load(); });
    scene->waiting = true;
    wanted.lock();
    scene->passed_on_ns = now_ns();
    wanted.unlock();
  });
  await([&] { return scene->waiting.load(); });
  std::this_thread::sleep_for(3ms);  // until it sleeps
  std::int64_t killed_ns = now_ns();
  kill(holder, SIGKILL);
  wait_for_child(waiter);
  waitpid(holder, nullptr, 0);
  return static_cast<double>(scene->passed_on_ns - killed_ns) * 1e-6;
}

template <typename Mutex>
Contender contender(std::string name, Lazy<Mutex> mutex) {
  return {std::move(name), [mutex](const Plan&) {
            std::vector<double> figures;
            for (int i = 0; i < kKillsARound; ++i) figures.push_back(one_kill(*mutex));
            return figures;
          }};
}

struct WithServer {
  Lock visit() const { return lock; }
  Manager manager;
  Lock lock = manager.lock();
};

// Nobody looks after the dead but the waiter itself, ten times a second.
struct WithoutServer {
  struct Visit {
    void lock() { expect_ok(held.acquire(stay.me()), "acquire"); }
    void unlock() { expect_ok(held.release(stay.me()), "release"); }
    Stay stay;
    shm::UserLock held;
  };
  Visit visit() const { return {Stay(ground), shm::UserLock(where)}; }
  Ground ground;
  shm::ObjectAddress where = ground.make({shm::ObjectKind::kLock, "", "lock", {}});
};

struct RobustPthread {
  struct Visit {
    void lock() {
      if (pthread_mutex_lock(mutex) == EOWNERDEAD) pthread_mutex_consistent(mutex);
    }
    void unlock() { pthread_mutex_unlock(mutex); }
    pthread_mutex_t* mutex;
  };
  RobustPthread() {
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&*mutex, &kind);
    pthread_mutexattr_destroy(&kind);
  }
  Visit visit() const { return {&*mutex}; }
  Shared<pthread_mutex_t> mutex;
};

}  // namespace

void add_death_rows(Rows& rows) {
  Lazy<WithServer> with_server;
  Lazy<WithoutServer> without_server;
  Lazy<RobustPthread> robust;
  rows.push_back({.family = "death",
                  .name = "killed holder to next owner, worst of 30",
                  .unit = "ms",
                  .better = Better::kLower,
                  .target = 5,
                  .ours = contender("", with_server),
                  .beside = {contender("pthread mutex, process-shared and robust", robust),
                             contender("our structure without a server", without_server)},
                  .reduce = Reduce::kWorst,
                  .in_new_program = true});
}

}  // namespace commonhold::bench
