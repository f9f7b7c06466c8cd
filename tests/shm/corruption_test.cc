// A segment with random words overwritten crashes nobody who reads or writes it.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <random>

#include "shm/dict_layout.h"
#include "shm/object_types.h"
#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "support/process_shared.h"
#include "support/shared_image.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Dict;
using shm::Status;
using shm::Word;

namespace {

struct Populated {
  TestSegment segment{8u << 20};
  shm::ObjectAddress large = segment.make_dict(1), small = segment.make_dict(4);
  std::vector<MemoryRange> ranges;

  Populated() {
    auto& me = segment.me();
    Dict dict(large), few(small);
    for (std::int64_t i = 0; i < 700; ++i) {
      std::string key = "key/" + std::to_string(i), value(static_cast<std::size_t>(i) % 90, 'v');
      REQUIRE(dict.put(me, text(key), text(value)) == Status::kOk);
      if (i % 40 == 0) REQUIRE(few.put(me, text(key), integer(i)) == Status::kOk);
    }
    std::string chunk(3'000, 'c'), extents(140'000, 'e');
    REQUIRE(few.put(me, text("chunk"), text(chunk)) == Status::kOk);
    REQUIRE(few.put(me, text("extents"), text(extents)) == Status::kOk);
    for (std::int64_t i = 0; i < 100; ++i) {
      std::string key = "key/" + std::to_string(i * 3);
      REQUIRE(dict.erase(me, text(key)) == Status::kOk);
    }
    REQUIRE(shm::add_reference(*segment, {large.object, 1}) == Status::kOk);
    // A dead session that holds a lock, and one more that holds two at once.
    for (int locks = 1; locks <= 2; ++locks) {
      REQUIRE(wait_for(spawn([&] {
                auto& dead = segment.me();
                auto& control = *segment->at<shm::DictControl>(small.control);
                for (int i = 0; i < locks; ++i) {
                  (void)shm::lock(dead, shm::dict_shard(control, static_cast<std::uint64_t>(locks + i)).writing);
                }
              })) == 0);
    }
    auto& header = segment->header();
    auto cover = [&](shm::Offset at, std::uint64_t bytes) {
      ranges.push_back({segment->base() + at, shm::round_up(bytes, shm::kPage)});
    };
    std::uint64_t extents_used = header.committed_extents.load();
    cover(0, shm::kPage);
    cover(header.sessions_at, shm::kPage);
    cover(header.threads_at, shm::kPage);
    cover(header.objects_at, 2 * shm::kPage);
    cover(header.extents_at, extents_used * 8);
    cover(header.granules_at, extents_used * shm::kGranulesPerExtent * 4);
    cover(header.data_at, extents_used * shm::kExtent);
  }
};

// A word that is wrong in one of many ways.
Word spoil(Word word, std::mt19937_64& random) {
  switch (random() % 9) {
    case 0:
      return 0;
    case 1:
      return ~Word{0};
    case 2:
      return random();
    case 3:
      return random() % 64;
    case 4:
      return word + 1 + random() % 64;
    case 5:
      return word - 1 - random() % 64;
    case 6:
      return word ^ (Word{0xff} << 8 * (random() % 8));
    case 7:
      return word << 1;
    default:
      return word ^ Word { 1 } << random() % 64;
  }
}

void use(const Populated& populated, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const TestSegment& segment = populated.segment;
  shm::ThreadContext* me = segment->here();
  std::string value;
  shm::Sink sink{&value, [](void* to, shm::ItemKind, std::size_t size) -> void* {
                   if (size > (std::size_t{1} << 30)) return nullptr;
                   static_cast<std::string*>(to)->resize(size);
                   return static_cast<std::string*>(to)->data();
                 }};
  for (const auto& where : {populated.large, populated.small}) {
    Dict dict(where);
    for (int i = 0; i < 200; ++i) {
      std::string key = "key/" + std::to_string(random() % 800);
      (void)dict.get(text(key), sink);
    }
    (void)dict.size();
  }
  shm::ObjectId found;
  (void)find_object(*segment, "no such name", found);
  for_each_object(*segment, [&](const shm::ObjectInfo& info) { (void)bytes_owned_by(*segment, info.id.index); });
  std::vector<bool> referred;
  shm::mark_referred(*segment, referred);
  if (me == nullptr) return;
  (void)shm::recover_all_dead(*segment, *me);
  for (const auto& where : {populated.large, populated.small}) {
    Dict dict(where);
    (void)dict.audit(*me);
    std::vector<shm::DictEntryCopy> entries;
    (void)dict.snapshot(*me, entries);
    for (int i = 0; i < 60; ++i) {
      std::string key = "key/" + std::to_string(random() % 900), fresh(random() % 4000, 'n');
      Word zero = 0;
      (void)dict.put(*me, text(key), text(fresh));
      (void)dict.erase(*me, text("key/" + std::to_string(random() % 900)));
      (void)dict.change_word(
          *me, text("word"), shm::ItemKind::kInt64, [](Word a, Word b) { return a + b; }, 1, &zero, nullptr);
    }
    shm::DictPair pairs[] = {{text("a"), text("1")}, {text("b"), text("2")}, {text("c"), text("3")}};
    (void)dict.put_many(*me, pairs);
    shm::DictOrderCache cache;
    shm::DictEntryCopy popped;
    (void)dict.pop_last(*me, cache, popped);
    (void)dict.clear(*me);
    (void)dict.put(*me, text("a"), text("1"));
  }
  shm::ObjectId made;
  (void)create_object(*me, {shm::ObjectKind::kDict, "made", "", {1}}, made);
  (void)shm::add_reference(*segment, made);
  shm::drop_reference(*segment, made);
  destroy_object(*me, made);
  shm::finish_sweep(*me);
  segment->leave();
}

}  // namespace

TEST_CASE("random words in the place of a segment's crash nobody") {
  Populated populated;
  SharedImage image(populated.ranges);
  std::mt19937_64 random(Catch::rngSeed());
  INFO("seed " << Catch::rngSeed());
  int rounds = std::getenv("COMMONHOLD_SOAK") != nullptr ? 20'000 : 600, stuck = 0;
  for (int round = 0; round < rounds; ++round) {
    image.restore();
    std::uint64_t flips = 1 + random() % 8;
    std::string what;
    for (std::uint64_t i = 0; i < flips; ++i) {
      // The tables are small beside the data, and matter more.
      const MemoryRange& range = populated.ranges[random() % populated.ranges.size()];
      std::uint64_t span = range.length;
      if (random() % 2 == 0) span = std::min<std::uint64_t>(span, 2'048);
      auto* word = static_cast<Word*>(range.address) + random() % (span / 8);
      Word spoiled = spoil(*word, random);
      what += fmt::format(" [{:#x}] {:#x}->{:#x}", populated.segment->offset_of(word), *word, spoiled);
      shm::store_word(word, spoiled);
    }
    std::uint64_t seed = random();
    pid_t child = spawn([&] {
      // Memory that a wrong length asks for must not be had, nor time without end.
      rlimit memory{std::uint64_t{4} << 30, std::uint64_t{4} << 30}, time{4, 4};
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they reserve terabytes for themselves
      setrlimit(RLIMIT_AS, &memory);
#else
      (void)memory;
#endif
      setrlimit(RLIMIT_CPU, &time);
      alarm(3);
      use(populated, seed);
    });
    int status = wait_for(child);
    // A lock word that names a live owner is waited for: that is no crash.
    if (status == -SIGALRM) ++stuck;
    INFO("round " << round << ", words:" << what);
    bool survived = status >= 0 || status == -SIGALRM;
    CHECK(survived);
    if (!survived) std::printf("round %d: status %d,%s\n", round, status, what.c_str());
  }
  image.restore();
  CHECK(stuck < rounds / 20);
}

namespace {

// Puts over one key often enough that blocks are parked and freed.
bool survives_overwrites(const Populated& populated, std::size_t size) {
  return wait_for(spawn([&] {
           Dict dict(populated.large);
           std::string value(size, '\xff');
           for (int i = 0; i < 60; ++i) (void)dict.put(populated.segment.me(), text("key/1"), text(value));
         })) == 0;
}

}  // namespace

TEST_CASE("a free list that leads into the dict's own heap leads no writer out of the segment") {
  Populated populated;
  SharedImage image(populated.ranges);
  auto& control = *populated.segment->at<shm::DictControl>(populated.large.control);
  shm::HeapState& heap = shm::dict_shard(control, 0).heap;
  const shm::Offset count_at = populated.segment->offset_of(&heap.parked_count);
  for (std::size_t size : {40u, 64u, 90u}) {
    for (shm::Offset before : {0u, 16u, 32u, 48u, 64u}) {
      image.restore();
      shm::store_word(&heap.parked_count, 0);
      for (Word& head : heap.free_head) shm::store_word(&head, (count_at - before) & ~shm::Offset{15});
      INFO("values of " << size << " bytes, " << before << " bytes before the count of parked blocks");
      CHECK(survives_overwrites(populated, size));
    }
  }
  image.restore();
}

TEST_CASE("a parked block of a size that none has leads no writer out of the segment") {
  Populated populated;
  SharedImage image(populated.ranges);
  auto& control = *populated.segment->at<shm::DictControl>(populated.large.control);
  shm::HeapState& heap = shm::dict_shard(control, 0).heap;
  for (Word size : {23u, 24u, 63u, 64u, 65u, 66u, 67u, 0xffffffu}) {
    image.restore();
    for (Word& parked : heap.parked) shm::store_word(&parked, size << 40 | 0xff'ffff'ff00);
    shm::store_word(&heap.parked_count, shm::kParkedBlocks);
    INFO("size code " << size);
    CHECK(survives_overwrites(populated, 60));
  }
  image.restore();
}
