#include "support/kill_stepper.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <random>
#include <stdexcept>

#include "support/code_location.h"
#include "support/kill_stepper_nursery.h"
#include "support/kill_stepper_trace.h"
#include "support/own_processor.h"

namespace commonhold::test {
namespace {

using Clock = std::chrono::steady_clock;

std::string grouped(std::size_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

std::string count_of(std::size_t number, const std::string& thing) {
  return grouped(number) + " " + thing + (number == 1 ? "" : "s");
}

// A path that differs is taken again so often in all: who reads the clock goes another way in it now and then (the
// kernel's code for it loops where a second passes, or starts over beside a tick).
constexpr int kAttempts = 8;

// The work of one run_kill_plan().
class KillRun {
 public:
  explicit KillRun(const KillPlan& plan);

  KillReport run();

 private:
  VictimBoard& board() { return *static_cast<VictimBoard*>(board_memory_.data()); }
  // Forks a victim in freshly prepared memory, with the orders on the board.
  VictimFate run_victim_once();
  bool record(KillTrace& trace, VictimJob job);
  [[nodiscard]] bool is_same_path() const;
  void fail_for_paths();
  [[nodiscard]] std::vector<std::size_t> kill_points() const;
  [[nodiscard]] std::vector<std::uint32_t> ends_of_rows(const std::vector<std::uint32_t>& stores) const;
  [[nodiscard]] bool is_of_loop(const std::vector<std::uint32_t>& stores, std::size_t at) const;
  void kill_at(std::size_t k);
  void verify(pid_t victim, std::size_t k);

  void fail(std::size_t k, std::uint64_t rip, const std::string& what);
  // What the board and the wait status say about a victim that did not end as it should.
  [[nodiscard]] std::string ending(const VictimFate& fate);
  [[nodiscard]] std::string before(std::size_t k) const;

  const KillPlan& plan_;
  KillReport report_;
  SharedBuffer board_memory_{sizeof(VictimBoard)};
  KillTrace trace_;
  KillTrace second_trace_;
  std::unique_ptr<VictimNursery> nursery_;
};

KillRun::KillRun(const KillPlan& plan)
    : plan_(plan), trace_(plan.max_instructions), second_trace_(std::min(plan.max_instructions, plan.max_every)) {
  if (!plan.op) throw std::invalid_argument("kill plan '" + plan.name + "' has no op");
  stay_on_one_processor();
  report_.name = plan.name;
  new (board_memory_.data()) VictimBoard{};
  board().ranges = plan.shared.data();
  board().range_count = plan.shared.size();
  if (plan.prepare) plan.prepare();
  nursery_ = std::make_unique<VictimNursery>(board(), plan.enter, plan.op);
}

KillReport KillRun::run() {
  for (int attempt = 1;; ++attempt) {
    if (!record(trace_, VictimJob::kRecord)) return report_;
    if (trace_.size() > plan_.max_every) break;
    if (!record(second_trace_, VictimJob::kRecordSteps)) break;
    if (is_same_path()) {
      if (trace_.stores() != second_trace_.stores()) {
        fail(trace_.size(), 0, "the stores differ between two recordings of the same path");
      }
      break;
    }
    if (attempt == kAttempts) {
      fail_for_paths();
      break;
    }
  }
  report_.instructions = trace_.size();
  report_.stores = trace_.store_count();
  if (trace_.size() > plan_.max_every && plan_.shared.empty()) {
    throw std::invalid_argument("kill plan '" + plan_.name + "' has " + count_of(trace_.size(), "instruction") +
                                " and no shared ranges to sample by");
  }
  const Clock::time_point start = Clock::now();
  for (const std::size_t k : kill_points()) {
    if (report_.failures.size() >= plan_.max_failures) break;
    kill_at(k);
  }
  report_.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return report_;
}

VictimFate KillRun::run_victim_once() {
  if (plan_.prepare) plan_.prepare();
  order_next(board(), board().job, plan_.timeout_ms);
  return nursery_->run_one();
}

bool KillRun::record(KillTrace& trace, VictimJob job) {
  board().job = job;
  trace.prepare_recording(board());
  const VictimFate fate = run_victim_once();
  if (board().ending == VictimEnding::kFinished) {
    trace.finish_recording(board());
    return true;
  }
  fail(board().trace_size, board().rip, "recording: " + ending(fate));
  return false;
}

bool KillRun::is_same_path() const {
  const std::size_t k = trace_.first_difference(second_trace_);
  return k == trace_.size() && k == second_trace_.size();
}

void KillRun::fail_for_paths() {
  const std::size_t k = trace_.first_difference(second_trace_);
  const auto place = [k](const KillTrace& trace) { return k < trace.size() ? describe_code(trace.rip(k)) : "the end"; };
  fail(k, k < second_trace_.size() ? second_trace_.rip(k) : 0,
       "the path differs between two recordings at instruction " + grouped(k) + ": " + place(trace_) + ", then " +
           place(second_trace_));
}

std::vector<std::size_t> KillRun::kill_points() const {
  std::vector<std::size_t> points;
  const std::size_t size = trace_.size();
  if (size <= plan_.max_every) {
    for (std::size_t k = 0; k <= size; ++k) points.push_back(k);
    return points;
  }
  for (const auto& marks : {ends_of_rows(trace_.stores()), trace_.syscalls()}) {
    for (const std::uint32_t index : marks) points.insert(points.end(), {index, std::size_t{index} + 1});
  }
  points.insert(points.end(), {0, size});
  std::mt19937_64 random(plan_.seed);
  std::uniform_int_distribution<std::size_t> any(0, size);
  for (std::size_t i = 0; i < plan_.sample; ++i) points.push_back(any(random));
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  return points;
}

// The stores, without the middles of long rows by one loop: by instructions that each stored a little before.
std::vector<std::uint32_t> KillRun::ends_of_rows(const std::vector<std::uint32_t>& stores) const {
  if (plan_.max_store_row == 0) return stores;
  std::vector<std::uint32_t> kept;
  for (std::size_t begin = 0, end; begin < stores.size(); begin = end) {
    for (end = begin + 1; end < stores.size() && is_of_loop(stores, end);) ++end;
    for (std::size_t i = begin; i < end; ++i) {
      if (std::min(i - begin, end - 1 - i) < plan_.max_store_row / 2) kept.push_back(stores[i]);
    }
  }
  return kept;
}

bool KillRun::is_of_loop(const std::vector<std::uint32_t>& stores, std::size_t at) const {
  constexpr std::size_t kStoresOfLoop = 8;
  for (std::size_t back = 1; back <= std::min(at, kStoresOfLoop); ++back) {
    if (trace_.rip(stores[at]) == trace_.rip(stores[at - back])) return true;
  }
  return false;
}

void KillRun::kill_at(std::size_t k) {
  VictimFate fate{};
  for (int attempt = 1;; ++attempt) {
    trace_.route_to(k, board());
    fate = run_victim_once();
    if (board().ending != VictimEnding::kFinished || attempt == kAttempts) break;
  }
  // In the kernel's clock code, by the way that it took when it was recorded: it does not come by here any more.
  if (board().ending == VictimEnding::kFinished && k < trace_.size() &&
      describe_code(trace_.rip(k)).find("clock_gettime") != std::string::npos) {
    return;
  }
  const bool killed = WIFSIGNALED(fate.wait_status) && WTERMSIG(fate.wait_status) == SIGKILL;
  if (board().ending != VictimEnding::kKilled || !killed) {
    const VictimEnding how = board().ending;
    const bool elsewhere = how == VictimEnding::kTimedOut || how == VictimEnding::kCrashed;
    return fail(k, elsewhere ? board().rip : (k < trace_.size() ? trace_.rip(k) : 0), before(k) + ": " + ending(fate));
  }
  ++report_.kills;
  if (plan_.verify) verify(fate.pid, k);
}

void KillRun::verify(pid_t victim, std::size_t k) {
  const std::uint64_t rip = k < trace_.size() ? trace_.rip(k) : 0;
  try {
    const std::string wrong = plan_.verify(victim, k);
    if (!wrong.empty()) fail(k, rip, before(k) + ": " + wrong);
  } catch (const std::exception& error) {
    fail(k, rip, before(k) + ": verify threw: " + error.what());
  } catch (...) {
    std::fprintf(stderr, "%s: %s: verify threw\n", plan_.name.c_str(), before(k).c_str());
    throw;
  }
}

void KillRun::fail(std::size_t k, std::uint64_t rip, const std::string& what) {
  report_.failures.push_back({k, rip, what});
}

std::string KillRun::before(std::size_t k) const {
  const std::string which = "killed at " + grouped(k) + " of " + grouped(trace_.size());
  return k < trace_.size() ? which + ", before " + describe_code(trace_.rip(k)) : which + ", after the last";
}

std::string KillRun::ending(const VictimFate& fate) {
  const VictimBoard& b = board();
  const std::string place = b.rip != 0 ? " at " + describe_code(b.rip) : "";
  const std::string phase = b.armed ? "" : " before the operation";
  switch (b.ending) {
    case VictimEnding::kFinished:
      return "the path differed: the operation ended after " + count_of(b.stops_reached, "breakpoint") + " of " +
             grouped(b.stop_count);
    case VictimEnding::kStrayTrap:
      return "a trap that is not ours" + place;
    case VictimEnding::kTraceFull:
      return "the operation has more than " + count_of(b.trace_capacity - 1, "instruction");
    case VictimEnding::kThrew:
      return "enter threw: " + std::string(b.message);
    case VictimEnding::kTimedOut:
      return "the victim hung for " + grouped(b.timeout_ms) + " ms" + phase + place;
    case VictimEnding::kCrashed:
      return "the victim crashed by signal " + std::to_string(b.signal) + phase + place;
    case VictimEnding::kKilled:
    case VictimEnding::kNone:
      break;
  }
  return "the victim ended" + phase + " with wait status " + std::to_string(fate.wait_status);
}

}  // namespace

std::string KillReport::line() const {
  std::string text = name + ": " + count_of(instructions, "instruction") + ", " + count_of(stores, "store") + ", " +
                     count_of(kills, "kill") + ", " + count_of(failures.size(), "failure") + ", " +
                     grouped(static_cast<std::size_t>(kills_per_second())) + " kills/s";
  for (const KillFailure& failure : failures) text += "\n  " + failure.what;
  return text;
}

KillReport run_kill_plan(const KillPlan& plan) {
  return KillRun(plan).run();
}

}  // namespace commonhold::test
