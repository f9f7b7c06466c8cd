// A Value's memory as the templates use it, and what the library does for them.
#pragma once

#include <atomic>
#include <cstdint>

#include <commonhold/detail/object_handle.h>

namespace commonhold::detail {

// The beginning of shm/value.h's ValueControl.
struct ValueCell {
  std::uint64_t word;                              // the value, when it has at most 8 bytes
  alignas(64) std::atomic<std::uint32_t> watched;  // 1: somebody sleeps until the value changes, or is about to
};

ValueCell* value_cell(Object& value);
// After a change of the word that found `watched` set: wakes those who wait.
void value_changed(Object& value);

void value_load(Object& value, void* out);
void value_store(Object& value, const void* in);
void value_exchange(Object& value, const void* in, void* out);
bool value_compare_exchange(Object& value, void* expected, const void* desired);
// Until the bytes differ from `seen`. False: the time passed.
bool value_wait(Object& value, const void* seen, std::int64_t wait);

}  // namespace commonhold::detail
