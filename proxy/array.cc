#include <commonhold/detail/array_calls.h>

#include <cstddef>

#include "proxy/errors.h"
#include "proxy/object.h"
#include "shm/array.h"
#include "shm/lock_word.h"

namespace commonhold::detail {

using shm::Status;

static_assert(offsetof(ArrayMarks, redo) == offsetof(shm::ArrayMarks, redo));
static_assert(offsetof(ArrayMarks, watched) == offsetof(shm::ArrayMarks, watched));

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

}  // namespace

ArrayMemory array_memory(Object& array) {
  const shm::Array& structure = of(array);
  return {structure.data(), structure.count(), reinterpret_cast<const ArrayMarks*>(&structure.marks())};
}

void array_settle(Object& array) {
  of(array).settle(here(array));
}

void array_changed(Object& array) {
  of(array).changed();
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
  return inside(structure.write(here(array), first, count, in), array, "store in");
}

bool array_fill(Object& array, std::uint64_t first, std::uint64_t count, const void* element) {
  const shm::Array& structure = of(array);
  return inside(structure.fill(here(array), first, count, element), array, "fill");
}

}  // namespace commonhold::detail
