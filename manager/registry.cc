#include "manager/registry.h"

#include <fmt/format.h>

#include <optional>
#include <vector>

#include "shm/extents.h"
#include "shm/object_options.h"
#include "shm/object_types.h"
#include "shm/printable.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "shm/thread_context.h"

namespace commonhold::manager {

using shm::ObjectId;
using shm::ObjectKind;
using shm::printable;
using shm::Status;

namespace {

// A client's hold lasts from the server's answer until the client refers to the object; longer where it is stopped.
constexpr std::chrono::seconds kHoldEnds{1};

// "dict<text,int64>", or "dict" where there is no signature.
std::string type_text(ObjectKind kind, std::string_view signature) {
  return signature.empty() ? shm::to_string(kind) : shm::printable(signature, shm::kMaxSignatureBytes);
}

std::string id_text(ObjectId id) {
  return fmt::format("{}.{}", id.index, id.generation);
}

std::optional<Refusal> check_name(std::string_view name) {
  if (name.size() > shm::kMaxNameBytes) {
    return Refusal{FailureCode::TOO_LARGE,
                   fmt::format("the object's name \"{}...\" has {} bytes; at most {} are allowed",
                               shm::printable(name.substr(0, 40)), name.size(), shm::kMaxNameBytes)};
  }
  if (name.find('\0') != std::string_view::npos) {
    return Refusal{FailureCode::INVALID, fmt::format("the object's name \"{}\" has a null byte in it at position {}; "
                                                     "choose one without",
                                                     shm::printable(name.substr(0, name.find('\0'))), name.find('\0'))};
  }
  return std::nullopt;
}

std::optional<Refusal> check_plan(const shm::ObjectPlan& plan) {
  if (auto refusal = check_name(plan.name)) return refusal;
  if (plan.signature.size() > shm::kMaxSignatureBytes || plan.signature.find('\0') != std::string::npos) {
    return Refusal{
        FailureCode::TOO_LARGE,
        fmt::format("the signature \"{}...\" has {} bytes; at most {} without null bytes are allowed",
                    shm::printable(plan.signature.substr(0, 60)), plan.signature.size(), shm::kMaxSignatureBytes)};
  }
  if (shm::object_type(plan.kind) == nullptr) {
    return Refusal{FailureCode::UNSUPPORTED,
                   fmt::format("this server knows no objects of kind {} (\"{}\"); start a server "
                               "of the client's version",
                               static_cast<int>(plan.kind), shm::printable(plan.signature))};
  }
  return std::nullopt;
}

Refusal not_found(std::string_view name) {
  return {FailureCode::NOT_FOUND,
          fmt::format("no object is named \"{}\" here; create it first, or look at the names with `commonhold list`",
                      shm::printable(name))};
}

}  // namespace

Registry::Registry(std::shared_ptr<shm::Segment> segment) : segment_(std::move(segment)) {
  hint_.name_is_free = true;  // we look into the index first
  std::vector<ObjectId> ended;
  shm::for_each_object(*segment_, [&](const shm::ObjectInfo& info) {
    if (info.name.empty()) return;
    // What lived in a former server's process ended with it: its name is free for another.
    if (info.kind == ObjectKind::kCustom) return ended.push_back(info.id);
    names_.emplace(info.name, info.id);
  });
  shm::ThreadContext* me = segment_->here();
  for (ObjectId id : ended) {
    if (me != nullptr) (void)shm::unname_object(*me, id);
  }
}

Refusal Registry::refuse(Status status, const shm::ObjectPlan& plan) const {
  std::string what = type_text(plan.kind, plan.signature);
  if (!plan.name.empty()) what += fmt::format(" \"{}\"", shm::printable(plan.name));
  const shm::SegmentHeader& header = segment_->header();
  switch (status) {
    case Status::kOutOfMemory: {
      std::uint64_t used = shm::memory_use(*segment_).used;
      return {FailureCode::OUT_OF_MEMORY,
              fmt::format(
                  "there is no memory for a new {}: {} bytes of the limit of {} are in use; remove objects, give the "
                  "server a higher memory limit, or make room on its file system",
                  what, used, header.max_extents * shm::kExtent)};
    }
    case Status::kTooMany:
      return {FailureCode::TOO_MANY,
              fmt::format("there is no record left for a new {}: {} objects are the most that one "
                          "manager holds; remove some",
                          what, shm::kMaxObjects)};
    case Status::kTooLarge:
    case Status::kOutOfRange:
      return {FailureCode::INVALID,
              fmt::format("a {} cannot be made from the arguments {}, {}, {}, {}", what, plan.arguments[0],
                          plan.arguments[1], plan.arguments[2], plan.arguments[3])};
    case Status::kGone:
      return {FailureCode::SHUTTING_DOWN, fmt::format("the server is shutting down and makes no new {}", what)};
    default:
      return {FailureCode::INTERNAL, fmt::format("making a {} failed: {}", what, shm::to_string(status))};
  }
}

Refusal Registry::taken(const std::string& name, ObjectId by) const {
  shm::ObjectInfo info;
  std::string type =
      shm::object_info(*segment_, by.index, info) == Status::kOk ? type_text(info.kind, info.signature) : "unknown";
  return {FailureCode::EXISTS,
          fmt::format("an object named \"{}\" exists already ({}); open it, remove it first, or choose another name",
                      printable(name), type)};
}

Result<Opened> Registry::create(const shm::ObjectPlan& plan) {
  if (auto refusal = check_plan(plan)) return *refusal;
  std::lock_guard guard(mutex_);
  return create_locked(plan);
}

Result<Opened> Registry::create_locked(const shm::ObjectPlan& plan) {
  if (auto found = names_.find(plan.name); !plan.name.empty() && found != names_.end()) {
    return taken(plan.name, found->second);
  }
  shm::ThreadContext* me = segment_->here();
  if (me == nullptr) return refuse(segment_->join_failure(), plan);
  ObjectId id;
  Status status = shm::create_object(*me, plan, id, &hint_);
  if ((status == Status::kOutOfMemory || status == Status::kTooMany) && sweep_locked(*me) > 0) {
    status = shm::create_object(*me, plan, id, &hint_);
  }
  if (status != Status::kOk) return refuse(status, plan);
  if (!plan.name.empty()) names_.emplace(plan.name, id);
  hold_locked(id);
  return Opened{id, plan.kind, plan.signature, shm::object_control(*segment_, id), true};
}

Result<Opened> Registry::open_locked(ObjectId id, const std::string& called, const Wanted& wanted) {
  const auto [kind, signature, arguments, compared] = wanted;
  shm::ObjectInfo info;
  if (shm::object_info(*segment_, id.index, info) != Status::kOk || info.id != id) {
    return Refusal{FailureCode::GONE,
                   fmt::format("{} was destroyed: nobody referred to it any more; who passes an object on "
                               "must keep it until the other has opened it",
                               called)};
  }
  bool any = kind == ObjectKind::kNone && signature.empty();
  any = any || (kind == ObjectKind::kCustom && info.kind == kind && signature == "custom");  // of whatever type
  if (!any && (info.kind != kind || info.signature != signature)) {
    return Refusal{FailureCode::TYPE_MISMATCH,
                   fmt::format("{} is a {}, and was opened as a {}; open it as what it is, or choose another name",
                               called, type_text(info.kind, info.signature), type_text(kind, signature))};
  }
  std::string has, wants;
  if (compared != 0 && shm::options_differ(info.kind, info.arguments, arguments, compared, has, wants)) {
    return Refusal{
        FailureCode::OTHER_OPTIONS,
        fmt::format("{}, a {}, was made with {}, and was opened with {}; open it without options to take it as "
                    "it is, or choose another name",
                    called, type_text(info.kind, info.signature), has, wants)};
  }
  hold_locked(id);
  return Opened{id, info.kind, info.signature, info.control, false};
}

Result<Opened> Registry::open(std::string_view name, const Wanted& wanted) {
  std::lock_guard guard(mutex_);
  auto found = names_.find(std::string(name));
  if (name.empty() || found == names_.end()) return not_found(name);
  return open_locked(found->second, fmt::format("\"{}\"", shm::printable(name)), wanted);
}

Result<Opened> Registry::open_or_create(const shm::ObjectPlan& plan, std::uint32_t compared) {
  if (plan.name.empty()) {
    return Refusal{FailureCode::INVALID, "opening or creating needs a name; an object without one is made with create"};
  }
  if (auto refusal = check_plan(plan)) return *refusal;
  std::lock_guard guard(mutex_);
  auto found = names_.find(plan.name);
  if (found == names_.end()) return create_locked(plan);
  return open_locked(found->second, fmt::format("\"{}\"", shm::printable(plan.name)),
                     {plan.kind, plan.signature, plan.arguments, compared});
}

Result<Opened> Registry::open_by_id(ObjectId id, const Wanted& wanted) {
  std::lock_guard guard(mutex_);
  return open_locked(id, fmt::format("the object {}", id_text(id)), wanted);
}

Result<Opened> Registry::name(ObjectId id, std::string_view name, bool or_open) {
  if (auto refusal = check_name(name)) return *refusal;
  if (name.empty()) return Refusal{FailureCode::INVALID, "a name has at least one byte"};
  const std::string called = fmt::format("the object {}", id_text(id));
  std::lock_guard guard(mutex_);
  shm::ObjectInfo own;
  if (shm::object_info(*segment_, id.index, own) != Status::kOk || own.id != id) {
    return open_locked(id, called, {});  // says that it is gone
  }
  auto found = names_.find(std::string(name));
  if (found != names_.end()) {
    if (found->second != id && !or_open) return taken(found->first, found->second);
    return open_locked(found->second, fmt::format("\"{}\"", shm::printable(name)),
                       {own.kind, own.signature, own.arguments, ~0u});
  }
  shm::ThreadContext* me = segment_->here();
  if (me == nullptr) {
    return Refusal{FailureCode::SHUTTING_DOWN, fmt::format("the server is shutting down and names no {}", called)};
  }
  const Status status = shm::name_object(*me, id, name);
  if (status == Status::kExists) {
    return Refusal{FailureCode::INVALID,
                   fmt::format("{} cannot be named \"{}\": it has, or had, another name; make another object", called,
                               shm::printable(name))};
  }
  if (status == Status::kOk) names_.emplace(name, id);
  auto opened = open_locked(id, called, {});
  if (auto* object = std::get_if<Opened>(&opened)) object->created = true;
  return opened;
}

void Registry::release(ObjectId id) {
  std::lock_guard guard(mutex_);
  auto found = holds_.find(id.word());
  if (found == holds_.end() || --found->second.count != 0) return;
  const bool was_swept_over = found->second.was_swept_over;
  holds_.erase(found);
  if (was_swept_over) segment_->note_garbage();
}

Result<Done> Registry::remove(std::string_view name) {
  std::lock_guard guard(mutex_);
  auto found = names_.find(std::string(name));
  if (name.empty() || found == names_.end()) return not_found(name);
  shm::ThreadContext* me = segment_->here();
  if (me == nullptr) {
    return Refusal{FailureCode::SHUTTING_DOWN,
                   fmt::format("the server is shutting down; \"{}\" goes with it", shm::printable(name))};
  }
  Status status = shm::unname_object(*me, found->second);
  names_.erase(found);
  if (status != Status::kOk) return not_found(name);
  return Done{};
}

void Registry::hold_locked(ObjectId id) {
  Hold& hold = holds_[id.word()];
  ++hold.count;
  hold.since = std::chrono::steady_clock::now();
}

int Registry::sweep_locked(shm::ThreadContext& me, bool* unfinished) {
  std::vector<ObjectId> recent, others;
  const auto now = std::chrono::steady_clock::now();
  for (auto& [word, hold] : holds_) {
    hold.was_swept_over = true;
    (now - hold.since < kHoldEnds ? recent : others).push_back(ObjectId::from_word(word));
  }
  return shm::sweep_unreferred_objects(me, {recent, others}, unfinished);
}

int Registry::sweep(bool* unfinished) {
  int destroyed = 0;
  {
    std::lock_guard guard(mutex_);
    shm::ThreadContext* me = segment_->here();
    if (me != nullptr) destroyed = sweep_locked(*me, unfinished);
  }
  if (destroyed != 0 && after_destroying_) after_destroying_();
  return destroyed;
}

void Registry::count_links() {
  std::lock_guard guard(mutex_);
  shm::ThreadContext* me = segment_->here();
  if (me != nullptr) shm::count_links(*me);
}

std::size_t Registry::names() const {
  std::lock_guard guard(mutex_);
  return names_.size();
}

}  // namespace commonhold::manager
