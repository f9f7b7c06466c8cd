// Every mutating operation of an array, killed at every instruction.
#include "shm/array.h"

#include "shm/extents_commit.h"
#include "support//structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {
void ignore(Status) {}
std::string locked(const shm::LockWord& word) {
  return word.state.load() != 0 ? "a lock stayed locked" : "";
}
}  // namespace

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
