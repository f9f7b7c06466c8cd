#include "shm/object_types.h"

#include "shm/dict.h"

namespace commonhold::shm {

namespace {

constexpr ObjectType kTypes[] = {
    {ObjectKind::kDict, "dict",
     [](ThreadContext& me, std::uint32_t object, const ObjectPlan& plan, Offset& control) {
       return Dict::create(me, object, plan.arguments[0], control);
     },
     Dict::repair, Dict::each_lock},
};

}  // namespace

const ObjectType* object_type(ObjectKind kind) {
  for (const ObjectType& type : kTypes) {
    if (type.kind == kind) return &type;
  }
  return nullptr;
}

}  // namespace commonhold::shm
