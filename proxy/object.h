// A shared object as this process uses it, and the process's list of them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/tickets.h>

#include "shm/dict.h"
#include "shm/ids.h"
#include "shm/object_address.h"
#include "shm/object_table.h"
#include "shm/segment.h"
#include "shm/thread_context.h"

namespace commonhold::detail {

struct ManagerState;

struct Object {
  virtual ~Object() = default;

  std::shared_ptr<shm::Segment> segment;
  std::shared_ptr<ManagerState> manager;  // nullptr for what came by a token
  shm::ObjectId id;
  ObjectKind kind = ObjectKind::kNone;
  std::string signature;
  shm::Offset control = 0;

  // Guarded by the fork guard's mutex.
  unsigned referenced_by = 0;  // the process generation that noted the reference, 0 for none
  shm::Offset reference = 0;   // its cell there
  bool gone = false;           // it was destroyed between the fork of this process and its first use
  // Of a queue that redelivers, by thread: the tickets among the items that it has taken and not worked off.
  std::map<int, std::deque<std::vector<NotedTicket>>> tickets_in_flight;

  shm::ObjectAddress address() const { return {segment.get(), id.index, control}; }
};

// What this process keeps for itself beside an object.
template <typename Structure>
struct Aside {};

// An object with its structure, which every call needs.
template <typename Structure>
struct ObjectOf final : Object {
  explicit ObjectOf(const shm::ObjectAddress& where) : structure(where) {}
  Structure structure;
  Aside<Structure> aside;
};

// What popping a dict's last entries again and again remembers.
struct PopOrder {
  std::mutex mutex;
  shm::DictOrderCache cache;  // guarded by the mutex
};
template <>
struct Aside<shm::Dict> {
  // Guarded by the fork guard's mutex. A forked child makes its own: a thread of the parent may have been at work on
  // it.
  std::shared_ptr<PopOrder> order;
  unsigned made_by = 0;
};

// REQUIRES: the object was made for that structure; find_or_add_object sees to it.
template <typename Structure>
Structure& structure_of(Object& object) {
  check(object);
  return static_cast<ObjectOf<Structure>&>(object).structure;
}

[[noreturn]] void throw_no_owner(Object& object);

// The calling thread as an owner in the object's segment.
inline shm::ThreadContext& here(Object& object) {
  shm::ThreadContext* me = object.segment->here();
  if (me == nullptr) [[unlikely]]
    throw_no_owner(object);
  return *me;
}

// The calling thread as an owner in the object's segment, when it is one already and nothing else is to be looked at:
// then a call may take its shortest path, which makes no call itself. nullptr otherwise.
inline shm::ThreadContext* quick_here(Object& object) {
  shm::ThreadContext* me = shm::ThreadContext::current();
  if (attention.load(std::memory_order_relaxed) != 0 || me == nullptr) [[unlikely]]
    return nullptr;
  return me->works_on(object.segment.get()) ? me : nullptr;
}
// REQUIRES: as structure_of().
template <typename Structure>
Structure& quick_structure(Object& object) {
  return static_cast<ObjectOf<Structure>&>(object).structure;
}

// Whether items of the object may link to others. REQUIRES: a container.
inline bool refers_to_others(const Object& object) {
  return shm::object_record(*object.segment, object.id.index).refers.load(std::memory_order_relaxed) != 0;
}
// After a change that may have removed a link: the server looks whether anything became free.
inline void tell_of_removal(const Object& object) {
  if (refers_to_others(object)) [[unlikely]]
    object.segment->note_garbage();
}

// What identifies an object, as a server or a token says it.
struct FoundObject {
  std::shared_ptr<shm::Segment> segment;
  std::shared_ptr<ManagerState> manager;
  shm::ObjectId id;
  ObjectKind kind = ObjectKind::kNone;
  std::string signature;
};

// Whether an object of that type is what was asked for. A request for "custom" takes custom objects of every type.
inline bool matches(const ObjectRequest& request, ObjectKind kind, std::string_view signature) {
  return kind == request.kind &&
         (signature == request.signature || (kind == ObjectKind::kCustom && request.signature == "custom"));
}

// This process's Object of that id, if it has one.
std::shared_ptr<Object> find_object_of_process(const shm::Segment& segment, shm::ObjectId id);

// Throws TypeMismatch when what was found in `from` is not what `request` says.
void check_link_type(Object& from, const FoundObject& found, const ObjectRequest& request);

// This process's Object of that identity, with a reference to it noted in the segment. Throws ObjectGone,
// LimitReached, OutOfMemory.
std::shared_ptr<Object> find_or_add_object(const FoundObject& found);

}  // namespace commonhold::detail
