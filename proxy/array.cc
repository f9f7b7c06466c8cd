#include <commonhold/detail/array_calls.h>

#include <cstddef>

#include <fmt/format.h>

#include <commonhold/errors.h>

#include "proxy/errors.h"
#include "proxy/object.h"
#include "shm/array.h"
#include "shm/liveness.h"
#include "shm/lock_word.h"

namespace commonhold::detail {

using shm::Status;

static_assert(offsetof(ArrayMarks, redo) == offsetof(shm::ArrayMarks, redo));
static_assert(offsetof(ArrayMarks, watched) == offsetof(shm::ArrayMarks, watched));
static_assert(kStoringOffset == offsetof(shm::ThreadRecord, storing));
static_assert(shm::ThreadContext::begins_with(offsetof(ThreadMark, segment), offsetof(ThreadMark, record)));

namespace {

shm::Array& of(Object& object) {
  return structure_of<shm::Array>(object);
}

bool inside(Status status, Object& object, const char* operation) {
  if (status == Status::kOk) [[likely]]
    return true;
  if (status == Status::kOutOfRange) return false;
  throw_status(status, object, operation);
}

// The same for a change of many elements, which may meet a thread that does not finish its change of one.
bool changed_inside(Status status, Object& object, const char* operation, std::uint32_t thread) {
  if (status != Status::kTimedOut) [[likely]]
    return inside(status, object, operation);
  const auto claim = object.segment->thread(thread).claim.load(std::memory_order_acquire);
  const std::uint32_t pid =
      shm::owner_pid(*object.segment, shm::lock_owner(thread, static_cast<std::uint32_t>(claim >> 32)));
  throw TimeoutError(
      fmt::format("cannot {} {}: process {} is stopped in the middle of changing one of these elements. Nothing was "
                  "changed; continue that process (kill -CONT {}), or end it",
                  operation, description_of(object), pid, pid));
}

}  // namespace

ArrayMemory array_memory(Object& array, std::size_t element_bytes) {
  const shm::Array& structure = of(array);
  if (structure.element_bytes() != element_bytes) throw_status(Status::kCorrupt, array, "open");
  return {structure.data(), structure.count(), reinterpret_cast<const ArrayMarks*>(&structure.marks()),
          array.segment.get(), array.segment->offset_of(structure.data())};
}

std::atomic<std::uint64_t>* ElementChange::begin_slow(Object& array, std::uint64_t index) {
  shm::ThreadContext& me = here(array);
  return of(array).begin_change(me, index) ? &me.record().storing : nullptr;
}

void ElementChange::end_slow(Object& array) {
  of(array).end_change(here(array), false);
}

void array_stored(Object& array, std::uint64_t index) {
  const shm::Array& structure = of(array);
  structure.settle_store(here(array), index);
  structure.changed();
}

void array_changed(Object& array) {
  of(array).changed();
}

void check_array_count(std::uint64_t count, std::uint64_t element_bytes) {
  const std::uint64_t most = INT64_MAX / element_bytes;
  if (count <= most) return;
  throw ValueError(fmt::format("an array cannot have {} elements: a count is 0 to {}, as far as memory_limit allows",
                               static_cast<std::int64_t>(count), most));
}

bool array_load(Object& array, std::uint64_t index, void* out) {
  const shm::Array& structure = of(array);
  return inside(structure.load(here(array), index, out), array, "read");
}

bool array_store(Object& array, std::uint64_t index, const void* in) {
  const shm::Array& structure = of(array);
  return inside(structure.store(here(array), index, in), array, "store in");
}

bool array_read(Object& array, std::uint64_t first, std::uint64_t count, void* out) {
  const shm::Array& structure = of(array);
  return inside(structure.read(here(array), first, count, out), array, "read");
}

bool array_write(Object& array, std::uint64_t first, std::uint64_t count, const void* in) {
  const shm::Array& structure = of(array);
  std::uint32_t thread = 0;
  return changed_inside(structure.write(here(array), first, count, in, &thread), array, "store in", thread);
}

bool array_fill(Object& array, std::uint64_t first, std::uint64_t count, const void* element) {
  const shm::Array& structure = of(array);
  std::uint32_t thread = 0;
  return changed_inside(structure.fill(here(array), first, count, element, &thread), array, "fill", thread);
}

}  // namespace commonhold::detail
