// Taking and freeing a lock: free, and with two processes at it.
#include <commonhold/manager.h>
#include <pthread.h>

#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <stdexcept>

#include "bench/lazy.h"
#include "bench/workers.h"
#include "shm/lock_word.h"

namespace commonhold::bench {

namespace {

// commonhold::Lock, as programs use it.
struct OurLock {
  void lock() { held.lock(); }
  void unlock() { held.unlock(); }
  Manager manager;
  Lock held = manager.lock();
};

// A pthread mutex between processes, in anonymous shared memory.
template <bool kRobust>
struct PthreadLock {
  PthreadLock() {
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    if (kRobust) pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&*mutex, &kind);
    pthread_mutexattr_destroy(&kind);
  }
  void lock() {
    if (pthread_mutex_lock(&*mutex) != 0) throw std::runtime_error("pthread_mutex_lock failed");
  }
  void unlock() { pthread_mutex_unlock(&*mutex); }
  Shared<pthread_mutex_t> mutex;
};

struct BoostLock {
  void lock() { mutex->lock(); }
  void unlock() { mutex->unlock(); }
  Shared<boost::interprocess::interprocess_mutex> mutex;
};

// One compare-and-swap and one exchange: what no lock with an owner can do without. Spins for ever.
struct BareLock {
  void lock() {
    std::uint32_t free = 0;
    while (!word->compare_exchange_weak(free, 1, std::memory_order_acquire)) free = 0;
  }
  void unlock() { word->exchange(0, std::memory_order_release); }
  Shared<std::atomic<std::uint32_t>> word;
};

template <typename Mutex>
Contender contender(std::string name, Lazy<Mutex> lazy, int workers) {
  return {std::move(name), [lazy, workers](const Plan& plan) -> std::vector<double> {
            Mutex& mutex = *lazy;
            return {million_per_second(workers, plan, [&](Worker& worker) {
              worker.repeat([&](std::uint64_t) {
                for (std::uint64_t i = 0; i < Worker::kBatch; ++i) {
                  mutex.lock();
                  mutex.unlock();
                }
              });
            })};
          }};
}

}  // namespace

void add_lock_rows(Rows& rows) {
  Lazy<OurLock> ours;
  Lazy<BareLock> bare;
  Lazy<PthreadLock<false>> plain;
  Lazy<PthreadLock<true>> robust;
  Lazy<BoostLock> boost;
  for (int workers : {1, 2}) {
    rows.push_back({.family = "lock",
                    .name = workers == 1 ? "lock and unlock, free" : "lock and unlock, 2 processes",
                    .unit = "M/s",
                    .target = workers == 1 ? 60.0 : 20.0,
                    .ours = contender("", ours, workers),
                    .beside = {contender("a compare-and-swap and an exchange", bare, workers),
                               contender("pthread mutex, process-shared", plain, workers),
                               contender("pthread mutex, process-shared and robust", robust, workers),
                               contender("Boost.Interprocess mutex", boost, workers)}});
  }
}

}  // namespace commonhold::bench
