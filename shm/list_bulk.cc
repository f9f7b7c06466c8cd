// The operations on many elements of a list: memory is got first, then everything happens in one turn.
#include "shm/idle_memory.h"
#include "shm/large_read.h"
#include "shm/list_writer.h"
#include "shm/read_undisturbed.h"

namespace commonhold::shm {
namespace {

constexpr std::uint64_t kEnd = ~std::uint64_t{0};
constexpr int kUndisturbedTries = 4;
constexpr std::uint64_t kFreedOneByOne = 1000;  // longer lists free their memory as a whole

const AtomicWord* words_of(const std::vector<Word>& cells) {
  return reinterpret_cast<const AtomicWord*>(cells.data());
}

// Calls visit(cell word) for each cell of the range until it returns another status than kOk.
template <typename Visit>
Status visit_cells(const Segment& segment, const ListView& view, std::uint64_t first, std::uint64_t count,
                   const Undisturbed& undisturbed, Visit&& visit) {
  while (count != 0) {
    AtomicWord* cells;
    std::uint64_t here;
    Status status = find_cells(segment, view, first, cells, here, undisturbed);
    if (status != Status::kOk) return status;
    if (here > count) here = count;
    for (std::uint64_t i = 0; i < here; ++i) {
      status = visit(cells[i].load(std::memory_order_acquire));  // SYNC POINT: list cell
      if (status != Status::kOk) return status;
    }
    first += here;
    count -= here;
  }
  return Status::kOk;
}

// Makes a cell for each value; on failure gives all back.
Status make_cells(ListWriter& list, std::span<const Item> values, std::vector<Word>& cells) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    Status status = list.make_cell(values[i], cells[i]);
    if (status == Status::kOk) continue;
    while (i-- != 0) list.give_cell(cells[i]);
    return status;
  }
  return Status::kOk;
}

Status put_cells(ListWriter& list, std::uint64_t first, std::uint64_t count, const std::vector<Word>& cells,
                 ListScratch& scratch) {
  bool at_end = first == list.view().size();
  if (AtomicWord* room = at_end ? list.tail_room(cells.size()) : nullptr; room != nullptr) {
    for (std::size_t i = 0; i < cells.size(); ++i) room[i].store(cells[i], std::memory_order_release);
    list.grow_tail(cells.size());
    return Status::kOk;
  }
  WordRun run;
  run.add(words_of(cells), cells.size());
  return list.replace(first, count, run, scratch);
}

}  // namespace

Status List::change_range(ThreadContext& me, std::uint64_t first, std::uint64_t count, std::span<const Item> values,
                          const std::uint64_t* if_changes) {
  for (const Item& value : values) {
    if (value.size > kMaxItemBytes) return Status::kTooLarge;
  }
  std::vector<Word> cells(values.size());
  ListScratch scratch(values.size());
  ListWriter list(me, where_);
  if (list.status() != Status::kOk) return list.status();
  if (if_changes != nullptr && *if_changes != list.changes()) return Status::kMismatch;
  std::uint64_t size = list.view().size();
  if (first == kEnd) first = size;
  if (first > size) return Status::kOutOfRange;
  if (count > size - first) count = size - first;
  if (count == 0 && values.empty()) return Status::kOk;
  Status status = make_cells(list, values, cells);
  if (status != Status::kOk) return status;
  status = put_cells(list, first, count, cells, scratch);
  if (status != Status::kOk) {
    for (Word cell : cells) list.give_cell(cell);
  }
  return status;
}

Status List::extend(ThreadContext& me, std::span<const Item> values) {
  return with_idle_memory(*this, me, [&] { return change_range(me, kEnd, 0, values, nullptr); });
}

Status List::replace(ThreadContext& me, std::uint64_t first, std::uint64_t count, std::span<const Item> values) {
  if (first == kEnd) return Status::kOutOfRange;
  return with_idle_memory(*this, me, [&] { return change_range(me, first, count, values, nullptr); });
}

Status List::assign_if_unchanged(ThreadContext& me, std::uint64_t changes, std::span<const Item> values) {
  return with_idle_memory(*this, me, [&] { return change_range(me, 0, kEnd, values, &changes); });
}

Status List::clear(ThreadContext& me) {
  ListScratch scratch(0);
  ListWriter list(me, where_);
  if (list.status() != Status::kOk) return list.status();
  if (list.view().size() < kFreedOneByOne) return list.replace(0, list.view().size(), WordRun(), scratch);
  list.clear();
  return Status::kOk;
}

Status List::reverse(ThreadContext& me) {
  std::vector<Word> cells;
  for (;;) {
    cells.resize(size() + 16);
    ListScratch scratch(cells.size());
    ListWriter list(me, where_);
    if (list.status() != Status::kOk) return list.status();
    std::uint64_t count = list.view().size();
    if (count > cells.size()) continue;
    std::uint64_t at = count;
    Status status = visit_cells(*segment_, list.view(), 0, count, {}, [&](Word cell) {
      cells[--at] = cell;
      return Status::kOk;
    });
    if (status != Status::kOk || count == 0) return status;
    WordRun run;
    run.add(words_of(cells), count);
    return list.replace(0, count, run, scratch, false);
  }
}

// What a snapshot copies before it makes anything of it: words, or {header, bytes padded to words} for each element.
struct List::Copy {
  std::vector<Word> words;
  std::uint64_t need = 0;  // words; more than there is room for: again
  std::uint64_t elements = 0;
};

// kRetry: a change came between. Never throws.
Status List::copy_undisturbed(std::uint64_t first, std::uint64_t count, Copy& copy) const {
  const bool boxed = control_->boxed != 0;
  const Word recycled = control_->recycle.load(std::memory_order_acquire);  // SYNC POINT: list blocks used again
  const Word changed = control_->changes.load(std::memory_order_acquire);   // SYNC POINT: list changes
  const auto undisturbed = [&] {
    return control_->recycle.load(std::memory_order_relaxed) == recycled &&
           control_->changes.load(std::memory_order_relaxed) == changed;
  };
  ListView view;
  Status status = read_view(*segment_, *control_, view);
  const std::uint64_t all = view.size();
  copy.elements = status == Status::kOk && first < all ? (all - first < count ? all - first : count) : 0;
  copy.need = 0;
  const std::uint64_t most = segment_->committed_extents() * (kExtent / sizeof(Word));
  if (status == Status::kOk) {
    status = visit_cells(*segment_, view, first, copy.elements, {&control_->recycle, recycled}, [&](Word cell) {
      if (!boxed) {
        if (copy.need < copy.words.size()) copy.words[copy.need] = cell;
        ++copy.need;
        return Status::kOk;
      }
      if (!undisturbed()) return Status::kRetry;  // else the cell is one that was written
      Word header = 0;
      const AtomicWord* box = box_at(*segment_, cell, header);
      if (box == nullptr) return Status::kCorrupt;
      if (!undisturbed()) return Status::kRetry;  // else the header is one that was written
      const std::uint64_t bytes = header >> 8, words = round_up(bytes, 8) / 8;
      if (copy.need + 1 + words <= copy.words.size()) {
        copy.words[copy.need] = header;
        read_words(copy.words.data() + copy.need + 1, box + 1, bytes);
      }
      copy.need += 1 + words;
      return copy.need <= most ? Status::kOk : Status::kCorrupt;
    });
  }
  return undisturbed() ? status : Status::kRetry;
}

Status List::copy_elements(ThreadContext& me, std::uint64_t first, std::uint64_t count, Copy& copy,
                           std::uint64_t* changes) const {
  const LargeRead announced(*segment_);
  const std::uint64_t now = size();
  copy.need = first < now ? (now - first < count ? now - first : count) : 0;
  for (;;) {
    if (copy.need > copy.words.size() || copy.words.empty()) copy.words.resize(copy.need + copy.need / 8 + 16);
    Status status;
    if (changes == nullptr) {
      status = read_undisturbed(me, control_->writing, kUndisturbedTries,
                                [&] { return copy_undisturbed(first, count, copy); });
    } else {
      // A caller that will change it all needs the lock anyway, and no writer may be between raising `changes` and its
      // commit.
      HeldLock held(me, control_->writing);
      status = copy_undisturbed(first, count, copy);
      *changes = control_->changes.load(std::memory_order_relaxed);
    }
    if (status != Status::kOk || copy.need <= copy.words.size()) return status;
  }
}

Status List::snapshot(ThreadContext& me, std::uint64_t first, std::uint64_t count, std::vector<std::string>& values,
                      std::uint64_t* changes, std::vector<ItemKind>* kinds) const {
  const bool boxed = control_->boxed != 0;
  Copy copy;
  Status status = copy_elements(me, first, count, copy, changes);
  if (status != Status::kOk) return status;
  values.clear();
  values.reserve(copy.elements);
  if (kinds != nullptr) kinds->clear();
  const Word* at = copy.words.data();
  for (std::uint64_t i = 0; i < copy.elements; ++i) {
    Word header = boxed ? *at++ : static_cast<Word>(ItemKind::kInt64) | sizeof(Word) << 8;
    std::uint64_t bytes = header >> 8;
    if (kinds != nullptr) kinds->push_back(static_cast<ItemKind>(header & 0xff));
    values.emplace_back(reinterpret_cast<const char*>(at), bytes);
    at += round_up(bytes, 8) / 8;
  }
  return Status::kOk;
}

}  // namespace commonhold::shm
