#include "proxy/errors.h"

#include <errno.h>
#include <fmt/format.h>

#include <commonhold/detail/encoded.h>
#include <commonhold/detail/present.h>
#include <commonhold/errors.h>

#include "shm/layout.h"
#include "shm/printable.h"

namespace commonhold {

Error::~Error() = default;

}  // namespace commonhold

namespace commonhold::detail {

void throw_status(shm::Status status, Object& object, const char* operation) {
  using shm::Status;
  const std::string what = fmt::format("cannot {} {}", operation, description_of(object));
  switch (status) {
    case Status::kOutOfMemory:
      throw OutOfMemory(what +
                        ": the manager's memory limit or the file system of /dev/shm is full. Nothing was "
                        "changed; remove objects, or start the manager with a higher memory_limit");
    case Status::kTooLarge:
      throw LimitReached(what + ": an item is larger than a shared object can hold");
    case Status::kTooMany:
      throw_join_failure(*object.segment);
    case Status::kTimedOut:
      throw TimeoutError(what + ": the time passed");
    case Status::kNotHeld:
      throw NotHeld(what + ": it is free");
    case Status::kGone:
      throw ObjectGone(what + ": it was destroyed");
    case Status::kNoFile:
      throw_join_failure(*object.segment);
    case Status::kMismatch:
      throw CorruptSegment(what + ": it holds an item of another size or kind than its type has");
    default:
      throw CorruptSegment(
          fmt::format("{}: the segment in {} is corrupt ({})", what, object.segment->folder(), shm::to_string(status)));
  }
}

void throw_address_error(const rpc::AddressError& error) {
  switch (error.code()) {
    case rpc::AddressError::Code::kInvalid:
      throw NameError(NameError::Reason::kInvalid, error.what());
    case rpc::AddressError::Code::kPermission:
    case rpc::AddressError::Code::kSystem:
      break;
  }
  throw SystemError(error.code() == rpc::AddressError::Code::kPermission ? EACCES : EIO, error.what());
}

void throw_segment_error(const shm::SegmentError& error, std::string_view manager) {
  using Code = shm::SegmentError::Code;
  switch (error.code()) {
    case Code::kNotFound:
      throw ServerGone(fmt::format("no manager \"{}\" is there: {}", manager, error.what()));
    case Code::kExists:
      throw NameError(NameError::Reason::kTaken, error.what());
    case Code::kInvalid:
      throw NameError(NameError::Reason::kInvalid, error.what());
    case Code::kOutOfMemory:
      throw OutOfMemory(error.what());
    case Code::kForeignLayout:
      throw CorruptSegment(error.what());
    case Code::kPermission:
    case Code::kSystem:
      break;
  }
  throw SystemError(error.code() == Code::kPermission ? EACCES : EIO,
                    fmt::format("cannot join the manager \"{}\": {}", manager, error.what()));
}

void throw_join_failure(const shm::Segment& segment) {
  if (segment.header().shutting_down.load(std::memory_order_acquire) != 0) {
    throw ObjectGone(
        fmt::format("the manager in {} was shut down: its objects cannot be used any more by a process "
                    "that did not use them before",
                    segment.folder()));
  }
  if (segment.memory_fd() < 0 || segment.lock_fd() < 0) {
    throw SystemError(EBADF,
                      fmt::format("the files of the manager in {} were closed by this program and cannot be opened "
                                  "again: they are gone, or no descriptor is free",
                                  segment.folder()));
  }
  throw LimitReached(fmt::format(
      "too many processes or threads use the manager in {}: at most {} processes with {} "
      "threads in all",
      segment.folder(), shm::kMaxSessions - shm::kReservedSessions, shm::kMaxThreads - shm::kReservedThreads));
}

void throw_moved(const char* what) {
  throw UsageError(fmt::format("{} that was moved from cannot be used; use the one that it was moved to", what));
}

void throw_attribute_error(Object& object, std::string_view name) {
  throw AttributeError(fmt::format("no attribute \"{}\" in {}; set it first, or ask has()", shm::printable(name),
                                   description_of(object)));
}

void throw_key_error(Object& object, const std::string& key) {
  throw KeyError(fmt::format("no key {} in {}", shm::printable_literal(key), description_of(object)));
}

void throw_index_error(Object& object, std::int64_t index, std::uint64_t size) {
  throw IndexError(fmt::format("index {} is outside of {}, which has {} element{}", index, description_of(object), size,
                               size == 1 ? "" : "s"));
}

void throw_empty(Object& object, const char* operation) {
  const std::string what = fmt::format("{} from {}, which is empty", operation, description_of(object));
  if (object.kind == ObjectKind::kDict || object.kind == ObjectKind::kSet) throw KeyError(what);
  throw IndexError(what);
}

void throw_no_such_value(Object& object, const std::string& value) {
  throw ValueError(fmt::format("no element {} in {}", shm::printable_literal(value), description_of(object)));
}

void refuse_operand(const char* what, std::int64_t operand) {
  throw ValueError(fmt::format("{} {}", what, operand));
}

void refuse_valueless() {
  throw ValueError("a variant that is valueless_by_exception() cannot be stored: give it a value");
}

void refuse_size(std::size_t found, std::size_t expected) {
  throw CorruptSegment(fmt::format("a stored item has {} bytes where its type has {}", found, expected));
}

}  // namespace commonhold::detail
