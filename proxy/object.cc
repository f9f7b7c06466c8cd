#include "proxy/object.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <tuple>
#include <vector>

#include <commonhold/detail/manager_calls.h>
#include <commonhold/errors.h>

#include "proxy/errors.h"
#include "proxy/fork_guard.h"
#include "proxy/queue_object.h"
#include "proxy/watch_hub.h"
#include "shm/array.h"
#include "shm/barrier.h"
#include "shm/condition.h"
#include "shm/dict.h"
#include "shm/event.h"
#include "shm/list.h"
#include "shm/printable.h"
#include "shm/references.h"
#include "shm/rlock.h"
#include "shm/rw_lock.h"
#include "shm/semaphore.h"
#include "shm/user_lock.h"
#include "shm/value.h"

namespace commonhold::detail {

namespace {

using Key = std::tuple<const shm::Segment*, std::uint64_t>;

// Every Object of this process, for forked children and for those who open an object twice. Guarded by the fork guard's
// mutex; leaked like it.
struct LiveObjects {
  struct Entry {
    Object* object;
    std::weak_ptr<Object> owner;
  };
  std::map<Key, Entry> entries;
  std::vector<std::weak_ptr<shm::Segment>> segments;
  unsigned referenced_by = 0;                      // the generation that noted all references
  std::chrono::steady_clock::time_point next_try;  // not before: some could not be noted the last time
  bool any_gone = false;

  static LiveObjects& instance() {
    static auto* objects = new LiveObjects;
    return *objects;
  }
};

Key key_of(const Object& object) {
  return {object.segment.get(), object.id.word()};
}

// Whether this process's session refers to the object: it or the parent from which it inherited its references noted
// it. REQUIRES: the fork guard's mutex is held.
bool is_referred_to(const Object& object) {
  return object.referenced_by != 0 && object.referenced_by >= object.segment->references_since();
}

// kRetry: there is no room. REQUIRES: the fork guard's mutex is held; the calling thread is an owner in the segment.
shm::Status note_reference(Object& object) {
  const shm::Status status = shm::try_add_reference(*object.segment, object.id, &object.reference);
  if (status == shm::Status::kOk) object.referenced_by = ForkGuard::instance().generation();
  return status;
}

void end_object(Object* object) {
  {
    std::lock_guard hold(ForkGuard::instance().mutex);
    auto& entries = LiveObjects::instance().entries;
    auto entry = entries.find(key_of(*object));
    if (entry != entries.end() && entry->second.object == object) entries.erase(entry);
    if (is_referred_to(*object)) {
      shm::drop_reference(*object->segment, object->id, object->reference);
    }
  }
  delete object;  // outside: the last use of a manager ends with it
}

// What has no structure in the segment.
struct InServer {
  explicit InServer(const shm::ObjectAddress&) {}
};

// The public headers number kinds as the segment does.
static_assert(static_cast<int>(ObjectKind::kDict) == static_cast<int>(shm::ObjectKind::kDict));
static_assert(static_cast<int>(ObjectKind::kList) == static_cast<int>(shm::ObjectKind::kList));
static_assert(static_cast<int>(ObjectKind::kValue) == static_cast<int>(shm::ObjectKind::kValue));
static_assert(static_cast<int>(ObjectKind::kArray) == static_cast<int>(shm::ObjectKind::kArray));
static_assert(static_cast<int>(ObjectKind::kLock) == static_cast<int>(shm::ObjectKind::kLock));
static_assert(static_cast<int>(ObjectKind::kRLock) == static_cast<int>(shm::ObjectKind::kRLock));
static_assert(static_cast<int>(ObjectKind::kSemaphore) == static_cast<int>(shm::ObjectKind::kSemaphore));
static_assert(static_cast<int>(ObjectKind::kCondition) == static_cast<int>(shm::ObjectKind::kCondition));
static_assert(static_cast<int>(ObjectKind::kEvent) == static_cast<int>(shm::ObjectKind::kEvent));
static_assert(static_cast<int>(ObjectKind::kBarrier) == static_cast<int>(shm::ObjectKind::kBarrier));
static_assert(static_cast<int>(ObjectKind::kRwLock) == static_cast<int>(shm::ObjectKind::kRwLock));
static_assert(static_cast<int>(ObjectKind::kQueue) == static_cast<int>(shm::ObjectKind::kQueue));
static_assert(static_cast<int>(ObjectKind::kPriorityQueue) == static_cast<int>(shm::ObjectKind::kPriorityQueue));
static_assert(static_cast<int>(ObjectKind::kNamespace) == static_cast<int>(shm::ObjectKind::kNamespace));
static_assert(static_cast<int>(ObjectKind::kSet) == static_cast<int>(shm::ObjectKind::kSet));
static_assert(static_cast<int>(ObjectKind::kCustom) == static_cast<int>(shm::ObjectKind::kCustom));
static_assert(std::size(ObjectRequest{}.arguments) == shm::kArguments);

template <typename Structure>
Object* make(const FoundObject& found, shm::Offset control) {
  return new ObjectOf<Structure>({found.segment.get(), found.id.index, control});
}

Object* make(const FoundObject& found, shm::Offset control) {
  switch (found.kind) {
    case ObjectKind::kDict:
    case ObjectKind::kNamespace:
    case ObjectKind::kSet:
      return make<shm::Dict>(found, control);
    case ObjectKind::kList:
      return make<shm::List>(found, control);
    case ObjectKind::kValue:
      return make<shm::Value>(found, control);
    case ObjectKind::kArray:
      return make<shm::Array>(found, control);
    case ObjectKind::kCustom:
      return make<InServer>(found, control);
    case ObjectKind::kLock:
      return make<shm::UserLock>(found, control);
    case ObjectKind::kRLock:
      return make<shm::RLock>(found, control);
    case ObjectKind::kCondition:
      return make<shm::Condition>(found, control);
    case ObjectKind::kEvent:
      return make<shm::Event>(found, control);
    case ObjectKind::kBarrier:
      return make<shm::Barrier>(found, control);
    case ObjectKind::kSemaphore:
      return make<shm::Semaphore>(found, control);
    case ObjectKind::kRwLock:
      return make<shm::RwLock>(found, control);
    case ObjectKind::kQueue:
    case ObjectKind::kPriorityQueue:
      return make<shm::AnyQueue>(found, control);
    default:
      break;
  }
  throw UsageError(fmt::format("an object of kind {} cannot be used by this program", static_cast<int>(found.kind)));
}

[[noreturn]] void throw_gone(const FoundObject& found) {
  throw ObjectGone(fmt::format("the {} with the id {}.{} in {} was destroyed: nobody referred to it any more",
                               found.signature, found.id.index, found.id.generation, found.segment->folder()));
}

// An id names one object for ever. Where a damaged record has been given to another object, whoever uses the former one
// would take one structure for another.
[[noreturn]] void throw_two_objects(const FoundObject& found) {
  throw CorruptSegment(fmt::format("the {} with the id {}.{} in {} is another object too: the segment is corrupt",
                                   found.signature, found.id.index, found.id.generation, found.segment->folder()));
}

}  // namespace

std::shared_ptr<Object> find_or_add_object(const FoundObject& found) {
  // What may wait for another process is done without the mutex.
  const bool is_owner = found.segment->here() != nullptr;
  std::shared_ptr<Object> known;  // before the lock: its end takes it
  std::unique_lock hold(ForkGuard::instance().mutex);
  LiveObjects& live = LiveObjects::instance();
  // The control block is looked up once more: a reply or token may be as old as it likes.
  shm::ObjectKind kind = shm::ObjectKind::kNone;
  const shm::Offset control = shm::object_control(*found.segment, found.id, &kind);
  auto present = live.entries.find({found.segment.get(), found.id.word()});
  if (present != live.entries.end()) {
    known = present->second.owner.lock();
    if (known != nullptr) {
      if (known->kind == found.kind && known->signature == found.signature && known->control == control) return known;
      throw_two_objects(found);
    }
  }
  if (!is_owner) throw_join_failure(*found.segment);
  if (control == 0) throw_gone(found);
  if (static_cast<ObjectKind>(kind) != found.kind) throw_two_objects(found);
  std::unique_ptr<Object> made(make(found, control));
  made->segment = found.segment;
  made->manager = found.manager;
  made->id = found.id;
  made->kind = found.kind;
  made->signature = found.signature;
  made->control = control;
  shm::Status status = note_reference(*made);
  if (status == shm::Status::kRetry) {
    hold.unlock();
    status = shm::add_reference_page(*found.segment);
    if (status != shm::Status::kOk) throw_status(status, *made, "refer to");
    made.reset();
    return find_or_add_object(found);
  }
  if (status == shm::Status::kGone) throw_gone(found);
  if (status != shm::Status::kOk) throw_status(status, *made, "refer to");

  Object* object = made.get();
  live.entries[key_of(*object)] = {object, {}};
  std::shared_ptr<Object> owner(made.release(), &end_object);
  live.entries[key_of(*object)].owner = owner;
  for (const auto& segment : live.segments) {
    if (segment.lock() == found.segment) return owner;
  }
  std::erase_if(live.segments, [](const auto& segment) { return segment.expired(); });
  live.segments.push_back(found.segment);
  return owner;
}

std::shared_ptr<Object> find_object_of_process(const shm::Segment& segment, shm::ObjectId id) {
  std::shared_ptr<Object> object;
  {
    std::lock_guard hold(ForkGuard::instance().mutex);
    const auto& entries = LiveObjects::instance().entries;
    auto present = entries.find({&segment, id.word()});
    if (present != entries.end()) object = present->second.owner.lock();
  }
  if (object != nullptr) check(*object);
  return object;
}

void check_link_type(Object& from, const FoundObject& found, const ObjectRequest& request) {
  if (request.kind == ObjectKind::kNone || matches(request, found.kind, found.signature)) return;
  throw TypeMismatch(fmt::format("{} refers to a {}, and it was read as a {}", description_of(from), found.signature,
                                 request.signature));
}

namespace {

using Segments = std::vector<std::shared_ptr<shm::Segment>>;

// The segments of this process's objects. REQUIRES: the fork guard's mutex is not held.
Segments segments_in_use() {
  std::lock_guard hold(ForkGuard::instance().mutex);
  Segments all;
  for (const auto& segment : LiveObjects::instance().segments) {
    if (auto used = segment.lock()) all.push_back(std::move(used));
  }
  return all;
}

constexpr std::chrono::milliseconds kTryAgainAfter{100};

// What a forked child inherited and does not refer to yet. Only what was destroyed is gone: where there is no memory, no
// session or no thread slot now, there may be later.
class Inheritance {
 public:
  explicit Inheritance(Object& wanted) : wanted_(wanted) {
    if (wanted.segment->here() != nullptr) owned_.push_back(wanted.segment);
  }

  // Whether `wanted` was destroyed.
  bool is_gone() const { return gone_; }

  // Refers to `wanted`, and to everything else when it is time for it; why not, where it concerns `wanted`.
  shm::Status note() {
    for (bool first = true;; first = false) {
      full_.clear();
      if (first && is_time_for_all()) join_all();
      {
        std::lock_guard hold(ForkGuard::instance().mutex);
        note_what_fits();
      }
      bool more = false;
      for (const auto& segment : full_) more = shm::add_reference_page(*segment) == shm::Status::kOk || more;
      if (!more) return status_ == shm::Status::kRetry ? shm::Status::kOutOfMemory : status_;
    }
  }

 private:
  bool is_time_for_all() {
    std::lock_guard hold(ForkGuard::instance().mutex);
    LiveObjects& live = LiveObjects::instance();
    const auto now = std::chrono::steady_clock::now();
    all_ = live.referenced_by != ForkGuard::instance().generation() && now >= live.next_try;
    live.next_try = now + kTryAgainAfter;
    return all_;
  }
  void join_all() {
    for (auto& segment : segments_in_use()) {
      if (segment != wanted_.segment && segment->here() != nullptr) owned_.push_back(std::move(segment));
    }
  }

  // REQUIRES: the fork guard's mutex is held.
  void note_what_fits() {
    LiveObjects& live = LiveObjects::instance();
    status_ = note(wanted_);
    gone_ = wanted_.gone;
    if (!all_) return;
    bool complete = true;
    for (auto& [key, entry] : live.entries) complete = note(*entry.object) == shm::Status::kOk && complete;
    if (!complete) return;
    live.referenced_by = ForkGuard::instance().generation();
    if (!live.any_gone) attention.store(0, std::memory_order_relaxed);
  }

  shm::Status note(Object& object) {
    if (object.gone || is_referred_to(object)) return shm::Status::kOk;
    const auto owned = std::find(owned_.begin(), owned_.end(), object.segment);
    if (owned == owned_.end()) return object.segment->join_failure();
    const shm::Status status = note_reference(object);
    if (status == shm::Status::kRetry && std::find(full_.begin(), full_.end(), *owned) == full_.end()) {
      full_.push_back(*owned);
    }
    if (status != shm::Status::kGone) return status;
    object.gone = LiveObjects::instance().any_gone = true;
    return shm::Status::kOk;
  }

  Object& wanted_;
  Segments owned_;  // in which this thread is an owner
  Segments full_;   // whose pages are
  bool all_ = false, gone_ = false;
  shm::Status status_ = shm::Status::kOk;
};

}  // namespace

void attend(Object& object) {
  if (ForkGuard::instance().generation() == 1) return;
  Inheritance inherited(object);
  const shm::Status status = inherited.note();
  if (status == shm::Status::kGone) throw_join_failure(*object.segment);
  if (status != shm::Status::kOk) throw_status(status, object, "refer to");
  if (inherited.is_gone()) {
    throw ObjectGone(
        fmt::format("{} was destroyed before this process, a forked child, first used it", description_of(object)));
  }
}

void leave_all_sessions() noexcept {
  WatchHub::instance().stop();
  for (const auto& segment : segments_in_use()) segment->leave_at_end();
}

void throw_no_owner(Object& object) {
  throw_join_failure(*object.segment);
}

std::string name_of(Object& object) {
  shm::ObjectInfo info;
  if (shm::object_info(*object.segment, object.id.index, info) != shm::Status::kOk || info.id != object.id) return {};
  return info.name;
}

std::uint64_t argument_of(Object& object, unsigned index) {
  check(object);
  return shm::object_record(*object.segment, object.id.index).arguments[index].load(std::memory_order_relaxed);
}

std::string signature_of(Object& object) {
  return object.signature;
}

std::string description_of(Object& object) {
  const std::string name = name_of(object), type = shm::printable(object.signature, shm::kMaxSignatureBytes);
  return name.empty() ? fmt::format("anonymous {}", type) : fmt::format("{} \"{}\"", type, shm::printable(name));
}

}  // namespace commonhold::detail
