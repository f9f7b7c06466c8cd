#include "shm/list_tree.h"

#include "shm/segment.h"

namespace commonhold::shm {
namespace {

constexpr std::uint64_t unit_words(std::uint64_t level) {
  return level == 0 ? 1 : 2;
}
constexpr std::uint64_t capacity(std::uint64_t level) {
  return level == 0 ? kLeafCells : kInnerPairs;
}

Word relaxed(const AtomicWord& word) {
  return word.load(std::memory_order_relaxed);
}

}  // namespace

// ---- WordRun and ListScratch

void WordRun::add_front(const AtomicWord* at, std::uint64_t count) {
  for (int i = used_; i > 0; --i) pieces_[i] = pieces_[i - 1];
  pieces_[0] = {at, count};
  ++used_;
  total_ += count;
}

void WordRun::add(const WordRun& other, std::uint64_t from, std::uint64_t count) {
  for (int i = 0; i < other.used_ && count != 0; ++i) {
    const Piece& piece = other.pieces_[i];
    if (from >= piece.count) {
      from -= piece.count;
      continue;
    }
    std::uint64_t now = piece.count - from < count ? piece.count - from : count;
    add(piece.at + from, now);
    from = 0;
    count -= now;
  }
}

void WordRun::copy(std::uint64_t from, std::uint64_t count, AtomicWord* to) const {
  for (int i = 0; i < used_ && count != 0; ++i) {
    const Piece& piece = pieces_[i];
    if (from >= piece.count) {
      from -= piece.count;
      continue;
    }
    std::uint64_t now = piece.count - from < count ? piece.count - from : count;
    for (std::uint64_t j = 0; j < now; ++j) to[j].store(relaxed(piece.at[from + j]), std::memory_order_release);
    to += now;
    from = 0;
    count -= now;
  }
}

// The cells that a change brings, the rests of two leaves and a tail between which they go, at most two neighbours.
ListScratch::ListScratch(std::uint64_t cells) : most_nodes_(cells / kLeafCells + kSmall) {
  if (cells <= 1) {
    most_nodes_ = kSmall;
    pairs_[0] = small_[0];
    pairs_[1] = small_[1];
  } else {
    large_.resize(4 * most_nodes_);
    pairs_[0] = reinterpret_cast<AtomicWord*>(large_.data());
    pairs_[1] = pairs_[0] + 2 * most_nodes_;
  }
}

// ---- ListEdit

// The borders of the range to replace, level by level, and what stays on both sides of it.
struct ListEdit::Splice {
  enum class Fill { kLeft, kRight, kEven };  // where nodes are full: growth at one end leaves full nodes behind

  int height = -1;  // of the old tree; -1: none
  Path left, right;
  std::uint64_t left_keep[kMaxListHeight + 1] = {};   // the first so many cells or pairs of left[level] stay
  std::uint64_t right_from[kMaxListHeight + 1] = {};  // those of right[level] from here on stay
  Fill fill = Fill::kLeft;

  bool anything_above(int level) const {
    for (int i = level + 1; i <= height; ++i) {
      if (left_keep[i] != 0 || right_from[i] < right[i].used) return true;
    }
    return false;
  }
};

ListEdit::~ListEdit() {
  // As many as were made: garbage may have turned the chain into a ring, or led it elsewhere.
  for (; made_ != 0 && nodes_made_ != 0; --nodes_made_) {
    const ListNode* node = list_node(me_.segment(), made_);
    if (node == nullptr) return;
    const Offset at = made_;
    made_ = relaxed(node->link);
    heap_.give(at, sizeof(ListNode));
  }
}

Offset ListEdit::make_node(const WordRun& run, std::uint64_t from, std::uint64_t count) {
  Offset at = heap_.take(sizeof(ListNode));
  if (at == 0) return 0;
  auto* node = me_.segment().at<ListNode>(at);
  node->link.store(made_, std::memory_order_release);
  made_ = at;
  ++nodes_made_;
  node->used.store(count / 2, std::memory_order_release);
  run.copy(from, count, node->words);
  return at;
}

void ListEdit::replaced(Offset at, ListNode* node) {
  node->link.store(replaced_, std::memory_order_relaxed);
  replaced_ = at;
  ++chained_;
}

void ListEdit::replaced_leaf(Offset at, ListNode* leaf, std::uint64_t dropped_from, std::uint64_t dropped_to) {
  leaf->used.store(dropped_from | dropped_to << 32, std::memory_order_relaxed);
  leaf->link.store(replaced_leaves_, std::memory_order_relaxed);
  replaced_leaves_ = at;
  ++chained_;
}

Status ListEdit::descend(const ListView& from, std::uint64_t index, Path& path) const {
  Offset at = from.tree;
  std::uint64_t count = from.tree_count;
  for (int level = static_cast<int>(from.height);; --level) {
    ListNode* node = list_node(me_.segment(), at);
    if (node == nullptr) return Status::kCorrupt;
    if (level == 0) {
      if (count > kLeafCells || index >= count) return Status::kCorrupt;
      path[0] = {at, node, count, index};
      return Status::kOk;
    }
    std::uint64_t used = relaxed(node->used), i = 0;
    if (used > kInnerPairs) return Status::kCorrupt;
    while (i < used && index >= relaxed(node->words[2 * i + 1])) index -= relaxed(node->words[2 * i++ + 1]);
    if (i == used) return Status::kCorrupt;
    path[level] = {at, node, used, i};
    at = relaxed(node->words[2 * i]);
    count = relaxed(node->words[2 * i + 1]);
  }
}

Status ListEdit::drop_subtree(Offset at, std::uint64_t level, std::uint64_t count) {
  ListNode* node = list_node(me_.segment(), at);
  if (node == nullptr || chained_ > most_list_nodes(me_.segment())) return Status::kCorrupt;
  if (level == 0) {
    if (count > kLeafCells) return Status::kCorrupt;
    replaced_leaf(at, node, 0, count);
    return Status::kOk;
  }
  std::uint64_t used = relaxed(node->used);
  if (used > kInnerPairs) return Status::kCorrupt;
  for (std::uint64_t i = 0; i < used; ++i) {
    Status status = drop_subtree(relaxed(node->words[2 * i]), level - 1, relaxed(node->words[2 * i + 1]));
    if (status != Status::kOk) return status;
  }
  replaced(at, node);
  return Status::kOk;
}

// Notes every old node that the new tree will not have: both paths and what lies between them.
Status ListEdit::drop_between(Splice& edit) {
  const Step &leaf = edit.left[0], &last_leaf = edit.right[0];
  if (leaf.at == last_leaf.at) {
    replaced_leaf(leaf.at, leaf.node, edit.left_keep[0], edit.right_from[0]);
  } else {
    replaced_leaf(leaf.at, leaf.node, edit.left_keep[0], leaf.used);
    replaced_leaf(last_leaf.at, last_leaf.node, 0, edit.right_from[0]);
  }
  for (int level = 1; level <= edit.height; ++level) {
    const Step &left = edit.left[level], &right = edit.right[level];
    auto drop = [&](const Step& step, std::uint64_t from, std::uint64_t to) {
      for (std::uint64_t i = from; i < to; ++i) {
        Status status = drop_subtree(relaxed(step.node->words[2 * i]), level - 1, relaxed(step.node->words[2 * i + 1]));
        if (status != Status::kOk) return status;
      }
      replaced(step.at, step.node);
      return Status::kOk;
    };
    bool one = left.at == right.at;
    Status status = drop(left, left.index + 1, one ? right.index : left.used);
    if (status == Status::kOk && !one) status = drop(right, 0, right.index);
    if (status != Status::kOk) return status;
    edit.left_keep[level] = left.index;
    edit.right_from[level] = right.index + 1;
  }
  return Status::kOk;
}

// A node that would be small takes a small neighbour of the same parent in, so that erasing leaves no crumbs.
Status ListEdit::take_in_neighbour(Splice& edit, int level, WordRun& run) {
  if (level >= edit.height) return Status::kOk;
  std::uint64_t unit = unit_words(level), have = run.total() / unit, most = capacity(level) * 2 / 3;
  if (have == 0 || have >= most) return Status::kOk;
  const Step &left = edit.left[level + 1], &right = edit.right[level + 1];
  auto take_in = [&](const Step& parent, std::uint64_t i, bool front, bool& taken) {
    Offset at = relaxed(parent.node->words[2 * i]);
    ListNode* node = list_node(me_.segment(), at);
    if (node == nullptr) return Status::kCorrupt;
    std::uint64_t used = level == 0 ? relaxed(parent.node->words[2 * i + 1]) : relaxed(node->used);
    if (used > capacity(level)) return Status::kCorrupt;
    taken = have + used <= most;
    if (!taken) return Status::kOk;
    front ? run.add_front(node->words, used * unit) : run.add(node->words, used * unit);
    level == 0 ? replaced_leaf(at, node, 0, 0) : replaced(at, node);
    return Status::kOk;
  };
  bool taken = false;
  if (edit.left_keep[level + 1] != 0) {
    Status status = take_in(left, edit.left_keep[level + 1] - 1, true, taken);
    if (taken) --edit.left_keep[level + 1];
    if (status != Status::kOk || taken) return status;
  }
  if (edit.right_from[level + 1] < right.used) {
    Status status = take_in(right, edit.right_from[level + 1], false, taken);
    if (taken) ++edit.right_from[level + 1];
    return status;
  }
  return Status::kOk;
}

// Makes the nodes of one level from `run` and lists them in `pairs`.
Status ListEdit::pack(Splice& edit, int level, const WordRun& run, AtomicWord* pairs, std::uint64_t& nodes) {
  std::uint64_t unit = unit_words(level), full = capacity(level), all = run.total() / unit, from = 0;
  std::uint64_t count = (all + full - 1) / full;
  if (count > nodes) return Status::kCorrupt;
  nodes = count;
  for (std::uint64_t i = 0; i < nodes; ++i) {
    std::uint64_t size = full, rest = all - full * (nodes - 1);
    if (edit.fill == Splice::Fill::kLeft && i == nodes - 1) size = rest;
    if (edit.fill == Splice::Fill::kRight && i == 0) size = rest;
    if (edit.fill == Splice::Fill::kEven) size = all / nodes + (i < all % nodes ? 1 : 0);
    Offset at = make_node(run, from * unit, size * unit);
    if (at == 0) return Status::kOutOfMemory;
    std::uint64_t elements = size;
    if (level != 0) {
      const ListNode* node = me_.segment().at<ListNode>(at);
      elements = 0;
      for (std::uint64_t j = 0; j < size; ++j) elements += relaxed(node->words[2 * j + 1]);
    }
    pairs[2 * i].store(at, std::memory_order_relaxed);
    pairs[2 * i + 1].store(elements, std::memory_order_relaxed);
    from += size;
  }
  return Status::kOk;
}

// Replaces a range of the tree, level by level: what stays left of it, the new nodes of the level below (at level 0 the
// new cells), what stays right of it.
Status ListEdit::splice(const ListView& from, std::uint64_t first, std::uint64_t count, const WordRun& cells,
                        ListScratch& scratch, ListView& to) {
  Splice edit;
  if (from.tree != 0) {
    edit.height = static_cast<int>(from.height);
    Status status = descend(from, count == 0 && first != 0 ? first - 1 : first, edit.left);
    if (status != Status::kOk) return status;
    edit.left_keep[0] = edit.left[0].index + (count == 0 && first != 0 ? 1 : 0);
    if (count == 0) {
      for (int level = 0; level <= edit.height; ++level) edit.right[level] = edit.left[level];
      edit.right_from[0] = edit.left_keep[0];
    } else {
      status = descend(from, first + count - 1, edit.right);
      if (status != Status::kOk) return status;
      edit.right_from[0] = edit.right[0].index + 1;
    }
    status = drop_between(edit);
    if (status != Status::kOk) return status;
    if (first + count != from.tree_count) edit.fill = first == 0 ? Splice::Fill::kRight : Splice::Fill::kEven;
  }
  to.tree_count = from.tree_count - count + cells.total();
  std::uint64_t nodes = 0;  // of the level below, listed in scratch.level(level - 1)
  for (int level = 0; level <= kMaxListHeight + 1; ++level) {
    std::uint64_t unit = unit_words(level);
    WordRun run;
    if (level <= edit.height) run.add(edit.left[level].node->words, edit.left_keep[level] * unit);
    level == 0 ? run.add(cells, 0, cells.total()) : run.add(scratch.level(level - 1), nodes * unit);
    if (level <= edit.height) {
      std::uint64_t at = edit.right_from[level];
      run.add(edit.right[level].node->words + at * unit, (edit.right[level].used - at) * unit);
    }
    Status status = take_in_neighbour(edit, level, run);
    if (status != Status::kOk) return status;
    bool top = !edit.anything_above(level);
    if (top && run.total() == 0) {
      to.tree = to.height = 0;
      return Status::kOk;
    }
    if (top && level != 0 && run.total() == unit) {
      AtomicWord root[2];
      run.copy(0, 2, root);
      to.tree = relaxed(root[0]);
      to.height = static_cast<std::uint64_t>(level) - 1;
      if (nodes != 0) return Status::kOk;
      // An old node became the root: those with one child only are no use there.
      for (; to.height != 0; --to.height) {
        ListNode* node = list_node(me_.segment(), to.tree);
        if (node == nullptr) return Status::kCorrupt;
        if (relaxed(node->used) != 1) return Status::kOk;
        replaced(to.tree, node);
        to.tree = relaxed(node->words[0]);
      }
      return Status::kOk;
    }
    nodes = scratch.most_nodes();
    status = pack(edit, level, run, scratch.level(level), nodes);
    if (status != Status::kOk) return status;
  }
  return Status::kTooLarge;
}

Status ListEdit::replace(const ListView& from, std::uint64_t first, std::uint64_t count, const WordRun& cells,
                         ListScratch& scratch, ListView& to) {
  to = from;
  std::uint64_t border = from.tree_count;
  if (first < border && first + count <= border) return splice(from, first, count, cells, scratch, to);
  // The range reaches into the tail, or ends the tree: what follows the tree's rest is cut into leaves and a new tail.
  ListNode* tail = nullptr;
  if (from.tail != 0 && (tail = list_node(me_.segment(), from.tail)) == nullptr) return Status::kCorrupt;
  std::uint64_t keep = first > border ? first - border : 0, resume = first + count - border;
  WordRun run;
  if (tail != nullptr) run.add(tail->words, keep);
  run.add(cells, 0, cells.total());
  if (tail != nullptr) run.add(tail->words + resume, from.tail_count - resume);
  std::uint64_t tail_count = run.total() == 0 ? 0 : (run.total() - 1) % kLeafCells + 1;
  std::uint64_t tree_first = first < border ? first : border, ahead = run.total() - tail_count;
  if (tree_first != border || ahead != 0) {
    WordRun leaves;
    leaves.add(run, 0, ahead);
    Status status = splice(from, tree_first, border - tree_first, leaves, scratch, to);
    if (status != Status::kOk) return status;
  }
  to.tail = 0;
  to.tail_count = tail_count;
  if (tail_count != 0 && (to.tail = make_node(run, ahead, tail_count)) == 0) return Status::kOutOfMemory;
  if (tail != nullptr) replaced_leaf(from.tail, tail, keep, resume);
  return Status::kOk;
}

Status ListEdit::unwrap_tail(const ListView& from, ListScratch& scratch, ListView& to) {
  Path path;
  Status status = descend(from, from.tree_count - 1, path);
  if (status != Status::kOk) return status;
  to = from;
  std::uint64_t count = path[0].used;
  if (count != path[0].index + 1) return Status::kCorrupt;
  WordRun cells;
  cells.add(path[0].node->words, count);
  if ((to.tail = make_node(cells, 0, count)) == 0) return Status::kOutOfMemory;
  to.tail_count = count;
  if (ListNode* tail = list_node(me_.segment(), from.tail); from.tail != 0 && tail != nullptr) {
    replaced_leaf(from.tail, tail, 0, 0);
  }
  return splice(from, from.tree_count - count, count, WordRun(), scratch, to);
}

Status ListEdit::commit(const ListView& from, ListView& to, bool drop_boxes) {
  Segment& segment = me_.segment();
  to.root = 0;
  if (to.tree != 0 || to.tail != 0) {
    to.root = heap_.take(sizeof(ListRoot));
    if (to.root == 0) return Status::kOutOfMemory;
    auto* root = segment.at<ListRoot>(to.root);
    root->tree.store(to.tree, std::memory_order_release);
    root->height.store(to.height, std::memory_order_release);
    root->tree_count.store(to.tree_count, std::memory_order_release);
    root->tail.store(to.tail, std::memory_order_release);
    root->tail_count.store(to.tail_count, std::memory_order_release);
  }
  raise_changes(control_);
  control_.root.store(to.root, std::memory_order_release);  // SYNC POINT: list root. The commit point
  made_ = 0;
  if (from.root != 0) heap_.retire(from.root, sizeof(ListRoot));
  // A chain's next node is read before this one is retired: the heap may use it again at once.
  while (ListNode* node = chained_ != 0 ? list_node(segment, replaced_) : nullptr) {
    Offset at = replaced_;
    replaced_ = relaxed(node->link);
    heap_.retire(at, sizeof(ListNode));
    --chained_;
  }
  while (ListNode* leaf = chained_ != 0 ? list_node(segment, replaced_leaves_) : nullptr) {
    Offset at = replaced_leaves_;
    Word dropped = relaxed(leaf->used), last = dropped >> 32;
    replaced_leaves_ = relaxed(leaf->link);
    for (std::uint64_t i = dropped & 0xffffffff; drop_boxes && i < last && i < kLeafCells; ++i) {
      retire_box(segment, heap_, relaxed(leaf->words[i]));
    }
    heap_.retire(at, sizeof(ListNode));
    --chained_;
  }
  return Status::kOk;
}

}  // namespace commonhold::shm
