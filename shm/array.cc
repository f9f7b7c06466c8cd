#include "shm/array.h"

#include <cstring>

#include "shm/barrier_everywhere.h"
#include "shm/control_block.h"
#include "shm/lock_word.h"
#include "shm/watch.h"

namespace commonhold::shm {
namespace {

constexpr Word kRedoCopy = 1;
constexpr Word kRedoFill = 2;
constexpr Word kRedoKind = 3;
constexpr std::uint32_t kDataArena = 0;
constexpr std::uint32_t kScratchArena = 1;
constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 47;

constexpr bool one_step(std::size_t element_bytes) {
  return element_bytes <= 8 && (element_bytes & (element_bytes - 1)) == 0;
}

// The widest access at `at` that is aligned and stays within `size` bytes: neighbours may be stored to meanwhile.
std::size_t width_at(const std::byte* at, std::size_t size) {
  auto address = reinterpret_cast<std::uintptr_t>(at);
  for (std::size_t width = 8; width > 1; width /= 2) {
    if (width <= size && address % width == 0) return width;
  }
  return 1;
}

template <typename Unit>
void put_unit(std::byte* shared, const void* from) {
  Unit unit;
  std::memcpy(&unit, from, sizeof(Unit));
  reinterpret_cast<std::atomic<Unit>*>(shared)->store(unit, std::memory_order_release);
}
template <typename Unit>
void get_unit(void* to, const std::byte* shared) {
  Unit unit = reinterpret_cast<const std::atomic<Unit>*>(shared)->load(std::memory_order_acquire);
  std::memcpy(to, &unit, sizeof(Unit));
}

void put_width(std::byte* shared, const void* from, std::size_t width) {
  switch (width) {
    case 8:
      return put_unit<std::uint64_t>(shared, from);
    case 4:
      return put_unit<std::uint32_t>(shared, from);
    case 2:
      return put_unit<std::uint16_t>(shared, from);
    default:
      return put_unit<std::uint8_t>(shared, from);
  }
}
void get_width(void* to, const std::byte* shared, std::size_t width) {
  switch (width) {
    case 8:
      return get_unit<std::uint64_t>(to, shared);
    case 4:
      return get_unit<std::uint32_t>(to, shared);
    case 2:
      return get_unit<std::uint16_t>(to, shared);
    default:
      return get_unit<std::uint8_t>(to, shared);
  }
}

void put_bytes(std::byte* shared, const void* source, std::uint64_t size) {
  auto* from = static_cast<const std::byte*>(source);
  while (size != 0) {
    std::size_t width = width_at(shared, size);
    do {
      put_width(shared, from, width);
      shared += width, from += width, size -= width;
    } while (width == 8 && size >= 8);
  }
}
void get_bytes(void* target, const std::byte* shared, std::uint64_t size) {
  auto* to = static_cast<std::byte*>(target);
  while (size != 0) {
    std::size_t width = width_at(shared, size);
    do {
      get_width(to, shared, width);
      shared += width, to += width, size -= width;
    } while (width == 8 && size >= 8);
  }
}

// Copies between shared places; `from` is 8-byte aligned.
void move_bytes(std::byte* to, const std::byte* from, std::uint64_t size) {
  std::byte piece[512];
  while (size != 0) {
    std::size_t now = size < sizeof(piece) ? size : sizeof(piece);
    read_words(piece, from, now);
    put_bytes(to, piece, now);
    to += now, from += now, size -= now;
  }
}

// Repeats the element at `from` (8-byte aligned) over `size` bytes, a multiple of `element`.
void fill_bytes(std::byte* to, const std::byte* from, std::size_t element, std::uint64_t size) {
  std::byte piece[512];
  if (element > sizeof(piece)) {
    for (; size >= element; size -= element, to += element) move_bytes(to, from, element);
    return;
  }
  read_words(piece, from, element);
  std::size_t full = element;
  for (; full + element <= sizeof(piece); full += element) std::memcpy(piece + full, piece, element);
  while (size != 0) {
    std::size_t now = size < full ? size : full;
    put_bytes(to, piece, now);
    to += now, size -= now;
  }
}

// Applies the committed change; may be done any number of times. kCorrupt when the record names no memory of ours.
Status apply_redo(const Segment& segment, ArrayControl& control, std::byte* data, std::uint64_t data_bytes) {
  Word redo = control.redo.load(std::memory_order_acquire);
  Offset scratch = redo & ~kRedoKind;
  std::uint64_t at = load_word(&control.redo_at), bytes = load_word(&control.redo_bytes);
  std::uint64_t element = load_word(&control.redo_element);
  std::uint64_t needs = (redo & kRedoKind) == kRedoFill ? element : bytes;
  if (at > data_bytes || bytes > data_bytes - at || scratch % 8 != 0 || needs == 0) return Status::kCorrupt;
  if (!segment.holds(scratch, round_up(needs, 8))) return Status::kCorrupt;
  const std::byte* from = segment.at<std::byte>(scratch);
  if ((redo & kRedoKind) == kRedoCopy) {
    move_bytes(data + at, from, bytes);
  } else if ((redo & kRedoKind) == kRedoFill) {
    fill_bytes(data + at, from, element, bytes - bytes % element);
  } else {
    return Status::kCorrupt;
  }
  return Status::kOk;
}

// Forgets the kept scratch chunk, then gives it back.
void drop_scratch(ThreadContext& me, ArrayControl& control) {
  Offset scratch = load_word(&control.scratch);
  if (scratch == 0) return;
  store_word(&control.scratch, 0);
  give_chunk(me, scratch, load_word(&control.scratch_bytes));
}

// Always set, for processes that may not take part in barriers: each store of theirs looks at the array's own.
const ArrayMarks kAlwaysSet{{1}, {1}};

}  // namespace

Array::Array(const ObjectAddress& where)
    : where_(where),
      control_(where.segment->at<ArrayControl>(where.control)),
      count_(control_->count),
      element_bytes_(control_->element_bytes),
      data_(where.segment->at<std::byte>(control_->data)) {
  if (element_bytes_ == 0 || count_ > kMostBytes / element_bytes_ || control_->data % 64 != 0 ||
      !where.segment->holds(control_->data, count_ * element_bytes_)) {
    count_ = 0;  // no memory of ours: nothing is in range
    element_bytes_ = 1;
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
  if (!one_step(element_bytes_)) return read(me, index, 1, out);
  get_width(out, data_ + index * element_bytes_, element_bytes_);
  return Status::kOk;
}

Status Array::store(ThreadContext& me, std::uint64_t index, const void* in) const {
  if (index >= count_) return Status::kOutOfRange;
  if (!one_step(element_bytes_)) return write(me, index, 1, in);
  std::byte* at = data_ + index * element_bytes_;
  if (marks_->redo.load(std::memory_order_acquire) == 0) [[likely]] {
    put_width(at, in, element_bytes_);
  } else {
    HeldLock held(me, control_->writing);
    put_width(at, in, element_bytes_);
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (marks_->watched.load(std::memory_order_relaxed) != 0) [[unlikely]]  // SYNC POINT: array watched
    changed();
  return Status::kOk;
}

void Array::settle(ThreadContext& me) const {
  if (control_->redo.load(std::memory_order_acquire) == 0) return;
  HeldLock held(me, control_->writing);
}

void Array::changed() const {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (control_->watched.load(std::memory_order_seq_cst) == 0) return;
  tell_watching(*where_.segment->at<AtomicWord>(where_.segment->offset_of(&control_->watched)), control_->changes);
}

Status Array::read(ThreadContext& me, std::uint64_t first, std::uint64_t count, void* out) const {
  if (first > count_ || count > count_ - first) return Status::kOutOfRange;
  HeldLock held(me, control_->writing);
  get_bytes(out, data_ + first * element_bytes_, count * element_bytes_);
  return Status::kOk;
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

Status Array::commit(ThreadContext& me, Word kind, Offset scratch, std::uint64_t at, std::uint64_t bytes) const {
  store_word(&control_->redo_at, at);
  store_word(&control_->redo_bytes, bytes);
  store_word(&control_->redo_element, element_bytes_);
  control_->redo.store(scratch | kind, std::memory_order_release);
  Status status = apply_redo(*where_.segment, *control_, data_, count_ * element_bytes_);
  control_->redo.store(0, std::memory_order_release);
  std::uint64_t scratch_bytes = kind == kRedoFill ? element_bytes_ : bytes;
  if (scratch != load_word(&control_->scratch)) give_chunk(me, scratch, scratch_bytes);
  changed();
  return status;
}

Status Array::write(ThreadContext& me, std::uint64_t first, std::uint64_t count, const void* in) const {
  if (first > count_ || count > count_ - first) return Status::kOutOfRange;
  if (count == 0) return Status::kOk;
  std::uint64_t bytes = count * element_bytes_;
  HeldLock held(me, control_->writing);
  Offset scratch = 0;
  Status status = take_scratch(me, bytes, scratch);
  if (status != Status::kOk) return status;
  write_words(where_.segment->at<std::byte>(scratch), in, bytes);
  return commit(me, kRedoCopy, scratch, first * element_bytes_, bytes);
}

Status Array::fill(ThreadContext& me, std::uint64_t first, std::uint64_t count, const void* element) const {
  if (first > count_ || count > count_ - first) return Status::kOutOfRange;
  if (count == 0) return Status::kOk;
  HeldLock held(me, control_->writing);
  Offset scratch = 0;
  Status status = take_scratch(me, element_bytes_, scratch);
  if (status != Status::kOk) return status;
  write_words(where_.segment->at<std::byte>(scratch), element, element_bytes_);
  return commit(me, kRedoFill, scratch, first * element_bytes_, count * element_bytes_);
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
  if (control.redo.load(std::memory_order_acquire) != 0) {
    (void)apply_redo(*where.segment, control, array.data_, array.count_ * array.element_bytes_);
    control.redo.store(0, std::memory_order_release);
  }
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
