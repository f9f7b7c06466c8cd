#include "support/kill_stepper_trace.h"

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "support/kill_stepper_decode.h"

namespace commonhold::test {
namespace {

constexpr std::int32_t kStart = -1;
constexpr std::int32_t kInsideRep = -2;  // a `rep`'s second or later iteration: no int3 stops there

}  // namespace

KillTrace::KillTrace(std::size_t capacity)
    : capacity_(capacity + 1),
      rips_(capacity_ * sizeof(std::uint64_t)),
      stores_(capacity_ * sizeof(std::uint32_t)),
      syscalls_(capacity_ * sizeof(std::uint32_t)),
      accesses_(capacity_ * sizeof(std::uint32_t)),
      previous_(capacity_ * sizeof(std::int32_t)),
      stops_(capacity_ * sizeof(Stop)) {
  if (capacity > 0x7fff'ffff) throw std::runtime_error("a trace of " + std::to_string(capacity) + " instructions");
}

void KillTrace::prepare_recording(VictimBoard& board, bool loads) {
  size_ = store_count_ = syscall_count_ = access_count_ = 0;
  board.trace = rips();
  board.trace_capacity = capacity_;
  board.stores = static_cast<std::uint32_t*>(stores_.data());
  board.syscalls = static_cast<std::uint32_t*>(syscalls_.data());
  board.accesses = loads ? static_cast<std::uint32_t*>(accesses_.data()) : nullptr;
}

void KillTrace::finish_recording(const VictimBoard& board) {
  size_ = board.trace_size;
  store_count_ = board.store_count;
  syscall_count_ = board.syscall_count;
  access_count_ = board.access_count;
  find_routes();
}

std::vector<std::uint32_t> KillTrace::indices(const SharedBuffer& buffer, std::size_t count) {
  const auto* first = static_cast<const std::uint32_t*>(buffer.data());
  return {first, first + count};
}

std::vector<std::size_t> KillTrace::points(const std::vector<std::uint32_t>& marks,
                                           const std::vector<std::uint32_t>& more) const {
  std::vector<std::size_t> points;
  std::ranges::set_union(marks, more, std::back_inserter(points));
  points.erase(std::unique(points.begin(), points.end()), points.end());
  if (points.empty() || points.back() < size_) points.push_back(size_);
  return points;
}

std::size_t KillTrace::first_difference(const KillTrace& other) const {
  const std::size_t common = std::min(size_, other.size_);
  return static_cast<std::size_t>(std::mismatch(rips(), rips() + common, other.rips()).first - rips());
}

// A victim that stands at stop j goes to k by one int3 if k is the next execution of its code after j: j lies
// after the last execution of the same code before k (call it p; j == p would need a step off that
// instruction first). So
//     stops(k) = 1 + min { stops(j) : p < j < k },   stops(kStart) = 0,
// and the minimum over the last few j is kept as a stack of candidates whose stops(j) rise strictly.
void KillTrace::find_routes() {
  struct Candidate {
    std::int32_t index;
    std::int32_t stops;
  };
  std::vector<Candidate> candidates{{kStart, 0}};
  std::unordered_map<std::uint64_t, std::int32_t> last_execution;
  for (std::size_t k = 0; k < size_; ++k) {
    const auto index = static_cast<std::int32_t>(k);
    if (k > 0 && rip(k) == rip(k - 1)) {
      if (decode_step(rip(k)).kind != CodeKind::kRep) {
        throw std::runtime_error("instruction " + std::to_string(k) + " of the trace jumps to itself");
      }
      previous()[k] = kInsideRep;
      continue;
    }
    const auto last = last_execution.find(rip(k));
    auto from = candidates.begin();
    if (last != last_execution.end()) {
      from = std::upper_bound(candidates.begin(), candidates.end(), last->second,
                              [](std::int32_t after, const Candidate& c) { return after < c.index; });
      if (from == candidates.end()) {
        throw std::runtime_error("no way to instruction " + std::to_string(k) + " of the trace");
      }
    }
    previous()[k] = from->index;
    const std::int32_t stops = from->stops + 1;
    last_execution[rip(k)] = index;
    while (!candidates.empty() && candidates.back().stops >= stops) candidates.pop_back();
    candidates.push_back({index, stops});
  }
}

void KillTrace::route_to(std::size_t k, VictimBoard& board) {
  board.stop_count = 0;
  board.job = k >= size_ ? VictimJob::kKillAtEnd : VictimJob::kKillAtStop;
  if (k >= size_) return;
  std::size_t first = k;  // of the same `rep`
  while (previous()[first] == kInsideRep) --first;

  auto* stops = static_cast<Stop*>(stops_.data());
  std::size_t count = 0;
  for (auto at = static_cast<std::int32_t>(first); at != kStart; at = previous()[at]) {
    stops[count++] = {rip(static_cast<std::size_t>(at)), 0};
  }
  std::reverse(stops, stops + count);
  if (first != k) {
    // The `rep` makes just the iterations before k, and the victim dies at the instruction behind it.
    stops[count - 1].rep_count = k - first;
    std::size_t behind = k;
    while (previous()[behind] == kInsideRep) ++behind;
    stops[count++] = {rip(behind), 0};
  }
  board.stops = stops;
  board.stop_count = count;
}

}  // namespace commonhold::test
