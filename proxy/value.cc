#include <cstddef>

#include <commonhold/detail/lock_calls.h>
#include <commonhold/detail/value_calls.h>

#include "proxy/errors.h"
#include "proxy/object.h"
#include "proxy/waiting.h"
#include "shm/value.h"

namespace commonhold::detail {

using shm::Status;

static_assert(offsetof(ValueCell, word) == offsetof(shm::ValueControl, word));
static_assert(offsetof(ValueCell, watched) == offsetof(shm::ValueControl, watched));

namespace {

shm::Value& of(Object& object) {
  return structure_of<shm::Value>(object);
}

void done(Status status, Object& object, const char* operation) {
  if (status != Status::kOk) [[unlikely]]
    throw_status(status, object, operation);
}

}  // namespace

ValueCell* value_cell(Object& value, std::size_t bytes) {
  if (of(value).size() != bytes) throw_status(Status::kCorrupt, value, "open");
  return value.segment->at<ValueCell>(value.control);
}

void value_changed(Object& value) {
  of(value).changed();
}

void value_load(Object& value, void* out) {
  const shm::Value& structure = of(value);
  done(structure.load(here(value), out), value, "read");
}

void value_store(Object& value, const void* in) {
  const shm::Value& structure = of(value);
  done(structure.store(here(value), in), value, "store in");
}

void value_exchange(Object& value, const void* in, void* out) {
  const shm::Value& structure = of(value);
  done(structure.exchange(here(value), in, out), value, "store in");
}

bool value_compare_exchange(Object& value, void* expected, const void* desired) {
  const shm::Value& structure = of(value);
  const Status status = structure.compare_exchange(here(value), expected, desired);
  if (status == Status::kMismatch) return false;
  done(status, value, "store in");
  return true;
}

bool value_wait(Object& value, const void* seen, std::int64_t wait) {
  const shm::Value& structure = of(value);
  const Status status = structure.wait_change(here(value), seen, deadline_after(wait));
  if (status == Status::kTimedOut) return out_of_time(wait, value, "wait for");
  done(status, value, "wait for");
  return true;
}

}  // namespace commonhold::detail
