// The first items of an ordered queue's heap, and the heap without them: a change of any number of items that is built
// aside and committed by one store of the root.
//
// The items are found from the root downward, and nothing is written on the way. What is left are the subtrees below
// them, which are merged. A node on the way of a merge is copied once; while the change is built its copy is marked
// (kBuilt in its weight) and is changed in place when another merge comes by.
//
// Thread safety: by one thread, under the queue's lock but for make_room().
#pragma once

#include <vector>

#include "shm/ordered_heap.h"
#include "shm/queue_flights.h"

namespace commonhold::shm {

class OrderedBulk {
 public:
  struct Pick {
    Word priority, sequence;
    Offset box;
    Flight* flight;  // of an item that was returned; else the free one that is to hold it, or nullptr
  };

  // Forgets the last attempt, whose nodes were committed or taken back.
  void clear();
  // Outside of the lock, before the first attempt and after kRetry: for `items`, or for twice what there was room for.
  void make_room(std::uint64_t items);

  // Adds a returned item. kRetry: there is no room.
  Status pick_returned(const Pick& pick);
  // Leaves the first `most` of the returned ones.
  void keep_returned(const OrderedHeap& order, std::uint64_t most);
  // Adds the first `most` items below `root`. kRetry; kCorrupt.
  Status pick_first(const OrderedHeap& order, const Segment& segment, Offset root, std::uint64_t most);
  // The root of what pick_first() left. kRetry, kOutOfMemory, kCorrupt: everything is as it was.
  Status merge_rest(const OrderedHeap& order, Segment& segment, Heap& memory, Offset& now);
  // After the commit: frees the nodes that the new root does not reach.
  void free_replaced(Heap& memory);

  std::vector<Pick>& picks() { return picks_; }
  std::uint64_t returned() const { return returned_; }  // how many of the picks, which come first

 private:
  struct Open {
    Word priority, sequence;
    Offset at;
  };
  struct Merge {
    const OrderedHeap& order;
    Segment& segment;
    Heap& memory;
  };
  Status open_node(const OrderedHeap& order, Offset at);
  Status merge(const Merge& with, Offset a, Offset b, int depth, Offset& merged);

  std::vector<Pick> picks_;
  std::uint64_t returned_ = 0;
  std::vector<Open> open_;  // roots of the subtrees below the picks, as a binary heap
  std::vector<Offset> made_, replaced_;
};

}  // namespace commonhold::shm
