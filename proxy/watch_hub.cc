#include "proxy/watch_hub.h"

#include <errno.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <thread>

#include <commonhold/errors.h>

#include "proxy/fork_guard.h"
#include "proxy/queue_object.h"
#include "shm/blocked_signals.h"
#include "shm/futex.h"

namespace commonhold::detail {

namespace {

constexpr long kFutexWaitv = 449;  // the same number on every architecture
constexpr std::size_t kMostFutexes = 128;
constexpr std::int64_t kSliceNs = 1'000'000'000;
constexpr std::int64_t kPollNs = 10'000'000;  // where the kernel cannot wait for all of them (before 5.16, or so many)

struct WaitedFutex {  // as the kernel wants it
  std::uint64_t value;
  std::uint64_t address;
  std::uint32_t flags;
  std::uint32_t reserved;
};
constexpr std::uint32_t kFutex32 = 2;

WaitedFutex waited(const std::atomic<std::uint32_t>& futex, std::uint32_t expected) {
  return {expected, reinterpret_cast<std::uintptr_t>(&futex), kFutex32, 0};
}

void sleep_on(const std::vector<WaitedFutex>& futexes, std::int64_t most_ns) {
  const std::size_t count = std::min(futexes.size(), kMostFutexes);
  timespec until{};
  clock_gettime(CLOCK_MONOTONIC, &until);
  const std::int64_t ns = until.tv_nsec + std::min(most_ns, count < futexes.size() ? kPollNs : kSliceNs);
  until.tv_sec += ns / 1'000'000'000;
  until.tv_nsec = ns % 1'000'000'000;
  if (syscall(kFutexWaitv, futexes.data(), count, 0, &until, CLOCK_MONOTONIC) < 0 && errno == ENOSYS) {
    poll(nullptr, 0, kPollNs / 1'000'000);
  }
}

// Where a look could not tell, the next one follows soon.
constexpr std::chrono::milliseconds kUnsettledNap{10};

}  // namespace

namespace {

// A queue that this process closed: nothing will come.
bool is_closed_here(Object& object) {
  const bool is_queue = object.kind == ObjectKind::kQueue || object.kind == ObjectKind::kPriorityQueue;
  return is_queue && aside_of(object).closed.set.load(std::memory_order_seq_cst);
}

}  // namespace

WatchState::~WatchState() {
  if (fd < 0) return;
  shm::close_kept(fd, identity);
  WatchHub::instance().kick();
}

bool WatchState::look(shm::Deadline deadline) {
  if (pending) return true;
  if (is_closed_here(*object)) return pending = true;
  const shm::Status status = watcher->look(here(*object), pending, deadline);
  settled = status != shm::Status::kTimedOut;
  if (settled && status != shm::Status::kOk) pending = true;  // wait() will say why
  return pending;
}

void WatchState::begin() {
  ForkGuard& guard = ForkGuard::instance();
  if (generation.load(std::memory_order_acquire) == guard.generation()) return;
  // SYNC POINT: watch renewed. One thread renews it; the others wait, or see that it is done.
  std::lock_guard hold(guard.mutex);
  if (generation.load(std::memory_order_relaxed) == guard.generation()) return;
  new (&mutex) std::mutex;
  shm::close_kept(fd, identity);  // the parent's too: this process's copy of it
  fd = -1;
  signalled = false;
  generation.store(guard.generation(), std::memory_order_release);
}

int WatchState::descriptor() const {
  return identity.is(fd) ? fd : -1;
}

WatchHub& WatchHub::instance() {
  static WatchHub* hub = nullptr;  // leaked: its thread may outlive static destruction
  static unsigned made_by = 0;
  ForkGuard& guard = ForkGuard::instance();
  std::lock_guard hold(guard.mutex);
  if (made_by != guard.generation()) {
    hub = new WatchHub;
    made_by = guard.generation();
  }
  return *hub;
}

void WatchHub::add(const std::shared_ptr<WatchState>& watch) {
  std::lock_guard guard(mutex_);
  watches_.push_back(watch);
  if (!running_ && !stopped_) {
    const int error = shm::start_quiet_thread([this] { run(); });
    if (error != 0) {
      watches_.pop_back();
      throw SystemError(error,
                        fmt::format("cannot start the thread that serves descriptors: {}", std::strerror(error)));
    }
    running_ = true;
  }
  kick();
}

void WatchHub::kick() {
  kicks_.fetch_add(1, std::memory_order_seq_cst);
  shm::futex_wake_all(kicks_);
}

void WatchHub::stop() {
  std::lock_guard guard(mutex_);
  stopped_ = true;
  kick();
}

void WatchHub::run() {
  prctl(PR_SET_NAME, "watches");
  // The futexes of the last sleep that are also those of waiters, and whose watches they are.
  struct SharedFutex {
    std::weak_ptr<WatchState> watch;
    const std::atomic<std::uint32_t>* futex;
  };
  std::vector<SharedFutex> shared;
  for (;;) {
    std::vector<WaitedFutex> futexes;
    bool settled = true;
    {
      // Given up after the mutex: the last reference to a watch may be among them.
      std::vector<std::shared_ptr<WatchState>> all;
      std::lock_guard guard(mutex_);
      futexes.push_back(waited(kicks_, kicks_.load(std::memory_order_seq_cst)));
      std::erase_if(watches_, [&](const auto& weak) {
        auto watch = weak.lock();
        if (watch == nullptr) return true;
        all.push_back(std::move(watch));
        return false;
      });
      // For those that nobody looks at again. The memory may be gone with the watch, then the kernel finds no sleeper.
      for (const SharedFutex& one : shared) {
        if (stopped_ || one.watch.expired()) shm::Watcher::hand_on(*one.futex);
      }
      shared.clear();
      if (stopped_ || all.empty()) {
        running_ = false;
        return;
      }
      for (auto& watch : all) {
        std::lock_guard hold(watch->mutex);
        shm::ThreadContext* me = watch->object->segment->here();
        if (me != nullptr) watch->watcher->look_for_dead(*me);
        if (me == nullptr) watch->watcher->hand_on();
        if (me == nullptr || !watch->look(shm::Deadline::already())) {
          settled = settled && watch->settled;
          futexes.push_back(waited(watch->watcher->futex(), watch->watcher->expected()));
          if (const auto* futex = watch->watcher->shared_futex()) shared.push_back({watch, futex});
        } else if (!watch->signalled) {
          watch->watcher->hand_on();  // we may have slept on its futex
          const std::uint64_t one = 1;
          watch->signalled = write(watch->descriptor(), &one, sizeof one) == sizeof one;
        }
      }
    }
    if (settled) {
      sleep_on(futexes, kSliceNs);
    } else {
      std::this_thread::sleep_for(kUnsettledNap);
    }
  }
}

}  // namespace commonhold::detail
