// An Array's memory, and what the library does for the templates in array.h. A bool result says whether the
// indexes were inside.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <commonhold/detail/call.h>
#include <commonhold/detail/object_handle.h>

namespace commonhold::detail {

// Words of the segment that a store of an element looks at, as shm::ArrayMarks.
struct ArrayMarks {
  // Before it. Not 0 while a fill or slice is committed and not yet applied throughout; a store that came now could be
  // lost.
  std::atomic<std::uint64_t> redo;
  // After it. Not 0: somebody watches the array.
  std::atomic<std::uint32_t> watched;
};
struct ArrayMemory {
  std::byte* data = nullptr;
  std::uint64_t count = 0;
  const ArrayMarks* marks = nullptr;
};
COMMONHOLD_CALL ArrayMemory array_memory(Object& array);
// Waits until what was committed is applied, by its writer or for a dead one.
COMMONHOLD_CALL void array_settle(Object& array);
// After a store: tells those who watch.
COMMONHOLD_CALL void array_changed(Object& array);

COMMONHOLD_CALL bool array_load(Object& array, std::uint64_t index, void* out);
COMMONHOLD_CALL bool array_store(Object& array, std::uint64_t index, const void* in);
COMMONHOLD_CALL bool array_read(Object& array, std::uint64_t first, std::uint64_t count, void* out);
COMMONHOLD_CALL bool array_write(Object& array, std::uint64_t first, std::uint64_t count, const void* in);
COMMONHOLD_CALL bool array_fill(Object& array, std::uint64_t first, std::uint64_t count, const void* element);

}  // namespace commonhold::detail
