// Every mutating operation of a value, killed at every instruction.
#include "shm/value.h"

#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {
void ignore(Status) {}
std::string locked(const shm::LockWord& word) {
  return word.state.load() != 0 ? "a lock stayed locked" : "";
}
}  // namespace

TEST_CASE("a writer of a value killed anywhere leaves the old value or the new one", "[kill]") {
  for (std::size_t size : {8, 200}) {
    TestSegment segment(8u << 20);
    auto where = segment.make({shm::ObjectKind::kValue, "", "value", {size}});
    shm::Value value(where);
    std::string old(size, 'o'), now(size, 'n');
    REQUIRE(value.store(segment.me(), old.data()) == Status::kOk);
    auto observe = [&] {
      std::string got(size, '#');
      return value.load(segment.me(), got.data()) == Status::kOk ? got : "unreadable";
    };
    auto audit = [&] { return locked(segment->at<shm::ValueControl>(where.control)->writing); };
    std::string name = fmt::format(" of {} bytes", size);
    INFO(name);
    kill_everywhere_in(segment,
                       {"store" + name, [&] { ignore(value.store(segment.me(), now.data())); }, observe, audit});
    kill_everywhere_in(segment, {"exchange" + name,
                                 [&] {
                                   std::string before(size, '#');
                                   ignore(value.exchange(segment.me(), now.data(), before.data()));
                                 },
                                 observe, audit});
    kill_everywhere_in(segment, {"compare_exchange" + name,
                                 [&] {
                                   std::string expected = old;
                                   ignore(value.compare_exchange(segment.me(), expected.data(), now.data()));
                                 },
                                 observe, audit});
    // With somebody who watches, the writer clears the mark, raises the count and wakes.
    segment->at<shm::ValueControl>(where.control)->watched.store(1);
    kill_everywhere_in(
        segment, {"watched store" + name, [&] { ignore(value.store(segment.me(), now.data())); }, observe, audit});
    kill_everywhere_in(segment, {"wait_change" + name,
                                 [&] { ignore(value.wait_change(segment.me(), old.data(), shm::Deadline::already())); },
                                 observe, audit});
  }
}
