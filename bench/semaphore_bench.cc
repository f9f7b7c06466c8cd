// Taking and returning a permit, sharing and writing a readers-writer lock: free, and with two processes at it.
#include <commonhold/manager.h>
#include <pthread.h>
#include <semaphore.h>

#include <stdexcept>

#include "bench/lazy.h"
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

struct OurSemaphore {
  void once() {
    semaphore.acquire();
    semaphore.release();
  }
  Manager manager;
  Semaphore semaphore = manager.semaphore(4);
};

// sem_t between processes, in anonymous shared memory.
struct PosixSemaphore {
  PosixSemaphore() { sem_init(&*semaphore, 1, 4); }
  void once() {
    if (sem_wait(&*semaphore) != 0) throw std::runtime_error("sem_wait failed");
    sem_post(&*semaphore);
  }
  Shared<sem_t> semaphore;
};

enum class Way { kRead, kWrite, kMostlyRead };

struct OurRwLock {
  void once(bool write) {
    if (write) {
      lock.lock();
      lock.unlock();
    } else {
      lock.lock_shared();
      lock.unlock_shared();
    }
  }
  Manager manager;
  RWLock lock = manager.rwlock();
};

struct PthreadRwLock {
  PthreadRwLock() {
    pthread_rwlockattr_t kind;
    pthread_rwlockattr_init(&kind);
    pthread_rwlockattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_rwlock_init(&*lock, &kind);
    pthread_rwlockattr_destroy(&kind);
  }
  void once(bool write) {
    if ((write ? pthread_rwlock_wrlock(&*lock) : pthread_rwlock_rdlock(&*lock)) != 0) {
      throw std::runtime_error("pthread_rwlock failed");
    }
    pthread_rwlock_unlock(&*lock);
  }
  Shared<pthread_rwlock_t> lock;
};

template <typename T>
Contender semaphore_contender(std::string name, Lazy<T> lazy, int workers) {
  return {std::move(name), [lazy, workers](const Plan& plan) -> std::vector<double> {
            T& semaphore = *lazy;
            return {million_per_second(workers, plan, [&](Worker& worker) {
              worker.repeat([&](std::uint64_t) {
                for (std::uint64_t i = 0; i < Worker::kBatch; ++i) semaphore.once();
              });
            })};
          }};
}

template <typename T>
Contender rwlock_contender(std::string name, Lazy<T> lazy, int workers, Way way) {
  return {std::move(name), [lazy, workers, way](const Plan& plan) -> std::vector<double> {
            T& lock = *lazy;
            return {million_per_second(workers, plan, [&](Worker& worker) {
              worker.repeat([&](std::uint64_t) {
                for (std::uint64_t i = 0; i < Worker::kBatch; ++i) {
                  lock.once(way == Way::kWrite || (way == Way::kMostlyRead && i % 64 == 0));
                }
              });
            })};
          }};
}

}  // namespace

void add_semaphore_rows(Rows& rows) {
  Lazy<OurSemaphore> ours;
  Lazy<PosixSemaphore> posix;
  for (int workers : {1, 2}) {
    rows.push_back({.family = "semaphore",
                    .name = workers == 1 ? "acquire and release, free" : "acquire and release, 2 processes, 4 permits",
                    .unit = "M/s",
                    .ours = semaphore_contender("", ours, workers),
                    .beside = {semaphore_contender("sem_t, process-shared", posix, workers)},
                    .least_ratio = workers == 1 ? 1.0 : 0.0});
  }
  Lazy<OurRwLock> our_lock;
  Lazy<PthreadRwLock> pthread;
  struct Case {
    const char* name;
    int workers;
    Way way;
  };
  for (const Case& one :
       {Case{"share and unshare, free", 1, Way::kRead}, Case{"write and unlock, free", 1, Way::kWrite},
        Case{"share and unshare, 2 processes", 2, Way::kRead}, Case{"write and unlock, 2 processes", 2, Way::kWrite},
        Case{"63 shared : 1 written, 2 processes", 2, Way::kMostlyRead}}) {
    rows.push_back({.family = "rwlock",
                    .name = one.name,
                    .unit = "M/s",
                    .ours = rwlock_contender("", our_lock, one.workers, one.way),
                    .beside = {rwlock_contender("pthread_rwlock, process-shared", pthread, one.workers, one.way)}});
  }
}

}  // namespace commonhold::bench
