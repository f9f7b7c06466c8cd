// Large elements of a list move together when the next one needs one piece of memory.
#include <atomic>
#include <thread>

#include "support/list_fixture.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kAll = ~std::uint64_t{0};

std::string value_of(int number, std::uint64_t bytes) {
  return std::string(bytes, static_cast<char>('a' + number % 26));
}

// A list that fills its segment: elements of 1 MiB, between small ones.
struct Filled {
  explicit Filled(std::uint64_t memory_limit) : segment(memory_limit), list(make_list(segment, true)) {
    for (int i = 0; push(value_of(i, kMiB)) == Status::kOk && push("small") == Status::kOk; ++i) {
      model.push_back(value_of(i, kMiB));
      model.push_back("small");
    }
    if (list.size() > model.size()) model.push_back(value_of(static_cast<int>(model.size() / 2), kMiB));
  }
  Status push(const std::string& value) { return list.push_back(me(), text(value)); }
  void erase_every_second_large_one() {
    for (std::size_t i = 0; i + 1 < model.size(); i += 3) {
      REQUIRE(list.erase(me(), i) == Status::kOk);
      model.erase(model.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  shm::ThreadContext& me() const { return segment.me(); }

  TestSegment segment;
  shm::List list;
  std::vector<std::string> model;
};

}  // namespace

TEST_CASE("a large element finds room where every second smaller one was erased, and the others are as they were") {
  Filled filled(96 * kMiB);
  REQUIRE(filled.model.size() > 140);
  filled.erase_every_second_large_one();
  const std::size_t erased = filled.model.size() / 3;
  std::size_t large = 0;
  while (filled.push(value_of(static_cast<int>(large), 8 * kMiB)) == Status::kOk) {
    filled.model.push_back(value_of(static_cast<int>(large++), 8 * kMiB));
  }
  CHECK(large * 8 + 17 > erased);  // all but two pieces of what was freed
  check_same(filled.segment, filled.list, filled.model);
}

TEST_CASE("a list in which nothing is free moves nothing, nor does one of words") {
  Filled filled(32 * kMiB);
  CHECK_FALSE(filled.list.compact(filled.me()));
  CHECK(filled.push(value_of(0, kMiB)) == Status::kOutOfMemory);
  check_same(filled.segment, filled.list, filled.model);
  TestSegment segment;
  shm::List words(make_list(segment, false));
  REQUIRE(words.push_back(segment.me(), text(word_text(1))) == Status::kOk);
  CHECK_FALSE(words.compact(segment.me()));
}

TEST_CASE("elements that move are no change: neither to who retries after changes, nor to who watches") {
  Filled filled(16 * kMiB);
  filled.erase_every_second_large_one();
  filled.list.give_idle_memory(filled.me());
  std::uint64_t before = 0, after = 0;
  std::vector<std::string> values;
  REQUIRE(filled.list.snapshot(filled.me(), 0, kAll, values, &before) == Status::kOk);
  REQUIRE(filled.list.compact(filled.me()));
  REQUIRE(filled.list.snapshot(filled.me(), 0, kAll, values, &after) == Status::kOk);
  CHECK(after == before);
  CHECK(values == filled.model);
}

TEST_CASE("who reads elements while they move gets them whole") {
  TestSegment segment(16 * kMiB);
  shm::List list(make_list(segment, true));
  auto& me = segment.me();
  constexpr std::uint64_t kBytes = 70'000;
  for (int i = 0; i < 8; ++i) REQUIRE(list.push_back(me, text(value_of(i, kBytes))) == Status::kOk);
  Shared<std::atomic<bool>> over;
  const pid_t reader = spawn([&] {
    std::uint64_t reads = 0;
    while (!*over || reads == 0) {
      for (int i = 0; i < 7; ++i, ++reads) {
        const auto value = get(list, static_cast<std::uint64_t>(i));
        if (!value || *value != value_of(i, kBytes)) throw std::runtime_error("another element, or a torn one");
      }
      std::vector<std::string> values;
      if (list.snapshot(segment.me(), 0, 7, values) != Status::kOk || values.size() != 7) {
        throw std::runtime_error("no snapshot");
      }
      for (int i = 0; i < 7; ++i) {
        if (values[static_cast<std::size_t>(i)] != value_of(i, kBytes)) throw std::runtime_error("torn in a snapshot");
      }
    }
  });
  int moves = 0;
  for (int round = 0; round < 300; ++round) {
    for (int i = 0; i < 7; ++i) {
      // Overwritten by the same: it moves up, and leaves a hole.
      REQUIRE(list.set(me, static_cast<std::uint64_t>(i), text(value_of(i, kBytes))) == Status::kOk);
    }
    list.give_idle_memory(me);
    moves += list.compact(me);
  }
  *over = true;
  CHECK(wait_for(reader) == 0);
  CHECK(moves > 0);
  CHECK(list.audit(me).error == "");
}
