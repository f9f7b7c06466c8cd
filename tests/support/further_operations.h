// That an object works after all that happened to it, whoever died: "" or what is wrong.
#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <utility>

#include "shm/array.h"
#include "shm/barrier.h"
#include "shm/condition.h"
#include "shm/dict.h"
#include "shm/event.h"
#include "shm/list.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/value.h"
#include "support/shown.h"
#include "support/test_segment.h"

namespace commonhold::test {

// The first of these calls that was not done.
inline std::string all_done(std::initializer_list<std::pair<const char*, shm::Status>> calls) {
  for (const auto& [name, status] : calls) {
    if (status != shm::Status::kOk) return fmt::format("{}: {}", name, word_of(status));
  }
  return {};
}

// A segment without room is not at fault.
inline std::string works(shm::Dict& dict, shm::ThreadContext& me) {
  const shm::Status put = dict.put(me, text("a further key"), text("its value"));
  return put == shm::Status::kOutOfMemory ? std::string()
                                          : all_done({{"put", put}, {"erase", dict.erase(me, text("a further key"))}});
}

inline std::string works(shm::List& list, const shm::Item& item, shm::ThreadContext& me) {
  const shm::Status push = list.push_back(me, item);
  std::string popped;
  return push == shm::Status::kOutOfMemory ? std::string()
                                           : all_done({{"push_back", push}, {"pop_back", list.pop_back(me, popped)}});
}

// Takes what is left; then what is put is what comes.
template <typename Put, typename Get>
std::string queue_works(Put put, Get get, bool ended) {
  std::string item;
  while (get(item) == shm::Status::kOk) {
  }
  const std::string further = "further";
  const shm::Status status = put(further);
  if (ended) return status == shm::Status::kOk ? "put after the end of the queue" : "";
  std::string wrong = all_done({{"put", status}, {"get", get(item)}});
  return wrong.empty() && !item.starts_with(further) ? "get: " + shown(item) : wrong;
}

// Locks of any kind.
template <typename Lock>
std::string works(const Lock& lock, shm::ThreadContext& me) {
  return all_done({{"acquire", lock.acquire(me, shm::Deadline::already())}, {"release", lock.release(me)}});
}
inline std::string works(const shm::RwLock& lock, shm::ThreadContext& me) {
  return all_done({{"acquire", lock.acquire(me, shm::Deadline::already())},
                   {"release", lock.release(me)},
                   {"acquire_shared", lock.acquire_shared(me, shm::Deadline::already())},
                   {"release_shared", lock.release_shared(me)}});
}
// Its permits may all be taken.
inline std::string works(const shm::Semaphore& semaphore, shm::ThreadContext& me) {
  const shm::Word before = semaphore.value();
  std::string wrong = all_done({{"release", semaphore.release(me)}, {"acquire", semaphore.acquire(me)}});
  return wrong.empty() && semaphore.value() != before
             ? fmt::format("{} permits, and {} after a release and an acquire", before, semaphore.value())
             : wrong;
}
inline std::string works(const shm::Condition& condition, shm::ThreadContext& me) {
  return all_done({{"acquire", condition.acquire(me, shm::Deadline::already())},
                   {"notify", condition.notify(me, 1)},
                   {"release", condition.release(me)}});
}
inline std::string works(const shm::Event& event, shm::ThreadContext& me) {
  event.set(me);
  std::string wrong = all_done({{"wait", event.wait(shm::Deadline::already())}});
  event.clear();
  return wrong.empty() && event.is_set() ? "it is set after clear" : wrong;
}
// Of two parties.
inline std::string works(const shm::Barrier& barrier, shm::ThreadContext& me) {
  std::string wrong = all_done({{"reset", barrier.reset(me)}});
  if (wrong.empty() && barrier.broken()) wrong = "it is broken after reset";
  shm::Barrier::Arrival arrival;
  const shm::Status alone = barrier.wait(me, shm::Deadline::already(), false, arrival);
  return wrong.empty() && alone == shm::Status::kOk ? "one party passes alone" : wrong;
}
inline std::string works(const shm::Value& value, std::size_t size, shm::ThreadContext& me) {
  const std::string further(size, 'F');
  std::string loaded(size, '\0');
  std::string wrong = all_done({{"store", value.store(me, further.data())}, {"load", value.load(me, loaded.data())}});
  return wrong.empty() && loaded != further ? "load: " + shown(loaded) : wrong;
}
inline std::string works(const shm::Array& array, std::size_t count, std::size_t size, shm::ThreadContext& me) {
  const std::string further(size, 'F');
  std::string loaded(size * count, '\0');
  std::string wrong = all_done({{"fill", array.fill(me, 0, count, further.data())},
                                {"store", array.store(me, 0, further.data())},
                                {"read", array.read(me, 0, count, loaded.data())}});
  return wrong.empty() && loaded != std::string(size * count, 'F') ? "read: " + shown(loaded) : wrong;
}

}  // namespace commonhold::test
