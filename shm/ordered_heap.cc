#include "shm/ordered_heap.h"

#include <bit>

#include "shm/words.h"

namespace commonhold::shm {

bool OrderedHeap::before(Word a_priority, Word a_sequence, Word b_priority, Word b_sequence) const {
  if (mode_ == QueueMode::kLifo) return a_sequence > b_sequence;
  if (mode_ == QueueMode::kPriority && a_priority != b_priority) return a_priority < b_priority;
  return a_sequence < b_sequence;
}

const OrderedNode* OrderedHeap::node(Offset at) const {
  if (at % 16 != 0 || !segment_.holds(at, sizeof(OrderedNode))) return nullptr;
  return segment_.at<OrderedNode>(at);
}

Offset OrderedHeap::make_node(const OrderedNode& node) {
  if (made_count_ == kMost) return 0;
  Offset at = memory_.take(sizeof(OrderedNode));
  if (at == 0) return 0;
  write_words(segment_.at<std::byte>(at), &node, sizeof node);
  made_[made_count_++] = at;
  return at;
}

void OrderedHeap::undo() {
  for (int i = 0; i < made_count_; ++i) memory_.give(made_[i], sizeof(OrderedNode));
  made_count_ = replaced_count_ = 0;
}

void OrderedHeap::free_replaced() {
  for (int i = 0; i < replaced_count_; ++i) memory_.give(replaced_[i], sizeof(OrderedNode));
  made_count_ = replaced_count_ = 0;
}

Status OrderedHeap::merge(Offset a, Offset b, int depth, Offset& merged) {
  if (a == 0 || b == 0) {
    merged = a == 0 ? b : a;
    return Status::kOk;
  }
  const OrderedNode *first = node(a), *second = node(b);
  if (first == nullptr || second == nullptr || depth == kMost || replaced_count_ == kMost) return Status::kCorrupt;
  if (before(second->priority, second->sequence, first->priority, first->sequence)) {
    std::swap(a, b);
    std::swap(first, second);
  }
  OrderedNode copy = *first;
  replaced_[replaced_count_++] = a;
  Offset rest;
  Status status = merge(copy.right, b, depth + 1, rest);
  if (status != Status::kOk) return status;
  const OrderedNode *left = copy.left == 0 ? nullptr : node(copy.left), *right = node(rest);
  if (right == nullptr || (copy.left != 0 && left == nullptr)) return Status::kCorrupt;
  Word left_weight = left == nullptr ? 0 : left->weight;
  copy.weight = left_weight + right->weight + 1;
  copy.right = rest;
  if (left_weight < right->weight) std::swap(copy.left, copy.right);
  merged = make_node(copy);
  return merged != 0 ? Status::kOk : Status::kOutOfMemory;
}

Status OrderedHeap::merged(Offset a, Offset b, Offset& now) {
  Status status = merge(a, b, 0, now);
  if (status != Status::kOk) undo();
  return status;
}

Status OrderedHeap::with(Offset root, const OrderedNode& added, Offset& now) {
  Offset single = make_node(added);
  return single != 0 ? merged(root, single, now) : Status::kOutOfMemory;
}

Status OrderedHeap::without_first(Offset root, Offset& now) {
  const OrderedNode* first = node(root);
  if (first == nullptr) return Status::kCorrupt;
  replaced_[replaced_count_++] = root;
  Status status = merge(first->left, first->right, 0, now);
  if (status != Status::kOk) undo();
  return status;
}

// A take merges two heaps, which copies their right spines.
Status OrderedHeap::reserve_for_take(Offset root) {
  const OrderedNode* first = node(root);
  if (first == nullptr) return Status::kCorrupt;
  const auto spine = static_cast<std::uint64_t>(std::bit_width(first->weight));
  return memory_.reserve(sizeof(OrderedNode), 2 * spine) ? Status::kOk : Status::kOutOfMemory;
}

Offset OrderedHeap::make_box(Segment& segment, Heap& memory, const Item& item) {
  Offset box = memory.take(box_bytes_for(item.size), LateReaders::kNone);  // read under the queue's lock
  if (box == 0) return 0;
  store_word(segment.at<Word>(box), item_header(static_cast<std::uint8_t>(item.kind), item.size));
  write_words(segment.at<std::byte>(box + sizeof(Word)), item.data, item.size);
  return box;
}

bool OrderedHeap::find_box(const Segment& segment, Offset box, ItemKind& kind, Offset& bytes, std::uint64_t& size) {
  if (box % 16 != 0 || !segment.holds(box, sizeof(Word))) return false;
  Word header = load_word(segment.at<Word>(box));
  kind = static_cast<ItemKind>(header >> 56);
  size = item_size(header);
  bytes = box + sizeof(Word);
  return size <= kMaxItemBytes && segment.holds(bytes, round_up(size, 8));
}

void OrderedHeap::free_box(const Segment& segment, Heap& memory, Offset box) {
  ItemKind kind;
  Offset bytes;
  std::uint64_t size;
  if (find_box(segment, box, kind, bytes, size)) memory.give(box, box_bytes_for(size));
}

}  // namespace commonhold::shm
