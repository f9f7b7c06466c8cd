// The objects of a served segment: the index of names, who waits with a hold, and the order in which things happen.
//
// INVARIANT: everything that lasts is in the object table (shm/object_table.h); the index and the holds are this
// process's memory and are made anew by the next server. Creating, naming, removing, destroying and sweeping happen one
// at a time, under one mutex.
//
// Thread safety: any thread of the server's process.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "manager/refusal.h"
#include "shm/object_table.h"
#include "shm/segment.h"

namespace commonhold::manager {

struct Opened {
  shm::ObjectId id;
  shm::ObjectKind kind = shm::ObjectKind::kNone;
  std::string signature;
  shm::Offset control = 0;
  bool created = false;
};

// What a caller takes an existing object for.
struct Wanted {
  shm::ObjectKind kind = shm::ObjectKind::kNone;  // with an empty signature: any
  std::string_view signature = {};
  const shm::Word* arguments = nullptr;  // kArguments of them
  std::uint32_t compared = 0;            // bit i: its option of that argument must be arguments[i]
};

class Registry {
 public:
  // Reads the index from the table. REQUIRES: this process is the segment's server.
  explicit Registry(std::shared_ptr<shm::Segment> segment);

  // Each of these leaves a hold on the object, for release().
  Result<Opened> create(const shm::ObjectPlan& plan);
  Result<Opened> open(std::string_view name, const Wanted& wanted);
  Result<Opened> open_or_create(const shm::ObjectPlan& plan, std::uint32_t compared = 0);
  Result<Opened> open_by_id(shm::ObjectId id, const Wanted& wanted);

  // Names an anonymous object. With `or_open`, the object that has the name already where there is one.
  Result<Opened> name(shm::ObjectId id, std::string_view name, bool or_open);

  // Ends one hold. What nobody else keeps goes at the next sweep, which is asked for where the last one came too early.
  void release(shm::ObjectId id);

  Result<Done> remove(std::string_view name);

  // Destroys what nobody can reach; returns how many. `unfinished`: a process held it up, it is to be done again.
  int sweep(bool* unfinished = nullptr);

  // Called after a sweep that destroyed something, on the sweeping thread. Set before others use the registry.
  void after_destroying(std::function<void()> call) { after_destroying_ = std::move(call); }

  // Counts the links to each object, as ObjectInfo gives them.
  void count_links();

  // The number of named objects.
  std::size_t names() const;

 private:
  Result<Opened> create_locked(const shm::ObjectPlan& plan);
  Result<Opened> open_locked(shm::ObjectId id, const std::string& called, const Wanted& wanted);
  void hold_locked(shm::ObjectId id);
  int sweep_locked(shm::ThreadContext& me, bool* unfinished = nullptr);
  Refusal taken(const std::string& name, shm::ObjectId by) const;
  Refusal refuse(shm::Status status, const shm::ObjectPlan& plan) const;

  std::shared_ptr<shm::Segment> segment_;
  std::function<void()> after_destroying_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::unordered_map<std::string, shm::ObjectId> names_;
  struct Hold {
    std::uint32_t count = 0;
    std::chrono::steady_clock::time_point since{};  // the last of them
    bool was_swept_over = false;                    // a sweep may have left the object for its sake
  };
  std::unordered_map<std::uint64_t, Hold> holds_;  // by ObjectId::word()
  shm::ObjectIndexHint hint_;
};

}  // namespace commonhold::manager
