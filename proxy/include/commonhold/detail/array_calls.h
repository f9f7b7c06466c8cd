// An Array's memory, and what the library does for the templates in array.h. A bool result says whether the
// indexes were inside. Those that change many throw TimeoutError where a process is stopped in the middle of changing one
// of the elements.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include <commonhold/detail/call.h>
#include <commonhold/detail/object_handle.h>

namespace commonhold::shm {
class ThreadContext;
namespace detail {
// As in shm/thread_context.h: a load from the thread's own memory, without a call.
extern constinit thread_local ThreadContext* current_context __attribute__((tls_model("initial-exec")));
}  // namespace detail
}  // namespace commonhold::shm

namespace commonhold::detail {

// Words of the segment that whoever loads or stores an element looks at, as shm::ArrayMarks.
struct ArrayMarks {
  // Before and after. Not 0 while a fill or slice is about to be committed, or is and is being applied.
  std::atomic<std::uint64_t> redo;
  // After a store. Not 0: somebody watches the array.
  std::atomic<std::uint32_t> watched;
};
struct ArrayMemory {
  std::byte* data = nullptr;
  std::uint64_t count = 0;
  const ArrayMarks* marks = nullptr;
  const void* segment = nullptr;  // as ThreadMark names it
  std::uint64_t data_offset = 0;  // of `data` in the segment
};
// Throws CorruptSegment when its elements have another size: callers size their memory by their type.
COMMONHOLD_CALL ArrayMemory array_memory(Object& array, std::size_t element_bytes);

// The beginning of a shm::ThreadContext: the calling thread as an owner in the segment that it used last.
struct ThreadMark {
  void* next;
  std::atomic<const void*> segment;
  std::byte* base;
  std::byte* record;
};
inline constexpr std::size_t kStoringOffset = 216;  // of the record's word `storing` (shm/element_stores.h)

// A change of one element of up to 8 bytes that depends on what it was, for as long as this lives: announced in the
// thread's record or, where a fill or slice is under way, under the array's lock (shm/array_redo.h).
class ElementChange {
 public:
  ElementChange(Object& array, const ArrayMemory& memory, std::uint64_t index, std::uint64_t at) : array_(array) {
    const auto* thread = reinterpret_cast<const ThreadMark*>(shm::detail::current_context);
    if (thread != nullptr && thread->segment.load(std::memory_order_relaxed) == memory.segment) [[likely]] {
      storing_ = reinterpret_cast<std::atomic<std::uint64_t>*>(thread->record + kStoringOffset);
      storing_->store(memory.data_offset + at, std::memory_order_relaxed);
      // The compiler must not move the look before the store; for the processor who fills makes the barrier.
      std::atomic_signal_fence(std::memory_order_seq_cst);
      if (memory.marks->redo.load(std::memory_order_acquire) == 0) [[likely]]  // SYNC POINT: element stores
        return;
    }
    storing_ = begin_slow(array, index);
  }
  ~ElementChange() {
    if (storing_ != nullptr) [[likely]] {
      storing_->store(0, std::memory_order_release);
    } else {
      end_slow(array_);
    }
  }
  ElementChange(const ElementChange&) = delete;
  ElementChange& operator=(const ElementChange&) = delete;

 private:
  COMMONHOLD_CALL static std::atomic<std::uint64_t>* begin_slow(Object& array, std::uint64_t index);
  COMMONHOLD_CALL static void end_slow(Object& array);

  Object& array_;
  std::atomic<std::uint64_t>* storing_ = nullptr;  // null: the lock is held
};

// A plain store whose second look found something: waits for a fill or slice under way, tells those who watch.
COMMONHOLD_CALL void array_stored(Object& array, std::uint64_t index);
// After a store: tells those who watch.
COMMONHOLD_CALL void array_changed(Object& array);

// ValueError unless an array can have so many elements; a negative count comes here as a very large one.
COMMONHOLD_CALL void check_array_count(std::uint64_t count, std::uint64_t element_bytes);

COMMONHOLD_CALL bool array_load(Object& array, std::uint64_t index, void* out);
COMMONHOLD_CALL bool array_store(Object& array, std::uint64_t index, const void* in);
COMMONHOLD_CALL bool array_read(Object& array, std::uint64_t first, std::uint64_t count, void* out);
COMMONHOLD_CALL bool array_write(Object& array, std::uint64_t first, std::uint64_t count, const void* in);
COMMONHOLD_CALL bool array_fill(Object& array, std::uint64_t first, std::uint64_t count, const void* element);

}  // namespace commonhold::detail
