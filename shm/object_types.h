// The catalogue: every kind of object, and what recovery and the server need of it.
#pragma once

#include <string>

#include "shm/links.h"
#include "shm/object_address.h"
#include "shm/object_table.h"

namespace commonhold::shm {

struct ObjectType {
  ObjectKind kind;
  const char* name;  // as in signatures: "dict"
  // Makes an empty object's control block for the record `object`.
  Status (*create)(ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control);
  // Repairs what `held` guards; its owner is dead.
  void (*repair)(ThreadContext& me, const ObjectAddress& where, LockWord& held);
  // Every lock word of the object, for recovery by search and for `commonhold locks`.
  void (*each_lock)(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word));
  // Checks every invariant and counts every block; empty when sound. nullptr: there is nothing to check.
  // REQUIRES: nobody changes the object meanwhile.
  std::string (*audit)(ThreadContext& me, const ObjectAddress& where) = nullptr;
  // Visits every link (links.h) of the object's items, each part of it under that part's lock. False when a live owner
  // kept a lock beyond the deadline. nullptr: its items link to nothing.
  bool (*each_link)(ThreadContext& me, const ObjectAddress& where, Deadline deadline,
                    const LinkVisitor& visit) = nullptr;
  // Wakes all who wait for what a lock guards: somebody died who held it, or was about to wait or to wake. nullptr:
  // nobody waits but for the locks themselves.
  void (*wake)(const ObjectAddress& where) = nullptr;
  // A thread ended, or died, that had marked that it took items to be delivered again (ThreadRecord::took_items); its
  // locks are repaired by now. Takes no lock. nullptr: nothing to do.
  void (*owner_ended)(const ObjectAddress& where, std::uint32_t owner) = nullptr;
  // A process that referred to the object died. Takes no lock. nullptr: what it did without a lock left nothing untold.
  void (*user_died)(const ObjectAddress& where) = nullptr;
};

// nullptr for a kind that this program does not know.
const ObjectType* object_type(ObjectKind kind);

}  // namespace commonhold::shm
