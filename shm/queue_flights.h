// Items of a queue that were taken and are not done yet: who has them, so that they can be delivered again.
//
//   OrderedControl.flights --> page (1 KiB)                          page
//                              +------+--------+--------+-----       +------+-----
//                              | next | flight | flight | ...  --->  | 0    | ...      flight: owner, box, priority,
//                              +------+--------+--------+-----       +------+-----              sequence, taken
//
// INVARIANT: a flight is whole before its `owner` is stored, and free (owner 0) means nothing. Pages are linked once
// and stay. Under the queue's lock flights are filled and freed; without a lock recovery turns those of a dead owner
// into returned ones, each by one compare-and-swap, so that it can do so again after a recoverer's death.
#pragma once

#include "shm/layout.h"
#include "shm/segment.h"

namespace commonhold::shm {

struct Flight {
  AtomicWord owner;  // 0 free, kReturned, else as in lock words. Commit point of delivering again, and of task_done
  AtomicWord box;
  AtomicWord priority;
  AtomicWord sequence;
  AtomicWord
      taken;  // twice the stamp of the taking, which tells which was taken first; + 1: it had been returned before
};

inline constexpr Word kReturned = Word{1} << 32;
inline constexpr Word kTakenAgain = 1;  // in `taken`
inline constexpr std::uint32_t kFlightsPerPage = 25;
inline constexpr std::uint32_t kFlightArena = 3;

struct FlightPage {
  AtomicWord next;
  Flight flights[kFlightsPerPage];
  Word unused[2];
};
static_assert(sizeof(FlightPage) == kGranule);

// Calls visit(Flight&) for each flight, free ones too, until it returns true; whether it did.
template <typename Visit>
bool find_flight(const Segment& segment, const AtomicWord& first, Visit&& visit) {
  std::uint64_t most = segment.committed_extents() * kGranulesPerExtent;
  for (Offset at = first.load(std::memory_order_acquire); at != 0 && most != 0; --most) {
    if (at % kGranule != 0 || !segment.holds(at, sizeof(FlightPage))) return false;
    auto* page = segment.at<FlightPage>(at);
    for (Flight& flight : page->flights) {
      if (visit(flight)) return true;
    }
    at = page->next.load(std::memory_order_acquire);
  }
  return false;
}

template <typename Visit>
void each_flight(const Segment& segment, const AtomicWord& first, Visit&& visit) {
  (void)find_flight(segment, first, [&](Flight& flight) {
    if (flight.owner.load(std::memory_order_acquire) != 0) visit(flight);
    return false;
  });
}

}  // namespace commonhold::shm
