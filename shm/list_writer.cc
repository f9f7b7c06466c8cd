#include "shm/list_writer.h"

#include "shm/planted_fault.h"

namespace commonhold::shm {

Status ListWriter::copy_out(Word cell, std::string* out, std::size_t& need) const {
  if (out == nullptr) return Status::kOk;
  if (!boxed_) {
    if (out->capacity() < sizeof(Word)) return need = sizeof(Word), Status::kRetry;
    out->assign(reinterpret_cast<const char*>(&cell), sizeof(Word));
    return Status::kOk;
  }
  Word header = 0;
  const AtomicWord* box = box_at(segment_, cell, header);
  if (box == nullptr) return Status::kCorrupt;
  const std::size_t size = header >> 8;
  if (out->capacity() < size) return need = size, Status::kRetry;
  out->resize(size);
  read_words(out->data(), box + 1, size);
  return Status::kOk;
}

bool ListWriter::equals(Word cell, const Item& value) const {
  if (!boxed_) {
    Word word = 0;
    if (value.size > sizeof(Word)) return false;
    if (value.size != 0) std::memcpy(&word, value.data, value.size);
    return cell == word;
  }
  Word header = 0;
  const AtomicWord* box = box_at(segment_, cell, header);
  return box != nullptr && header == (static_cast<Word>(value.kind) | static_cast<Word>(value.size) << 8) &&
         equal_words(box + 1, value.data, value.size);
}

AtomicWord* ListWriter::tail_room(std::uint64_t count) const {
  if (view_.tail == 0 || count > kLeafCells - view_.tail_count) return nullptr;
  ListNode* tail = list_node(segment_, view_.tail);
  return tail != nullptr ? tail->words + view_.tail_count : nullptr;
}

void ListWriter::grow_tail(std::uint64_t count) {
  raise_changes(control_);
  view_.tail_count += count;
  // SYNC POINT: list tail. The commit point of a push
  segment_.at<ListRoot>(view_.root)->tail_count.store(view_.tail_count, std::memory_order_release);
}

Status ListWriter::push_back(Word cell) {
  if (AtomicWord* room = tail_room(1); room != nullptr) [[likely]] {
    if (planted(PlantedFault::kStoresSwapped)) grow_tail(1);
    room->store(cell, std::memory_order_release);
    if (!planted(PlantedFault::kStoresSwapped)) grow_tail(1);
    return Status::kOk;
  }
  AtomicWord one(cell);
  WordRun cells;
  cells.add(&one, 1);
  ListScratch scratch(1);
  return replace(view_.size(), 0, cells, scratch);
}

Status ListWriter::pop_back(Word cell) {
  if (view_.tail_count != 0) [[likely]] {
    raise_changes(control_);
    --view_.tail_count;
    segment_.at<ListRoot>(view_.root)->tail_count.store(view_.tail_count, std::memory_order_release);
  } else {
    ListScratch scratch(1);
    ListEdit edit(me_, control_, heap_);
    ListView to;
    Status status = edit.unwrap_tail(view_, scratch, to);
    if (status != Status::kOk) return status;
    --to.tail_count;
    status = edit.commit(view_, to, false);
    if (status != Status::kOk) return status;
    view_ = to;
  }
  retire_cell(cell);
  if (view_.size() == 0) [[unlikely]]
    trim_if_empty();
  return Status::kOk;
}

bool ListWriter::spares_are_of_class(std::uint64_t bytes) {
  const std::uint64_t size = Heap::block_size(bytes);
  return size == Heap::block_size(sizeof(ListNode)) || size == Heap::block_size(sizeof(ListRoot));
}

bool ListWriter::keep_spares(const ListView& view) {
  // A level of the tree is repacked from at most three of its nodes. Besides, a copy of the tail and the root record.
  const std::uint64_t nodes = view.tree != 0 ? 3 * (view.height + 1) + 1 : 2;
  const auto kept = [&] { return heap_.reserve(sizeof(ListNode), nodes) && heap_.reserve(sizeof(ListRoot), 2); };
  if (kept()) return true;
  heap_.recycle();  // what is parked may be what is missing
  return kept();
}

Status ListWriter::replace(std::uint64_t first, std::uint64_t count, const WordRun& cells, ListScratch& scratch,
                           bool drop_boxes) {
  ListEdit edit(me_, control_, heap_);
  ListView to;
  Status status = edit.replace(view_, first, count, cells, scratch, to);
  if (status == Status::kOk && cells.total() > count && !keep_spares(to)) status = Status::kOutOfMemory;
  if (status == Status::kOk) status = edit.commit(view_, to, drop_boxes && boxed_);
  if (status == Status::kOk) view_ = to;
  if (status == Status::kOk && view_.size() == 0) trim_if_empty();
  return status;
}

}  // namespace commonhold::shm
