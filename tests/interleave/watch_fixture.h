// A process that watches an object beside changes of it.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "interleave/waits.h"
#include "interleave/world_fixture.h"
#include "shm/object_table.h"
#include "shm/references.h"
#include "shm/watch.h"

namespace commonhold::test {

using MakeWatch = std::function<std::unique_ptr<shm::Watcher>(shm::ThreadContext& me, shm::Status& status)>;
using IsThere = std::function<bool(shm::ThreadContext& me)>;

// Waits until is_there(), as a user does: watches, looks, waits for a change, looks again.
inline Call watching_until(MakeWatch watch, IsThere is_there) {
  return [=](shm::ThreadContext& me) {
    shm::Status status = shm::Status::kOk;
    const std::unique_ptr<shm::Watcher> watcher = watch(me, status);
    while (status == shm::Status::kOk && !is_there(me)) {
      status = shm::wait_for_change(me, *watcher, shm::Deadline::never());
    }
    return word_of(status);
  };
}

// The same for a time at most. What it ends with is not compared: it may have passed while the other was stopped.
inline Call watching_for(MakeWatch watch, IsThere is_there, std::chrono::nanoseconds time) {
  return [=](shm::ThreadContext& me) {
    const shm::Deadline deadline = shm::Deadline::after(time);
    shm::Status status = shm::Status::kOk;
    const std::unique_ptr<shm::Watcher> watcher = watch(me, status);
    while (status == shm::Status::kOk && !is_there(me)) status = shm::wait_for_change(me, *watcher, deadline);
    return std::string("watched");
  };
}

// For a time, with the looks at the object between.
inline constexpr std::int64_t kWatchInTime = kShortWaitAtMost + kReaderWaits;
// Whoever begins to watch a dict or a list grants who holds a lock of it ten seconds.
inline constexpr std::int64_t kWatchUnderLockInTime = kWatchInTime + waits(std::chrono::seconds(10));

inline std::vector<Operation> watching(const MakeWatch& watch, const IsThere& is_there, std::int64_t waits_at_most) {
  return {{"watch until it is there", watching_until(watch, is_there)},
          {"watch for a time", watching_for(watch, is_there, kShortWait), waits_at_most}};
}

struct Change {
  Change(std::string name, Call make, IsThere is_made) : make(std::move(name), std::move(make)), is_made(is_made) {}
  Change(Operation make, IsThere is_made) : make(std::move(make)), is_made(std::move(is_made)) {}
  Operation make;
  IsThere is_made;
};

// Of more than `most_changes` a selection.
inline void explore_watch(KillStage& stage, const std::string& what, const MakeWatch& watch,
                          const std::vector<Change>& changes, const Observation& observation, PairTotals& totals,
                          std::int64_t waits_at_most, std::size_t most_changes = kAllPairs) {
  std::mt19937_64 random(Catch::rngSeed() + std::hash<std::string>()(what));
  for (const Change& change :
       drawn_of(changes, selected(std::min(most_changes, changes.size()), changes.size()), random)) {
    explore_beside(stage, what, {change.make},
                   drawn_of(watching(watch, change.is_made, waits_at_most), selected(1, 2), random), observation,
                   totals, places({5, 6}));
  }
}

// As every process does that has a proxy of a value or an array: that is how its death is told to those who watch.
inline void refer_to_object(const TestSegment& segment, const shm::ObjectAddress& object) {
  shm::ObjectInfo info;
  (void)shm::object_info(*segment, object.object, info);
  (void)shm::add_reference(*segment, info.id);
}

}  // namespace commonhold::test
