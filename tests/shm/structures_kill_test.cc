// Every mutating operation of values, arrays and locks, killed at every instruction.
#include <array>
#include <vector>

#include "shm/array.h"
#include "shm/user_lock.h"
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

TEST_CASE("a writer of an array killed anywhere leaves all of its change or nothing", "[kill]") {
  TestSegment segment(8u << 20);
  constexpr std::uint64_t kCount = 500;
  auto where = segment.make({shm::ObjectKind::kArray, "", "array", {kCount, 12}});
  shm::Array array(where);
  std::string slice(300 * 12, 'n'), element(12, 'e');
  auto observe = [&] {
    std::string got(kCount * 12, '#');
    return array.read(segment.me(), 0, kCount, got.data()) == Status::kOk ? got : "unreadable";
  };
  auto audit = [&]() -> std::string {
    auto* control = segment->at<shm::ArrayControl>(where.control);
    if (control->redo.load() != 0) return "a redo record was left";
    // Every scratch chunk but the kept one was given back.
    std::string wrong;
    shm::for_each_chunk(*segment, shm::ChunkOwner(where.object, 1), [&](shm::Offset chunk, std::uint64_t) {
      if (chunk != control->scratch) wrong = fmt::format("the scratch chunk at {} is lost", chunk);
    });
    return wrong.empty() ? locked(control->writing) : wrong;
  };
  auto write = [&] { ignore(array.write(segment.me(), 11, 300, slice.data())); };
  auto fill = [&] { ignore(array.fill(segment.me(), 11, 300, element.data())); };
  kill_everywhere_in(segment, {"the first slice", write, observe, audit});
  kill_everywhere_in(segment, {"the first fill", fill, observe, audit});
  REQUIRE(array.store(segment.me(), 5, element.data()) == Status::kOk);
  kill_everywhere_in(segment, {"a slice that needs a larger scratch chunk", write, observe, audit});
  kill_everywhere_in(segment, {"a fill with a kept scratch chunk", fill, observe, audit});
  kill_everywhere_in(segment, {"a store of a large element",
                               [&] { ignore(array.store(segment.me(), 7, slice.data())); }, observe, audit});
}

TEST_CASE("a writer of a slice of more than an extent killed anywhere leaves all of it or nothing", "[kill]") {
  TestSegment segment(8u << 20);
  constexpr std::uint64_t kCount = 70'000;
  auto where = segment.make({shm::ObjectKind::kArray, "", "array", {kCount, 1}});
  (void)shm::commit_ahead(segment.me(), 8);
  shm::Array array(where);
  std::string all(kCount, 'n');
  auto observe = [&] {
    std::string got(kCount, '#');
    return array.read(segment.me(), 0, kCount, got.data()) == Status::kOk ? got : "unreadable";
  };
  auto audit = [&]() -> std::string {
    auto owned = shm::bytes_owned_by(*segment, where.object);
    return owned == 2 * shm::kExtent + shm::kGranule ? "" : fmt::format("{} bytes are owned", owned);
  };
  kill_everywhere_in(
      segment, {"a slice of 70,000 bytes", [&] { ignore(array.write(segment.me(), 0, kCount, all.data())); }, observe,
                audit, 1, 1});
}

TEST_CASE("an owner of a lock killed anywhere leaves it free, and told if it held it", "[kill]") {
  for (bool poisons : {false, true}) {
    TestSegment segment(8u << 20);
    auto where = segment.make({shm::ObjectKind::kLock, "", "lock", {poisons ? 1u : 0u}});
    shm::UserLock lock(where);
    auto* control = segment->at<shm::UserLockControl>(where.control);
    // What a death leaves depends on its moment; what must hold is that the lock is usable again.
    auto observe = [&]() -> std::string { return ""; };
    auto audit = [&]() -> std::string {
      if (lock.locked()) return "the lock stayed locked";
      std::uint64_t before = control->fence.load();
      bool died = lock.died_pid() != 0;
      Status status = lock.acquire(segment.me());
      if (poisons && died) {
        if (status != Status::kPoisoned || lock.locked()) return "the poison was not told";
        lock.mark_consistent();
        status = lock.acquire(segment.me());
      }
      if (status != Status::kOk) return std::string("the lock could not be taken: ") + shm::to_string(status);
      if (lock.fencing_token() <= before) return "the fencing token did not rise";
      if (poisons && lock.died_pid() != 0) return "the poison was not ended";
      (void)lock.take_died();
      return lock.release(segment.me()) == Status::kOk ? "" : "the lock could not be released";
    };
    kill_everywhere_in(segment, {"acquire and release",
                                 [&] {
                                   if (lock.acquire(segment.me()) == Status::kOk) ignore(lock.release(segment.me()));
                                 },
                                 observe, audit});
  }
}
