#include "shm/object_types.h"

#include "shm/any_queue.h"
#include "shm/array.h"
#include "shm/barrier.h"
#include "shm/condition.h"
#include "shm/control_block.h"
#include "shm/dict.h"
#include "shm/event.h"
#include "shm/list.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"
#include "shm/value.h"

namespace commonhold::shm {

namespace {

template <typename Structure>
std::string audit(ThreadContext& me, const ObjectAddress& where) {
  return Structure(where).audit(me).error;
}

// A dict, or what has its structure.
constexpr ObjectType dict_like(ObjectKind kind, const char* name) {
  return {kind,
          name,
          [](ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
            return Dict::create(me, object, plan.arguments[0], control);
          },
          Dict::repair,
          Dict::each_lock,
          audit<Dict>,
          Dict::each_link};
}

constexpr ObjectType kTypes[] = {
    dict_like(ObjectKind::kDict, "dict"),
    dict_like(ObjectKind::kNamespace, "namespace"),
    dict_like(ObjectKind::kSet, "set"),
    {ObjectKind::kList, "list",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
       return List::create(me, object, plan.arguments[0] != 0, control);
     },
     List::repair, List::each_lock, audit<List>, List::each_link},
    {ObjectKind::kValue, "value",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
       return Value::create(me, object, plan.arguments[0], plan.arguments[1], control);
     },
     Value::repair, Value::each_lock, nullptr, nullptr, nullptr, nullptr, Value::user_died},
    {ObjectKind::kArray, "array",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
       return Array::create(me, object, plan.arguments[0], plan.arguments[1], control);
     },
     Array::repair, Array::each_lock, nullptr, nullptr, nullptr, nullptr, Array::user_died},
    // It lives in the server's process; the segment knows that it exists and who refers to it.
    {ObjectKind::kCustom, "custom",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan&, Offset& control) {
       return take_control_block(me, object, kGranule, control);
     },
     [](ThreadContext&, const ObjectAddress&, LockWord&) {},
     [](const ObjectAddress&, void*, void (*)(void*, LockWord&)) {}},
    {ObjectKind::kLock, "lock",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
       const Word handed_over = plan.arguments[1] != 0 ? kHandedOver : 0;
       return UserLock::create(me, object, (plan.arguments[0] != 0 ? kPoisons : 0) | handed_over, control);
     },
     UserLock::repair, UserLock::each_lock},
    {ObjectKind::kQueue, "queue", AnyQueue::create, AnyQueue::repair, AnyQueue::each_lock, audit<AnyQueue>,
     AnyQueue::each_link, AnyQueue::wake, AnyQueue::owner_ended},
    {ObjectKind::kPriorityQueue, "priority_queue", AnyQueue::create, AnyQueue::repair, AnyQueue::each_lock,
     audit<AnyQueue>, AnyQueue::each_link, AnyQueue::wake, AnyQueue::owner_ended},
    {ObjectKind::kRLock, "rlock",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
       return UserLock::create(me, object, plan.arguments[0] != 0 ? kPoisons : 0, control);
     },
     UserLock::repair, UserLock::each_lock},
    {ObjectKind::kCondition, "condition",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
       return Condition::create(me, object, plan.arguments[0], plan.arguments[1], control);
     },
     Condition::repair, Condition::each_lock, nullptr, Condition::each_link},
    {ObjectKind::kEvent, "event",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan&, Offset& control) {
       return Event::create(me, object, control);
     },
     Event::repair, Event::each_lock},
    {ObjectKind::kBarrier, "barrier",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
       return Barrier::create(me, object, plan.arguments[0], plan.arguments[1], control);
     },
     Barrier::repair, Barrier::each_lock, Barrier::audit},
    {ObjectKind::kSemaphore, "semaphore",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
       SemaphoreKind kind = plan.arguments[2] != 0 ? SemaphoreKind::kItems : SemaphoreKind::kPermits;
       return Semaphore::create(me, object, plan.arguments[0], plan.arguments[1] != 0, kind, control);
     },
     Semaphore::repair, Semaphore::each_lock},
    {ObjectKind::kRwLock, "rwlock",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan&, Offset& control) {
       return RwLock::create(me, object, control);
     },
     RwLock::repair, RwLock::each_lock, nullptr, nullptr, nullptr, nullptr, RwLock::user_died},
};

}  // namespace

const ObjectType* object_type(ObjectKind kind) {
  for (const ObjectType& type : kTypes) {
    if (type.kind == kind) return &type;
  }
  return nullptr;
}

}  // namespace commonhold::shm
