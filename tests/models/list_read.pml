// One overwrites the first element of a list, removes the last, appends another, which gets the same cell, and removes the
// first, which makes another root. A reader without the lock wants the second element; then it looks again whether the
// root is the same and whether the tail still has the element. What it gets was the second element at some time, never
// what was written into a cell that was not counted. Another copies the whole list, and looks whether the number of
// changes, which is raised before each, is the same as before: it gets the list as it was at one moment. The order of the
// stores, and that of the loads, alone.
//
// source: shm/list.cc Status List::read_cell(
//   read_view(*segment_, *control_, view)
//   index >= view.size()
//   cells->load(std::memory_order_acquire)
//   control_->root.load(std::memory_order_acquire) != view.root
//   segment_->at<ListRoot>(view.root)->tail_count.load(std::memory_order_acquire)
//   tail <= index - view.tree_count
// source: shm/list_bulk.cc Status List::copy_undisturbed(
//   control_->changes.load(std::memory_order_acquire)
//   control_->changes.load(std::memory_order_relaxed) == changed
//   read_view(*segment_, *control_, view)
//   visit_cells(*segment_, view
//   return undisturbed() ? status : Status::kRetry
// source: shm/list_bulk.cc visit_cells(
//   cells[i].load(std::memory_order_acquire)
// source: shm/list_tree.h void raise_changes(ListControl& control)
//   control.changes.store(control.changes.load(std::memory_order_relaxed) + 1, std::memory_order_release)
// source: shm/list_writer.h void overwrite(AtomicWord& cell
//   raise_changes(control_)
//   cell.store(now, std::memory_order_release)
// source: shm/list_nodes.cc Status read_view(const Segment& segment
//   control.root.load(std::memory_order_acquire)
//   root.tail_count.load(std::memory_order_acquire)
// source: shm/list_writer.cc Status ListWriter::push_back(Word cell)
//   room->store(cell, std::memory_order_release)
//   grow_tail(1)
// source: shm/list_writer.cc void ListWriter::grow_tail(std::uint64_t count)
//   raise_changes(control_)
//   tail_count.store(view_.tail_count, std::memory_order_release)
// source: shm/list_writer.cc Status ListWriter::pop_back(Word cell)
//   raise_changes(control_)
//   tail_count.store(view_.tail_count, std::memory_order_release)
// source: shm/list_tree.cc Status ListEdit::commit(const ListView& from
//   root->tail_count.store(to.tail_count, std::memory_order_release)
//   raise_changes(control_)
//   control_.root.store(to.root, std::memory_order_release)
//
// must fail: COUNTED_FIRST TAIL_NOT_LOOKED_AT NAMED_FIRST CHANGES_NOT_LOOKED_AT RAISED_ONCE
#define PROCESSORS 3
#define ADDRESSES 8
#define STORES 7
#define ROOT 0  // which of two it is
#define TAIL_COUNT 1
#define CELLS 3  // two of the first root, then two of the second
#define CHANGES 7
#define kFirst 4
#define kOld 5
#define kNew 6
#define kThird 7
#define kOverwritten 8
#include "tso.inc"

inline raise_changes() {
  changes++;
  if
  :: WITHOUT(RAISED_ONCE) && changes > 1 -> skip
  :: else -> store(me, CHANGES, changes)
  fi
}

proctype writer(byte me) {
  byte changes;
  raise_changes();
  store(me, CELLS, kOverwritten);
  EMPTY(me);  // the exchange that frees its lock
  raise_changes();
  store(me, TAIL_COUNT, 1);
  EMPTY(me);
  if
  :: WITHOUT(COUNTED_FIRST) -> store(me, TAIL_COUNT, 2)
  :: else -> skip
  fi;
  store(me, CELLS + 1, kNew);
  raise_changes();
  store(me, TAIL_COUNT, 2);
  EMPTY(me);
  if
  :: WITHOUT(NAMED_FIRST) -> store(me, ROOT, 1)
  :: else -> skip
  fi;
  store(me, TAIL_COUNT + 1, 2);
  store(me, CELLS + 2, kNew);
  store(me, CELLS + 3, kThird);
  raise_changes();
  store(me, ROOT, 1)
}

proctype reader(byte me) {
  byte root, count, cell, now;
  bool was_old;
  atomic { was_old = (memory[TAIL_COUNT] == 2 && memory[CELLS + 1] == kOld) };
  load(me, ROOT, root);
  load(me, TAIL_COUNT + root, count);
  if
  :: count > 1 ->
     load(me, CELLS + 2 * root + 1, cell);
     load(me, ROOT, now);
     if
     :: now == root ->
        if
        :: WITHOUT(TAIL_NOT_LOOKED_AT) -> skip
        :: else -> load(me, TAIL_COUNT + root, count)
        fi;
        if
        :: count <= 1  // again
        :: else ->
           assert(cell == (root == 1 -> kThird : (was_old -> (cell == kOld -> kOld : kNew) : kNew)));
           assert(cell != kNew || memory[TAIL_COUNT] == 2)
        fi
     :: else
     fi
  :: else -> assert(root == 0)  // out of range
  fi
}

proctype copier(byte me) {
  byte changes, root, count, one, two, now;
  load(me, CHANGES, changes);
  load(me, ROOT, root);
  load(me, TAIL_COUNT + root, count);
  load(me, CELLS + 2 * root, one);
  if
  :: count > 1 -> load(me, CELLS + 2 * root + 1, two)
  :: else
  fi;
  load(me, CHANGES, now);
  if
  :: now == changes || WITHOUT(CHANGES_NOT_LOOKED_AT) ->
     assert(one == kFirst && two == kOld || one == kOverwritten && (two == kOld || two == 0 || two == kNew) ||
            one == kNew && two == kThird)
  :: else
  fi
}

init {
  atomic {
    memory[TAIL_COUNT] = 2;
    memory[CELLS] = kFirst;
    memory[CELLS + 1] = kOld;
    run writer(0);
    run reader(1);
    run copier(2)
  }
}
