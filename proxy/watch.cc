#include <commonhold/watch.h>

#include <errno.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstring>

#include <commonhold/errors.h>

#include "proxy/errors.h"
#include "proxy/fork_guard.h"
#include "proxy/items.h"
#include "proxy/object.h"
#include "proxy/waiting.h"
#include "proxy/watch_hub.h"
#include "shm/futex.h"
#include "shm/ready_watch.h"
#include "shm/sleep_notice.h"

namespace commonhold::detail {

static_assert(static_cast<int>(WatchedSide::kAll) == static_cast<int>(shm::QueueSide::kBoth));
static_assert(static_cast<int>(WatchedSide::kItems) == static_cast<int>(shm::QueueSide::kItems));
static_assert(static_cast<int>(WatchedSide::kRoom) == static_cast<int>(shm::QueueSide::kRoom));

std::shared_ptr<WatchState> watch_object(const ObjectHandle& object, const Item* key, WatchedSide side) {
  check(*object);
  auto watch = std::make_shared<WatchState>();
  watch->object = object.shared();
  watch->generation = ForkGuard::instance().generation();
  shm::ThreadContext& me = here(*object);
  const shm::ObjectAddress where = object.shared()->address();
  shm::Status status = shm::Status::kNotFound;
  switch ((*object).kind) {
    case ObjectKind::kDict:
    case ObjectKind::kSet:
    case ObjectKind::kNamespace:
      watch->watcher =
          key != nullptr ? shm::watch_dict_key(me, where, to_shm(*key), status) : shm::watch_dict(me, where, status);
      break;
    case ObjectKind::kList:
      watch->watcher = shm::watch_list(me, where, status);
      break;
    case ObjectKind::kValue:
      watch->watcher = shm::watch_value(me, where, status);
      break;
    case ObjectKind::kArray:
      watch->watcher = shm::watch_array(me, where, status);
      if (status == shm::Status::kNotAllowed) {
        throw SystemError(EPERM, fmt::format("cannot watch {}: this process may not use the system call membarrier",
                                             description_of(*object)));
      }
      break;
    case ObjectKind::kQueue:
    case ObjectKind::kPriorityQueue:
      watch->watcher = shm::watch_queue(me, where, static_cast<shm::QueueSide>(side), status);
      break;
    case ObjectKind::kEvent:
      watch->watcher = shm::watch_event(where);
      break;
    case ObjectKind::kLock:
    case ObjectKind::kRLock:
      watch->watcher = shm::watch_lock(where);
      break;
    case ObjectKind::kSemaphore:
      watch->watcher = shm::watch_semaphore(where);
      break;
    case ObjectKind::kBarrier:
      watch->watcher = shm::watch_barrier(where);
      break;
    default:
      throw UsageError(fmt::format("{} cannot be watched", description_of(*object)));
  }
  if (watch->watcher == nullptr) throw_status(status, *object, "watch");
  return watch;
}

bool watch_wait(WatchState& watch, std::int64_t wait) {
  Object& object = *watch.object;
  check(object);
  watch.begin();
  shm::ThreadContext& me = here(object);
  const shm::Deadline deadline = deadline_after(wait);
  const auto slice = [] { return shm::Deadline::after(std::chrono::nanoseconds(shm::sleeper_check_ns())); };
  shm::SleepNotice notice(me, watch.watcher->futex());
  bool slept = false;
  for (shm::Deadline look_for_dead = slice();;) {
    std::uint32_t expected = 0;
    bool settled = true;
    {
      std::lock_guard guard(watch.mutex);
      if (look_for_dead.passed()) {
        watch.watcher->look_for_dead(me);
        look_for_dead = slice();
      }
      if (watch.look()) {
        if (slept) watch.watcher->hand_on();
        watch.pending = false;
        if (watch.fd < 0) return true;
        // The descriptor's thread is told: it waits for this watch again.
        std::uint64_t counted = 0;
        if (watch.signalled && read(watch.descriptor(), &counted, sizeof counted) < 0 && errno != EAGAIN) {
          throw SystemError(errno, fmt::format("cannot read a watch's descriptor: {}", std::strerror(errno)));
        }
        watch.signalled = false;
        break;
      }
      expected = watch.watcher->expected();
      settled = watch.settled;
    }
    if (deadline.passed()) return out_of_time(wait, object, "wait for a change of");
    if (!settled) continue;
    (void)shm::futex_wait(watch.watcher->futex(), expected,
                          deadline.left_ns(look_for_dead.left_ns(shm::sleeper_check_ns())));
    slept = true;
  }
  WatchHub::instance().kick();
  return true;
}

int watch_fd(const std::shared_ptr<WatchState>& watch) {
  check(*watch->object);
  watch->begin();
  int fd = -1;
  {
    std::lock_guard guard(watch->mutex);
    if (watch->descriptor() >= 0) return watch->fd;
    const bool is_known = watch->fd >= 0;  // the program closed it
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) throw SystemError(errno, fmt::format("cannot make a descriptor: {}", std::strerror(errno)));
    watch->fd = fd;
    watch->identity = shm::FileIdentity::of(fd);
    watch->signalled = false;
    if (is_known) return WatchHub::instance().kick(), fd;
  }
  WatchHub::instance().add(watch);
  return fd;
}

}  // namespace commonhold::detail
