#include "shm/ordered_bulk.h"

#include <algorithm>

#include "shm/words.h"

namespace commonhold::shm {

namespace {

constexpr Word kBuilt = Word{1} << 63;  // in a weight: the node is of the change that is being built
constexpr int kDeepest = 192;           // of two right spines, of any heap that fits into memory

template <typename T>
bool is_full(const std::vector<T>& list) {
  return list.size() == list.capacity();
}

Word weight_of(const OrderedNode* node) {
  return node == nullptr ? 0 : load_word(&node->weight) & ~kBuilt;
}

}  // namespace

void OrderedBulk::clear() {
  picks_.clear();
  open_.clear();
  made_.clear();
  replaced_.clear();
  returned_ = 0;
}

void OrderedBulk::make_room(std::uint64_t items) {
  auto grow = [&](auto& list) { list.reserve(std::max<std::size_t>({2 * list.capacity(), items + items / 2, 64})); };
  grow(picks_);
  grow(open_);
  grow(made_);
  grow(replaced_);
}

Status OrderedBulk::pick_returned(const Pick& pick) {
  if (is_full(picks_)) return Status::kRetry;
  picks_.push_back(pick);
  return Status::kOk;
}

void OrderedBulk::keep_returned(const OrderedHeap& order, std::uint64_t most) {
  std::sort(picks_.begin(), picks_.end(),
            [&](const Pick& a, const Pick& b) { return order.before(a.priority, a.sequence, b.priority, b.sequence); });
  if (picks_.size() > most) picks_.resize(most);
  returned_ = picks_.size();
}

Status OrderedBulk::open_node(const OrderedHeap& order, Offset at) {
  if (at == 0) return Status::kOk;
  const OrderedNode* node = order.node(at);
  if (node == nullptr) return Status::kCorrupt;
  if (is_full(open_)) return Status::kRetry;
  open_.push_back({load_word(&node->priority), load_word(&node->sequence), at});
  std::push_heap(open_.begin(), open_.end(), [&](const Open& a, const Open& b) {
    return order.before(b.priority, b.sequence, a.priority, a.sequence);
  });
  return Status::kOk;
}

Status OrderedBulk::pick_first(const OrderedHeap& order, const Segment& segment, Offset root, std::uint64_t most) {
  // A cycle, which damage may have made, ends here.
  const std::uint64_t nodes = segment.committed_extents() * (kExtent / sizeof(OrderedNode));
  Status status = open_node(order, root);
  for (std::uint64_t i = 0; i < most && status == Status::kOk && !open_.empty(); ++i) {
    if (i == nodes) return Status::kCorrupt;
    if (is_full(picks_) || is_full(replaced_)) return Status::kRetry;
    std::pop_heap(open_.begin(), open_.end(), [&](const Open& a, const Open& b) {
      return order.before(b.priority, b.sequence, a.priority, a.sequence);
    });
    const Open first = open_.back();
    open_.pop_back();
    const OrderedNode* node = order.node(first.at);
    if (node == nullptr) return Status::kCorrupt;
    picks_.push_back({first.priority, first.sequence, load_word(&node->box), nullptr});
    replaced_.push_back(first.at);
    status = open_node(order, load_word(&node->left));
    if (status == Status::kOk) status = open_node(order, load_word(&node->right));
  }
  return status;
}

Status OrderedBulk::merge(const Merge& with, Offset a, Offset b, int depth, Offset& merged) {
  if (a == 0 || b == 0) {
    merged = a == 0 ? b : a;
    return Status::kOk;
  }
  const OrderedNode *first = with.order.node(a), *second = with.order.node(b);
  if (first == nullptr || second == nullptr || depth == kDeepest) return Status::kCorrupt;
  if (with.order.before(second->priority, second->sequence, first->priority, first->sequence)) {
    std::swap(a, b);
    std::swap(first, second);
  }
  OrderedNode copy;
  read_words(&copy, first, sizeof copy);
  merged = a;
  if ((copy.weight & kBuilt) == 0) {
    if (is_full(made_) || is_full(replaced_)) return Status::kRetry;
    merged = with.memory.take(sizeof(OrderedNode));
    if (merged == 0) return Status::kOutOfMemory;
    made_.push_back(merged);
    replaced_.push_back(a);
  }
  Offset rest = 0;
  Status status = merge(with, copy.right, b, depth + 1, rest);
  if (status != Status::kOk) return status;
  const OrderedNode *left = copy.left == 0 ? nullptr : with.order.node(copy.left), *right = with.order.node(rest);
  if (right == nullptr || (copy.left != 0 && left == nullptr)) return Status::kCorrupt;
  copy.right = rest;
  if (weight_of(left) < weight_of(right)) std::swap(copy.left, copy.right);
  copy.weight = (weight_of(left) + weight_of(right) + 1) | kBuilt;
  write_words(with.segment.at<std::byte>(merged), &copy, sizeof copy);
  return Status::kOk;
}

Status OrderedBulk::merge_rest(const OrderedHeap& order, Segment& segment, Heap& memory, Offset& now) {
  const Merge with{order, segment, memory};
  const std::size_t picked = replaced_.size();
  now = 0;
  for (const Open& open : open_) {
    Status status = merge(with, now, open.at, 0, now);
    if (status == Status::kOk) continue;
    for (Offset node : made_) memory.give(node, sizeof(OrderedNode));
    made_.clear();
    replaced_.resize(picked);
    return status;
  }
  for (Offset at : made_) {
    auto* node = segment.at<OrderedNode>(at);
    store_word(&node->weight, load_word(&node->weight) & ~kBuilt);
  }
  return Status::kOk;
}

void OrderedBulk::free_replaced(Heap& memory) {
  for (Offset node : replaced_) memory.give(node, sizeof(OrderedNode));
  clear();
}

}  // namespace commonhold::shm
