#include "support/rest_checks.h"

#include <fmt/format.h>

#include "shm/any_queue.h"
#include "shm/object_types.h"
#include "shm/rlock.h"
#include "shm/user_lock.h"
#include "support/further_operations.h"

namespace commonhold::test {

namespace {

using shm::LockWord;
using shm::ObjectKind;

bool is_users(const shm::Segment& segment, const shm::ObjectInfo& object, const LockWord& word) {
  const auto at = [&]<typename Control>(LockWord Control::*member) {
    return &(segment.at<Control>(object.control)->*member) == &word;
  };
  switch (object.kind) {
    case ObjectKind::kLock:
    case ObjectKind::kRLock:
    case ObjectKind::kCondition:
    case ObjectKind::kRwLock:
      return true;
    case ObjectKind::kValue:
      return at(&shm::ValueControl::user_lock);
    case ObjectKind::kArray:
      return at(&shm::ArrayControl::user_lock);
    default:
      return false;
  }
}

// Calls visit(object, its lock).
template <typename Visit>
void each_lock(const shm::Segment& segment, Visit&& visit) {
  shm::for_each_object(segment, [&](const shm::ObjectInfo& object) {
    const shm::ObjectType* type = shm::object_type(object.kind);
    if (type == nullptr || type->each_lock == nullptr) return;
    struct Visited {
      Visit* visit;
      const shm::ObjectInfo* object;
    } visited{&visit, &object};
    type->each_lock({const_cast<shm::Segment*>(&segment), object.id.index, object.control}, &visited,
                    [](void* context, LockWord& word) {
                      auto* to = static_cast<Visited*>(context);
                      (*to->visit)(*to->object, word);
                    });
  });
}

std::string described(const shm::ObjectInfo& object) {
  const shm::ObjectType* type = shm::object_type(object.kind);
  return fmt::format("{} {}", type != nullptr ? type->name : "object", object.id.index);
}

// Whether the announcement is of a lock that a user may hold when no call is under way.
bool may_stay(const shm::Segment& segment, shm::Word announced) {
  const shm::Offset at = announced & ~shm::Word{7};
  const auto kind = static_cast<shm::Announced>(announced & 7);
  bool found = false;
  each_lock(segment, [&](const shm::ObjectInfo& object, const LockWord& word) {
    const shm::Offset named = kind == shm::Announced::kShared ? object.control : segment.offset_of(&word);
    found = found || (named == at && kind != shm::Announced::kFutex && kind != shm::Announced::kObject &&
                      is_users(segment, object, word));
  });
  return found;
}

std::string works(const TestSegment& segment, const shm::ObjectInfo& object) {
  const shm::ObjectAddress where{&*segment, object.id.index, object.control};
  shm::ThreadContext& me = segment.me();
  switch (object.kind) {
    case ObjectKind::kDict:
    case ObjectKind::kNamespace:
    case ObjectKind::kSet: {
      shm::Dict dict(where);
      return test::works(dict, me);
    }
    case ObjectKind::kList: {
      shm::List list(where);
      const std::int64_t word = 7;
      return test::works(list, object.arguments[0] == 1 ? text("further") : integer(word), me);
    }
    case ObjectKind::kValue:
      return test::works(shm::Value(where), object.arguments[0], me);
    case ObjectKind::kArray:
      return test::works(shm::Array(where), object.arguments[0], object.arguments[1], me);
    case ObjectKind::kLock: {
      const shm::UserLock lock(where);
      if (lock.locked()) return {};  // a test's own
      const shm::Status status = lock.acquire(me, shm::Deadline::already());
      if (status == shm::Status::kPoisoned) return {};
      return all_done({{"acquire", status}, {"release", lock.release(me)}});
    }
    case ObjectKind::kSemaphore:
      return shm::Semaphore(where).value() >= segment->at<shm::SemaphoreControl>(where.control)->limit
                 ? std::string()
                 : test::works(shm::Semaphore(where), me);
    case ObjectKind::kEvent:
      return test::works(shm::Event(where), me);
    case ObjectKind::kBarrier:
      return object.arguments[0] > 1 ? test::works(shm::Barrier(where), me) : std::string();
    default:
      return {};
  }
}

}  // namespace

std::string locks_left(const shm::Segment& segment) {
  std::string left;
  each_lock(segment, [&](const shm::ObjectInfo& object, const LockWord& word) {
    const std::uint32_t state = word.state.load() & ~shm::kLockWaiters;
    if (state == 0 || is_users(segment, object, word)) return;
    left = fmt::format("a lock of {} is held by {:#x}, and no call is under way", described(object), state);
  });
  return left;
}

std::string marks_left(const shm::Segment& segment, std::uint32_t own) {
  const std::uint32_t threads = segment.threads_used();
  for (std::uint32_t index = 0; index < threads; ++index) {
    const shm::ThreadRecord& record = segment.thread(index);
    const auto session = static_cast<std::uint32_t>(record.claim.load());
    if (session == 0 || session == own + 1 || record.sleeps_at.load() != 0 || record.waits_on.load() != 0) continue;
    if (record.redo.load() != 0) return fmt::format("thread slot {} has a redo record", index);
    if (record.storing.load() != 0) return fmt::format("thread slot {} says that it stores", index);
    if (record.reads_large.load() != 0) return fmt::format("thread slot {} says that it reads", index);
    for (const auto& announced : record.announced) {
      const shm::Word word = announced.load();
      if (word != 0 && !may_stay(segment, word)) return fmt::format("thread slot {} announces {:#x}", index, word);
    }
  }
  return {};
}

std::string what_does_not_work(const TestSegment& segment) {
  std::string wrong;
  shm::for_each_object(*segment, [&](const shm::ObjectInfo& object) {
    if (!wrong.empty()) return;
    wrong = works(segment, object);
    if (!wrong.empty()) wrong = described(object) + ": " + wrong;
  });
  return wrong;
}

}  // namespace commonhold::test
