// A Value's memory as the templates use it, and what the library does for them.
#pragma once

#include <atomic>
#include <cstdint>

#include <commonhold/detail/call.h>
#include <commonhold/detail/object_handle.h>

namespace commonhold::detail {

// The beginning of shm/value.h's ValueControl.
struct ValueCell {
  std::uint64_t word;                              // the value, when it has at most 8 bytes
  alignas(64) std::atomic<std::uint32_t> watched;  // 1: somebody sleeps until the value changes, or is about to
};

// Throws CorruptSegment when it has another size: callers size their memory by their type.
COMMONHOLD_CALL ValueCell* value_cell(Object& value, std::size_t bytes);
// After a change of the word that found `watched` set: wakes those who wait.
COMMONHOLD_CALL void value_changed(Object& value);

COMMONHOLD_CALL void value_load(Object& value, void* out);
COMMONHOLD_CALL void value_store(Object& value, const void* in);
COMMONHOLD_CALL void value_exchange(Object& value, const void* in, void* out);
COMMONHOLD_CALL bool value_compare_exchange(Object& value, void* expected, const void* desired);
// Until the bytes differ from `seen`. False: the time passed.
COMMONHOLD_CALL bool value_wait(Object& value, const void* seen, std::int64_t wait);

}  // namespace commonhold::detail
