// A recorded operation, and the way to each of its instructions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/kill_stepper_victim.h"
#include "support/shared_image.h"

namespace commonhold::test {

// The executed instructions of one operation. Lives in shared memory, not on the heap.
class KillTrace {
 public:
  // Room for so many instructions, taken as they come.
  explicit KillTrace(std::size_t capacity);

  // Points a recording victim at this trace, and forgets what was recorded. `loads`: accesses() are looked for.
  void prepare_recording(VictimBoard& board, bool loads = false);
  // Takes over what a victim recorded. Throws std::runtime_error if a victim's way to some instruction cannot be
  // found.
  void finish_recording(const VictimBoard& board);

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::uint64_t rip(std::size_t k) const { return rips()[k]; }
  // Trace indices, ascending.
  [[nodiscard]] std::vector<std::uint32_t> stores() const { return indices(stores_, store_count_); }
  [[nodiscard]] std::vector<std::uint32_t> accesses() const { return indices(accesses_, access_count_); }
  [[nodiscard]] std::vector<std::uint32_t> syscalls() const { return indices(syscalls_, syscall_count_); }
  // Before each access and system call, and the end: between two of them nobody else sees a difference.
  [[nodiscard]] std::vector<std::size_t> switch_points() const { return points(accesses(), syscalls()); }
  // Before each store and system call, and the end: the places in which a death leaves different things behind.
  [[nodiscard]] std::vector<std::size_t> death_points() const { return points(stores(), syscalls()); }
  [[nodiscard]] std::size_t store_count() const { return store_count_; }

  // The first k in which the two differ (their size if one is the other's beginning).
  [[nodiscard]] std::size_t first_difference(const KillTrace& other) const;

  // Writes to the board the fewest stops that lead a victim to the moment before instruction k; k == size()
  // is the end.
  void route_to(std::size_t k, VictimBoard& board);

 private:
  [[nodiscard]] std::uint64_t* rips() const { return static_cast<std::uint64_t*>(rips_.data()); }
  [[nodiscard]] std::int32_t* previous() const { return static_cast<std::int32_t*>(previous_.data()); }
  [[nodiscard]] static std::vector<std::uint32_t> indices(const SharedBuffer& buffer, std::size_t count);
  [[nodiscard]] std::vector<std::size_t> points(const std::vector<std::uint32_t>& marks,
                                                const std::vector<std::uint32_t>& more) const;
  void find_routes();

  std::size_t capacity_;  // one more than asked for: a recording looks ahead to where the operation returns to
  std::size_t size_ = 0;
  std::size_t store_count_ = 0;
  std::size_t syscall_count_ = 0;
  std::size_t access_count_ = 0;
  SharedBuffer rips_;
  SharedBuffer stores_;
  SharedBuffer syscalls_;
  SharedBuffer accesses_;
  SharedBuffer previous_;  // per instruction: the stop before it on its route; kStart: none; kInsideRep
  SharedBuffer stops_;     // the present route
};

}  // namespace commonhold::test
