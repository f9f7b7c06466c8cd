#include "shm/array.h"

#include <chrono>

#include "shm/array_bytes.h"
#include "shm/array_redo.h"
#include "shm/barrier_everywhere.h"
#include "shm/control_block.h"
#include "shm/idle_memory.h"
#include "shm/lock_word.h"
#include "shm/read_undisturbed.h"
#include "shm/thread_context.h"
#include "shm/watch.h"

namespace commonhold::shm {
namespace {

constexpr std::uint32_t kDataArena = 0;
constexpr std::uint32_t kScratchArena = 1;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 47;

constexpr int kUndisturbedTries = 16;

std::atomic<std::int64_t> element_change_timeout_ns{10'000'000'000};

// Forgets the kept scratch chunk, then gives it back.
void drop_scratch(ThreadContext& me, ArrayControl& control) {
  Offset scratch = load_word(&control.scratch);
  if (scratch == 0) return;
  store_word(&control.scratch, 0);
  give_chunk(me, scratch, load_word(&control.scratch_bytes));
}

// REQUIRES, as what follows: `writing` is held.
void raise_version(ArrayControl& control, std::memory_order order) {
  control.version.store(control.version.load(std::memory_order_relaxed) + 1, order);
}

// After a committed change was applied. A reader that began before the commit, when the version had risen for this
// change already, finds `redo` 0 again: the version tells that it was not all the time.
void end_change_of_many(ArrayControl& control) {
  raise_version(control, std::memory_order_release);
  control.redo.store(0, std::memory_order_release);
}

// Always set, for processes that may not take part in barriers: each store of theirs makes its own.
const ArrayMarks kAlwaysSet{{1}, {1}};

}  // namespace

void set_element_change_timeout_for_test(std::chrono::nanoseconds timeout) {
  element_change_timeout_ns.store(timeout.count(), std::memory_order_relaxed);
}

Array::Array(const ObjectAddress& where)
    : where_(where),
      control_(where.segment->at<ArrayControl>(where.control)),
      count_(load_word(&control_->count)),
      element_bytes_(load_word(&control_->element_bytes)) {
  const Offset data = load_word(&control_->data);
  data_ = where.segment->at<std::byte>(data);
  if (element_bytes_ == 0 || count_ > kMostBytes / element_bytes_ || data % 64 != 0 ||
      !where.segment->holds(data, count_ * element_bytes_)) {
    count_ = 0;  // no memory of ours: nothing is in range
    element_bytes_ = 0;
  }
  marks_ =
      take_part_in_barriers() ? where.segment->at<ArrayMarks>(where.segment->offset_of(&control_->redo)) : &kAlwaysSet;
}

std::uint64_t Array::count() const {
  return count_;
}
std::size_t Array::element_bytes() const {
  return element_bytes_;
}
std::byte* Array::data() const {
  return data_;
}
LockWord& Array::user_lock() const {
  return control_->user_lock;
}

Status Array::load(ThreadContext& me, std::uint64_t index, void* out) const {
  if (index >= count_) return Status::kOutOfRange;
  // SYNC POINT: array redo. Committed before: the element may not be there yet.
  if (!is_small_element(element_bytes_) || control_->redo.load(std::memory_order_acquire) != 0) {
    return read(me, index, 1, out);
  }
  get_element(out, data_ + index * element_bytes_, element_bytes_);
  return Status::kOk;
}

Status Array::store(ThreadContext& me, std::uint64_t index, const void* in) const {
  if (index >= count_) return Status::kOutOfRange;
  if (!is_small_element(element_bytes_)) return write(me, index, 1, in);
  std::byte* at = data_ + index * element_bytes_;
  if (marks_->redo.load(std::memory_order_acquire) == 0) [[likely]] {  // SYNC POINT: element stores
    put_element(at, in, element_bytes_);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if ((marks_->redo.load(std::memory_order_relaxed) | marks_->watched.load(std::memory_order_relaxed)) == 0)
        [[likely]]
      return Status::kOk;
    settle_store(me, index);
  } else if (may_store(where_.segment->offset_of(at))) {
    put_element(at, in, element_bytes_);
    settle_store(me, index);
  } else {
    HeldLock held(me, control_->writing);
    put_element(at, in, element_bytes_);
  }
  changed();
  return Status::kOk;
}

// Whether no change of many is under way to the element at that offset.
bool Array::may_store(Offset at) const {
  const Offset data = where_.segment->offset_of(data_);
  for (;;) {
    const Word version = control_->version.load(std::memory_order_seq_cst);
    const Word redo = control_->redo.load(std::memory_order_seq_cst);  // SYNC POINT: element stores
    if (redo == 0) return true;
    const Word from = load_word(&control_->redo_at), bytes = load_word(&control_->redo_bytes);
    if (control_->redo.load(std::memory_order_seq_cst) != redo) continue;
    if (control_->version.load(std::memory_order_seq_cst) != version) continue;
    return at - data < from || at - data - from >= bytes;
  }
}

void Array::settle_store(ThreadContext& me, std::uint64_t index) const {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // for processes that do not take part in barriers
  if (!may_store(where_.segment->offset_of(data_ + index * element_bytes_))) HeldLock held(me, control_->writing);
}

bool Array::begin_change(ThreadContext& me, std::uint64_t index) const {
  const Offset at = where_.segment->offset_of(data_ + index * element_bytes_);
  AtomicWord& storing = me.record().storing;
  storing.exchange(at, std::memory_order_seq_cst);
  if (may_store(at)) return true;
  storing.store(0, std::memory_order_release);
  (void)lock(me, control_->writing);
  return false;
}

void Array::end_change(ThreadContext& me, bool announced) const {
  if (announced) {
    me.record().storing.store(0, std::memory_order_release);
  } else {
    (void)unlock(me, control_->writing);
  }
}

void Array::changed() const {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (control_->watched.load(std::memory_order_seq_cst) == 0) return;
  tell_watching(*where_.segment->at<AtomicWord>(where_.segment->offset_of(&control_->watched)), control_->changes);
}

// kRetry: a change came between.
Status Array::read_once(std::uint64_t at, std::uint64_t bytes, void* out) const {
  const Word version = control_->version.load(std::memory_order_acquire);
  const Word word = control_->redo.load(std::memory_order_acquire);  // SYNC POINT: array redo
  get_bytes(out, data_ + at, bytes);
  Status status = Status::kOk;
  if (word != 0 && word != kRedoClosed) {
    ArrayRedo redo;
    status = ArrayRedo::read(*where_.segment, *control_, word, count_ * element_bytes_, redo);
    if (status == Status::kOk) redo.put_over(static_cast<std::byte*>(out), at, bytes);
  }
  // Everything was loaded with acquire: if a byte is of a later change, so is one of these. Where that change is over,
  // `redo` may be what it was, and `version`, which is loaded after it, is not.
  if (control_->redo.load(std::memory_order_acquire) != word) return Status::kRetry;
  if (control_->version.load(std::memory_order_relaxed) != version) return Status::kRetry;
  return status;
}

Status Array::read(ThreadContext& me, std::uint64_t first, std::uint64_t count, void* out) const {
  if (first > count_ || count > count_ - first) return Status::kOutOfRange;
  const std::uint64_t at = first * element_bytes_, bytes = count * element_bytes_;
  return read_undisturbed(me, control_->writing, kUndisturbedTries, [&] { return read_once(at, bytes, out); });
}

// REQUIRES: `writing` is held, as for commit.
Status Array::take_scratch(ThreadContext& me, std::uint64_t bytes, Offset& scratch) const {
  Offset kept = load_word(&control_->scratch);
  if (kept != 0 && bytes <= chunk_size(load_word(&control_->scratch_bytes))) {
    if (!where_.segment->holds(kept, round_up(bytes, 8))) return Status::kCorrupt;
    scratch = kept;
    return Status::kOk;
  }
  Status status = take_chunk(me, ChunkOwner(where_.object, kScratchArena), bytes, scratch);
  if (status != Status::kOk || bytes > kExtent) return status;
  drop_scratch(me, *control_);
  store_word(&control_->scratch_bytes, bytes);
  store_word(&control_->scratch, scratch);
  return Status::kOk;
}

Status Array::commit(ThreadContext& me, Word redo, std::uint64_t at, std::uint64_t bytes, std::uint32_t* thread) const {
  if (is_small_element(element_bytes_)) {
    control_->redo.store(kRedoClosed, std::memory_order_seq_cst);
    const Offset from = where_.segment->offset_of(data_ + at);
    const std::chrono::nanoseconds timeout(element_change_timeout_ns.load(std::memory_order_relaxed));
    std::uint32_t busy = 0;
    Status status = wait_for_element_changes(me, from, from + bytes, Deadline::after(timeout), busy);
    if (status != Status::kOk) {
      control_->redo.store(0, std::memory_order_release);
      if (thread != nullptr) *thread = busy;
      return status;
    }
  }
  control_->redo.store(redo, std::memory_order_seq_cst);  // SYNC POINT: array redo. The commit point
  ArrayRedo change;
  Status status = ArrayRedo::read(*where_.segment, *control_, redo, count_ * element_bytes_, change);
  if (status == Status::kOk) change.apply(data_);
  end_change_of_many(*control_);
  changed();
  return status;
}

Status Array::try_change_many(ThreadContext& me, Word kind, std::uint64_t first, std::uint64_t count, const void* in,
                              std::uint32_t* thread) const {
  if (first > count_ || count > count_ - first) return Status::kOutOfRange;
  if (count == 0) return Status::kOk;
  if (count == 1 && is_small_element(element_bytes_)) return store(me, first, in);
  const std::uint64_t at = first * element_bytes_, bytes = count * element_bytes_;
  const std::uint64_t scratch_bytes = kind == kRedoFill ? element_bytes_ : bytes;
  HeldLock held(me, control_->writing);
  raise_version(*control_, std::memory_order_seq_cst);
  Offset scratch = 0;
  Status status = take_scratch(me, scratch_bytes, scratch);
  if (status != Status::kOk) return status;
  write_words(where_.segment->at<std::byte>(scratch), in, scratch_bytes);
  store_word(&control_->redo_at, at);
  store_word(&control_->redo_bytes, bytes);
  store_word(&control_->redo_element, element_bytes_);
  status = commit(me, scratch | kind, at, bytes, thread);
  if (scratch != load_word(&control_->scratch)) give_chunk(me, scratch, scratch_bytes);
  return status;
}

Status Array::change_many(ThreadContext& me, Word kind, std::uint64_t first, std::uint64_t count, const void* in,
                          std::uint32_t* thread) const {
  SweepWaits waits(me);
  Status status;
  do {
    status = try_change_many(me, kind, first, count, in, thread);
  } while (waits.worth_another(status));
  return status;
}

Status Array::write(ThreadContext& me, std::uint64_t first, std::uint64_t count, const void* in,
                    std::uint32_t* thread) const {
  return change_many(me, kRedoCopy, first, count, in, thread);
}

Status Array::fill(ThreadContext& me, std::uint64_t first, std::uint64_t count, const void* element,
                   std::uint32_t* thread) const {
  return change_many(me, kRedoFill, first, count, element, thread);
}

Status Array::create(ThreadContext& me, std::uint32_t object, std::uint64_t count, std::uint64_t element_bytes,
                     Offset& control) {
  if (element_bytes == 0 || count > kMostBytes / element_bytes) return Status::kTooLarge;
  std::uint64_t bytes = count * element_bytes == 0 ? 8 : count * element_bytes;
  Offset data = 0;
  // Whoever reads it refers to the array.
  Status status = take_chunk(me, ChunkOwner(object, kDataArena), bytes, data, LateReaders::kNone);
  if (status != Status::kOk) return status;
  Offset at = 0;
  status = take_control_block(me, object, sizeof(ArrayControl), at);
  if (status != Status::kOk) {
    give_chunk(me, data, bytes);
    return status;
  }
  zero_words(me.segment().at<std::byte>(data), bytes);
  auto* made = me.segment().at<ArrayControl>(at);
  store_word(&made->count, count);
  store_word(&made->element_bytes, element_bytes);
  store_word(&made->data, data);
  control = at;
  return Status::kOk;
}

void Array::repair(ThreadContext& me, const ObjectAddress& where, LockWord& held) {
  Array array(where);
  ArrayControl& control = *array.control_;
  if (&held != &control.writing) return;  // the user lock guards nothing of ours
  const Word redo = control.redo.load(std::memory_order_acquire);
  ArrayRedo change;
  const std::uint64_t bytes = array.count_ * array.element_bytes_;
  if (ArrayRedo::read(*where.segment, control, redo, bytes, change) == Status::kOk) change.apply(array.data_);
  if (redo != 0) end_change_of_many(control);
  array.changed();  // the dead one may not have come to it
  // Scratch chunks that the dead one took and did not come to record, or to give back.
  Offset kept = load_word(&control.scratch);
  for_each_chunk(*where.segment, ChunkOwner(where.object, kScratchArena), [&](Offset chunk, std::uint64_t bytes) {
    if (chunk != kept) give_chunk(me, chunk, bytes);
  });
}

void Array::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  auto* control = where.segment->at<ArrayControl>(where.control);
  visit(context, control->writing);
  visit(context, control->user_lock);
}

}  // namespace commonhold::shm
