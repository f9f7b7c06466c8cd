// What a death leaves of a list, put in order: everything but the elements is derived from what the root reaches.
#include <new>

#include "shm/control_block.h"
#include "shm/list_writer.h"
#include "shm/lost_memory.h"

namespace commonhold::shm {
namespace {

// Walks all that a list reaches, checking the tree's invariants on the way. Damaged parts are reported and left out.
class ListWalk {
 public:
  ListWalk(const Segment& segment, bool boxed, std::vector<BlockRange>& reachable, std::string& error)
      : segment_(segment), boxed_(boxed), reachable_(reachable), error_(error) {}

  void walk(const ListView& view) {
    if (view.root != 0) reachable_.push_back({view.root, sizeof(ListRoot)});
    if (view.tree != 0) node(view.tree, view.height, view.tree_count);
    if (view.tail != 0) leaf(view.tail, view.tail_count, "tail");
  }

 private:
  void fail(const char* what, Offset at, std::uint64_t value) {
    if (error_.empty()) {
      error_ = std::string(what) + ": " + std::to_string(value) + " at offset " + std::to_string(at);
    }
  }

  void node(Offset at, std::uint64_t level, std::uint64_t count) {
    if (++nodes_ > most_list_nodes(segment_)) return fail("more nodes than there is room for", at, nodes_);
    if (level == 0) return leaf(at, count, "leaf");
    const ListNode* inner = list_node(segment_, at);
    if (inner == nullptr) return fail("an inner node outside the segment, level", at, level);
    reachable_.push_back({at, sizeof(ListNode)});
    std::uint64_t used = inner->used.load(std::memory_order_acquire), sum = 0;
    if (used == 0 || used > kInnerPairs) return fail("an inner node's number of children", at, used);
    for (std::uint64_t i = 0; i < used; ++i) {
      std::uint64_t below = inner->words[2 * i + 1].load(std::memory_order_acquire);
      if (below == 0) fail("an empty child, index", at, i);
      node(inner->words[2 * i].load(std::memory_order_acquire), level - 1, below);
      sum += below;
    }
    if (sum != count) fail("an inner node whose parent counts other than its elements", at, sum);
  }

  void leaf(Offset at, std::uint64_t count, const char* what) {
    const ListNode* node = list_node(segment_, at);
    if (node == nullptr) return fail("a leaf outside the segment, cells", at, count);
    reachable_.push_back({at, sizeof(ListNode)});
    if (count > kLeafCells) return fail(what, at, count);
    for (std::uint64_t i = 0; boxed_ && i < count; ++i) {
      Offset cell = node->words[i].load(std::memory_order_acquire);
      Word header = 0;
      if (box_at(segment_, cell, header) == nullptr) {
        fail("a cell that names no box, index", at, i);
        continue;
      }
      reachable_.push_back({cell, box_bytes(header)});
    }
  }

  const Segment& segment_;
  bool boxed_;
  std::uint64_t nodes_ = 0;
  std::vector<BlockRange>& reachable_;
  std::string& error_;
};

// An empty list that owns less keeps it for its next elements.
constexpr std::uint64_t kWorthTrimming = 1u << 20;

// Without private memory for it, what is free is not found until the next time.
void rebuild_heap(Heap& heap, std::vector<BlockRange> reachable) {
  try {
    heap.rebuild(std::move(reachable));
  } catch (const std::bad_alloc&) {
    heap.forget_free();
  }
}

}  // namespace

void list_reachable(const Segment& segment, const ListControl& control, std::vector<BlockRange>& reachable,
                    std::string& error, std::uint64_t& elements) {
  ListView view;
  elements = 0;
  if (read_view(segment, control, view) != Status::kOk) {
    error = "a damaged root record at offset " + std::to_string(view.root);
    return;
  }
  elements = view.size();
  ListWalk(segment, load_word(&control.boxed) != 0, reachable, error).walk(view);
}

void ListWriter::clear() {
  if (view_.root == 0) return;
  raise_changes(control_);
  control_.root.store(0, std::memory_order_release);  // SYNC POINT: list root. The commit point
  view_ = ListView();
  rebuild_heap(heap_, {});
}

void ListWriter::trim_if_empty() {
  const auto is_worth = [&] { return load_word(&control_.heap.owned_bytes) >= kWorthTrimming; };
  if (view_.size() != 0 || view_.root == 0 || !is_worth()) return;
  heap_.recycle();  // large elements are chunks by themselves: this gives them back, without a look at all others
  if (is_worth()) clear();
}

void ListWriter::give_idle_memory() {
  try {
    std::vector<BlockRange> reachable;
    std::string error;
    std::uint64_t elements;
    list_reachable(segment_, control_, reachable, error, elements);
    if (!error.empty()) return;
    rebuild_heap(heap_, std::move(reachable));
  } catch (const std::bad_alloc&) {
    return;  // of private memory: then what is idle stays
  }
  (void)keep_spares(view_);
}

void List::give_idle_memory(ThreadContext& me) {
  ListWriter list(me, where_);
  if (list.status() == Status::kOk) list.give_idle_memory();
}

Status List::create(ThreadContext& me, std::uint32_t object, bool boxed, Offset& control) {
  Offset at = 0;
  Status status = take_control_block(me, object, sizeof(ListControl), at);
  if (status != Status::kOk) return status;
  store_word(&me.segment().at<ListControl>(at)->boxed, boxed ? 1 : 0);
  control = at;
  return Status::kOk;
}

void List::repair(ThreadContext& me, const ObjectAddress& where, LockWord&) {
  auto& control = *where.segment->at<ListControl>(where.control);
  note_list_change(control);
  // A reader may have seen a cell that the dead one never committed.
  control.recycle.fetch_add(1, std::memory_order_acq_rel);
  std::vector<BlockRange> reachable;
  bool known = false;
  try {
    std::string error;
    std::uint64_t elements;
    list_reachable(*where.segment, control, reachable, error, elements);
    known = error.empty();
  } catch (const std::bad_alloc&) {
  }
  Heap heap(me, ChunkOwner(where.object, kListArena), control.heap, control.recycle);
  // Damaged by no writer of ours: what cannot be read must not be given to others. Or this process has no memory to
  // look: then what is free waits for the next time that memory is short.
  if (!known) return heap.forget_free();
  rebuild_heap(heap, std::move(reachable));
}

void List::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  visit(context, where.segment->at<ListControl>(where.control)->writing);
}

List::Audit List::audit(ThreadContext& me) const {
  Audit audit;
  std::vector<BlockRange> reachable;
  HeldLock held(me, control_->writing);
  list_reachable(*segment_, *control_, reachable, audit.error, audit.elements);
  Heap heap(me, ChunkOwner(where_.object, kListArena), control_->heap, control_->recycle);
  Heap::Audit blocks = heap.audit(reachable);
  audit.lost_blocks = blocks.lost_blocks;
  audit.lost_chunks = blocks.lost_chunks;
  if (blocks.doubled_blocks != 0 && audit.error.empty()) {
    audit.error = std::to_string(blocks.doubled_blocks) + " blocks are in use, free or parked at once";
  }
  report_lost_memory(audit);
  return audit;
}

}  // namespace commonhold::shm
