#include "shm/list.h"

#include <chrono>
#include <optional>

#include "shm/idle_memory.h"
#include "shm/large_read.h"
#include "shm/list_writer.h"

namespace commonhold::shm {
namespace {

constexpr int kUndisturbedTries = 16;
constexpr std::chrono::milliseconds kReaderTriesLock{1};

// One element's cell before it becomes part of the list: given back unless kept.
class NewCell {
 public:
  NewCell(ListWriter& list, const Item& value) : list_(list), status_(list.make_cell(value, cell_)) {}
  ~NewCell() {
    if (status_ == Status::kOk && !kept_) list_.give_cell(cell_);
  }
  NewCell(const NewCell&) = delete;
  NewCell& operator=(const NewCell&) = delete;
  Status status() const { return status_; }
  Word word() const { return cell_; }
  Status keep_if(Status done) {
    kept_ = done == Status::kOk;
    return done;
  }

 private:
  ListWriter& list_;
  Word cell_ = 0;
  Status status_;
  bool kept_ = false;
};

// Runs change(list, need) in a writer's turn, again with more room in `out` as long as it asks for it.
template <typename Change>
Status with_room(ThreadContext& me, const ObjectAddress& where, std::string* out, Change&& change) {
  for (;;) {
    std::size_t need = 0;
    Status status;
    {
      ListWriter list(me, where);
      status = list.status() == Status::kOk ? change(list, need) : list.status();
    }
    if (status != Status::kRetry) return status;
    out->reserve(need);
  }
}

Status erase_at(ListWriter& list, std::uint64_t index) {
  ListScratch scratch(1);
  return list.replace(index, 1, WordRun(), scratch);
}

Status insert_at(ListWriter& list, std::uint64_t index, const Item& value) {
  index = from_front(index, list.view().size());
  if (index > list.view().size()) return Status::kOutOfRange;
  NewCell made(list, value);
  if (made.status() != Status::kOk) return made.status();
  if (index == list.view().size()) return made.keep_if(list.push_back(made.word()));
  AtomicWord cell(made.word());
  WordRun cells;
  cells.add(&cell, 1);
  ListScratch scratch(1);
  return made.keep_if(list.replace(index, 0, cells, scratch));
}

}  // namespace

List::List(const ObjectAddress& where)
    : where_(where), segment_(where.segment), control_(where.segment->at<ListControl>(where.control)) {}

// ---- readers

std::uint64_t List::size() const {
  for (;;) {
    Word recycled = control_->recycle.load(std::memory_order_acquire);  // SYNC POINT: list blocks used again
    ListView view;
    Status status = read_view(*segment_, *control_, view);
    bool disturbed = control_->recycle.load(std::memory_order_relaxed) != recycled;
    if (!disturbed) return status == Status::kOk ? view.size() : 0;
  }
}

// Calls take(cell word, recycle counter) for the element's cell as it stood at one moment. kRetry, also when take says
// so: a writer came between.
template <typename Take>
Status List::read_cell(std::uint64_t index, Take&& take) const {
  Word recycled = control_->recycle.load(std::memory_order_acquire);  // SYNC POINT: list blocks used again
  ListView view;
  Status status = read_view(*segment_, *control_, view);
  Word cell = 0;
  const bool from_end = counts_from_end(index);
  if (status == Status::kOk) {
    index = from_front(index, view.size());
    if (index >= view.size()) status = Status::kOutOfRange;
  }
  if (status == Status::kOk) {
    AtomicWord* cells;
    std::uint64_t rest;
    status = find_cells(*segment_, view, index, cells, rest, {&control_->recycle, recycled});
    if (status == Status::kOk) cell = cells->load(std::memory_order_acquire);  // SYNC POINT: list cell
  }
  // The root record and nodes were those in force when the cell was read, unless one of these moved meanwhile.
  if (control_->root.load(std::memory_order_acquire) != view.root) return Status::kRetry;
  if (view.root != 0 && (status == Status::kOk || status == Status::kOutOfRange) &&
      (from_end || (status == Status::kOk && index >= view.tree_count))) {
    const Word tail = segment_->at<ListRoot>(view.root)->tail_count.load(std::memory_order_acquire);
    // The element went meanwhile; or the end, from which was counted, was elsewhere.
    if (from_end ? tail != view.tail_count : tail <= index - view.tree_count) return Status::kRetry;
  }
  if (control_->recycle.load(std::memory_order_relaxed) != recycled) return Status::kRetry;
  return status == Status::kOk ? take(cell, recycled) : status;
}

Status List::get(std::uint64_t index, Sink value) const {
  std::optional<LargeRead> announced;
  for (;;) {
    bool large = false;
    Status status = get_undisturbed(index, value, announced ? nullptr : &large);
    if (large) {  // looked up again by a reader who has said that it reads one
      announced.emplace(*segment_);
      continue;
    }
    if (status == Status::kRetry) status = get_locked(index, value);
    if (status != Status::kRetry) return status;
  }
}

// Sets *large, and copies nothing, for a large element.
Status List::get_undisturbed(std::uint64_t index, Sink value, bool* large) const {
  bool boxed = control_->boxed != 0;
  for (int i = 0; i < kUndisturbedTries; ++i) {
    Status status = read_cell(index, [&](Word cell, Word recycled) {
      auto undisturbed = [&] { return control_->recycle.load(std::memory_order_relaxed) == recycled; };
      if (!boxed) {
        void* room = value.room(value.context, ItemKind::kInt64, sizeof(Word));
        if (room != nullptr) std::memcpy(room, &cell, sizeof(Word));
        return Status::kOk;
      }
      Word header = 0;
      const AtomicWord* box = box_at(*segment_, cell, header);
      if (!undisturbed()) return Status::kRetry;  // else the header is one that was written
      if (box == nullptr) return Status::kCorrupt;
      if (large != nullptr) *large = is_large_block(kBoxHeader + (header >> 8));
      if (large != nullptr && *large) return Status::kOk;
      void* room = value.room(value.context, static_cast<ItemKind>(header & 0xff), header >> 8);
      if (room != nullptr) read_words(room, box + 1, header >> 8);
      return undisturbed() ? Status::kOk : Status::kRetry;
    });
    if (status != Status::kRetry) return status;
  }
  return Status::kRetry;
}

Status List::get_fixed(std::uint64_t index, void* value, std::size_t bytes) const {
  struct Target {
    void* value;
    std::size_t bytes;
    bool fits;
  } target{value, bytes, true};
  Sink sink{&target, [](void* context, ItemKind, std::size_t size) -> void* {
              auto* to = static_cast<Target*>(context);
              to->fits = size == to->bytes;
              return to->fits ? to->value : nullptr;
            }};
  bool boxed = control_->boxed != 0;
  if (!boxed && bytes == sizeof(Word)) {
    for (int i = 0; i < kUndisturbedTries; ++i) {
      Status status = read_cell(index, [&](Word cell, Word) {
        std::memcpy(value, &cell, sizeof(Word));
        return Status::kOk;
      });
      if (status != Status::kRetry) return status;
    }
  }
  Status status = get(index, sink);
  return status == Status::kOk && !target.fits ? Status::kMismatch : status;
}

// Under the lock, for a reader that was disturbed too often. `room` is called without it. kRetry: it was not got within
// a moment. Then its holder may be stopped, and disturbs nobody.
Status List::get_locked(std::uint64_t index, Sink value) const {
  ThreadContext* me = segment_->here();
  if (me == nullptr) {
    Status why = segment_->join_failure();
    return why != Status::kOk ? why : Status::kTooMany;
  }
  void* room = nullptr;
  Word header = 0;  // that `room` was made for
  for (bool asked = false;; asked = true) {
    {
      ListWriter list(*me, where_, Deadline::after(kReaderTriesLock));
      AtomicWord* cell;
      Status status = list.status();
      if (status == Status::kTimedOut) return Status::kRetry;
      if (status == Status::kOk) status = list.cell_at(index, cell);
      if (status != Status::kOk) return status;
      Word word = cell->load(std::memory_order_relaxed);
      Word now = static_cast<Word>(ItemKind::kInt64) | sizeof(Word) << 8;
      const AtomicWord* box = list.boxed() ? box_at(*segment_, word, now) : nullptr;
      if (list.boxed() && box == nullptr) return Status::kCorrupt;
      if (asked && now == header) {
        if (room != nullptr && box != nullptr) read_words(room, box + 1, now >> 8);
        if (room != nullptr && box == nullptr) std::memcpy(room, &word, sizeof(Word));
        return Status::kOk;
      }
      header = now;
    }
    room = value.room(value.context, static_cast<ItemKind>(header & 0xff), header >> 8);
  }
}

// ---- one element

Status List::set(ThreadContext& me, std::uint64_t index, const Item& value, std::string* before) {
  if (value.size > kMaxItemBytes) return Status::kTooLarge;
  return with_idle_memory(*this, me, [&] {
    return with_room(me, where_, before, [&](ListWriter& list, std::size_t& need) {
      AtomicWord* cell;
      Status status = list.cell_at(index, cell);
      if (status == Status::kOk) status = list.copy_out(cell->load(std::memory_order_relaxed), before, need);
      if (status != Status::kOk) return status;
      NewCell made(list, value);
      if (made.status() == Status::kOk) list.overwrite(*cell, made.word());
      return made.keep_if(made.status());
    });
  });
}

Status List::change_word(ThreadContext& me, std::uint64_t index, WordChange change, Word operand, Word* before) {
  ListWriter list(me, where_);
  if (list.status() != Status::kOk) return list.status();
  if (list.boxed()) return Status::kMismatch;
  AtomicWord* cell;
  Status status = list.cell_at(index, cell);
  if (status != Status::kOk) return status;
  Word now = cell->load(std::memory_order_relaxed);
  if (before != nullptr) *before = now;
  list.overwrite(*cell, change(now, operand));
  return Status::kOk;
}

Status List::compare_exchange(ThreadContext& me, std::uint64_t index, const Item& expected, const Item& desired,
                              std::string* actual) {
  if (desired.size > kMaxItemBytes) return Status::kTooLarge;
  return with_idle_memory(*this, me, [&] {
    return with_room(me, where_, actual, [&](ListWriter& list, std::size_t& need) {
      AtomicWord* cell;
      Status status = list.cell_at(index, cell);
      if (status != Status::kOk) return status;
      Word now = cell->load(std::memory_order_relaxed);
      if (!list.equals(now, expected)) {
        status = list.copy_out(now, actual, need);
        return status == Status::kOk ? Status::kMismatch : status;
      }
      NewCell made(list, desired);
      if (made.status() == Status::kOk) list.overwrite(*cell, made.word());
      return made.keep_if(made.status());
    });
  });
}

Status List::push_back(ThreadContext& me, const Item& value) {
  if (value.size > kMaxItemBytes) return Status::kTooLarge;
  return with_idle_memory(*this, me, [&] {
    ListWriter list(me, where_);
    if (list.status() != Status::kOk) return list.status();
    NewCell made(list, value);
    return made.status() == Status::kOk ? made.keep_if(list.push_back(made.word())) : made.status();
  });
}

Status List::push_front(ThreadContext& me, const Item& value) {
  return insert(me, 0, value);
}

Status List::insert(ThreadContext& me, std::uint64_t index, const Item& value) {
  if (value.size > kMaxItemBytes) return Status::kTooLarge;
  return with_idle_memory(*this, me, [&] {
    ListWriter list(me, where_);
    return list.status() == Status::kOk ? insert_at(list, index, value) : list.status();
  });
}

Status List::pop_back(ThreadContext& me, std::string& popped) {
  return with_idle_memory(*this, me, [&] {
    return with_room(me, where_, &popped, [&](ListWriter& list, std::size_t& need) {
      if (list.view().size() == 0) return Status::kNotFound;
      AtomicWord* at;
      Status status = list.cell_at(list.view().size() - 1, at);
      if (status != Status::kOk) return status;
      Word cell = at->load(std::memory_order_relaxed);
      status = list.copy_out(cell, &popped, need);
      return status == Status::kOk ? list.pop_back(cell) : status;
    });
  });
}

Status List::pop_front(ThreadContext& me, std::string& popped) {
  Status status = erase(me, 0, &popped);
  return status == Status::kOutOfRange ? Status::kNotFound : status;
}

Status List::erase(ThreadContext& me, std::uint64_t index, std::string* erased) {
  return with_idle_memory(*this, me, [&] {
    return with_room(me, where_, erased, [&](ListWriter& list, std::size_t& need) {
      AtomicWord* at;
      Status status = list.cell_at(index, at);
      if (status != Status::kOk) return status;
      Word cell = at->load(std::memory_order_relaxed);
      status = list.copy_out(cell, erased, need);
      if (status != Status::kOk) return status;
      const std::uint64_t place = from_front(index, list.view().size());
      return place + 1 == list.view().size() ? list.pop_back(cell) : erase_at(list, place);
    });
  });
}

Status List::pop_back_if_equal(ThreadContext& me, const Item& expected) {
  ListWriter list(me, where_);
  if (list.status() != Status::kOk) return list.status();
  if (list.view().size() == 0) return Status::kNotFound;
  AtomicWord* at;
  Status status = list.cell_at(list.view().size() - 1, at);
  if (status != Status::kOk) return status;
  Word cell = at->load(std::memory_order_relaxed);
  return list.equals(cell, expected) ? list.pop_back(cell) : Status::kMismatch;
}

Status List::erase_if_equal(ThreadContext& me, std::uint64_t index, const Item& expected) {
  ListWriter list(me, where_);
  if (list.status() != Status::kOk) return list.status();
  AtomicWord* at;
  Status status = list.cell_at(index, at);
  if (status != Status::kOk) return status;
  Word cell = at->load(std::memory_order_relaxed);
  if (!list.equals(cell, expected)) return Status::kMismatch;
  index = from_front(index, list.view().size());
  return index + 1 == list.view().size() ? list.pop_back(cell) : erase_at(list, index);
}

}  // namespace commonhold::shm
