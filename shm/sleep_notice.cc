#include "shm/sleep_notice.h"

#include "shm/futex.h"
#include "shm/segment.h"

namespace commonhold::shm {

namespace {
std::atomic<std::int64_t> check_ns{100'000'000};
}

SleepNotice::SleepNotice(ThreadContext& me, const std::atomic<std::uint32_t>& futex) : record_(me.record()) {
  // SYNC POINT: sleeper noted; before the look at what is waited for.
  record_.sleeps_at.store(me.segment().offset_of(&futex), std::memory_order_seq_cst);
}

SleepNotice::~SleepNotice() {
  record_.sleeps_at.store(0, std::memory_order_release);
}

void wake_sleepers(Segment& segment) {
  const std::uint32_t threads = segment.threads_used();
  for (std::uint32_t index = 0; index < threads; ++index) {
    Offset at = segment.thread(index).sleeps_at.load(std::memory_order_seq_cst);  // SYNC POINT: sleeper noted
    if (at % sizeof(std::uint32_t) != 0 || !segment.holds(at, sizeof(std::uint32_t))) continue;
    futex_wake_all(*segment.at<std::atomic<std::uint32_t>>(at));
  }
}

std::int64_t sleeper_check_ns() {
  return check_ns.load(std::memory_order_relaxed);
}

void set_sleeper_check_for_test(std::int64_t interval_ns) {
  check_ns.store(interval_ns, std::memory_order_relaxed);
}

}  // namespace commonhold::shm
