// A list in a segment that somebody wrote over: its operations may fail or give wrong elements, but they end, and touch
// no memory but the segment's.
#include <signal.h>

#include <random>

#include "support/list_fixture.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

// Overwrites words of the object's chunks: with noise, with small numbers, or with other words of it.
void damage(const TestSegment& segment, const shm::ObjectAddress& where, std::mt19937_64& random) {
  std::vector<shm::Offset> chunks;
  for (std::uint32_t arena : {shm::kControlArena, 0u}) {
    shm::for_each_chunk(*segment, shm::ChunkOwner(where.object, arena), [&](shm::Offset at, std::uint64_t bytes) {
      for (std::uint64_t i = 0; i < bytes; i += shm::kGranule) chunks.push_back(at + i);
    });
  }
  auto any_word = [&] {
    return segment->at<shm::AtomicWord>(chunks[random() % chunks.size()]) + random() % (shm::kGranule / 8);
  };
  auto* lock = segment->at<shm::AtomicWord>(where.control);
  for (std::uint64_t i = 1 + random() % 8; i != 0; --i) {
    shm::AtomicWord* word = random() % 3 == 0 ? lock + 1 + random() % (sizeof(shm::ListControl) / 8 - 1) : any_word();
    if (word == lock) continue;  // a word that says that another holds the lock is no damage that could be seen
    switch (random() % 4) {
      case 0:
        word->store(random());
        break;
      case 1:
        word->store(random() % 200);
        break;
      case 2:
        word->store(word->load() ^ shm::Word{1} << random() % 40);
        break;
      default:
        word->store(any_word()->load());
    }
  }
}

void use(const TestSegment& segment, const shm::ObjectAddress& where, std::mt19937_64& random) {
  auto ignore = [](Status) {};
  shm::List list(where);
  auto& me = segment.me();
  std::string out, value(random() % 3000, 'v');
  std::vector<std::string> values(random() % 300, "12345678");
  for (int i = 0; i < 30; ++i) {
    std::uint64_t at = random() % 700;
    char word[8];
    switch (random() % 16) {
      case 0:
        ignore(list.push_back(me, text(value)));
        break;
      case 1:
        ignore(list.push_front(me, text(value)));
        break;
      case 2:
        ignore(list.pop_back(me, out));
        break;
      case 3:
        ignore(list.pop_front(me, out));
        break;
      case 4:
        ignore(list.insert(me, at, text(value)));
        break;
      case 5:
        ignore(list.erase(me, at, &out));
        break;
      case 6:
        ignore(list.set(me, at, text(value), &out));
        break;
      case 7:
        ignore(list.replace(me, at, random() % 300, items_of(values)));
        break;
      case 8:
        ignore(list.extend(me, items_of(values)));
        break;
      case 9:
        if (random() % 4 == 0) ignore(list.clear(me));
        break;
      case 10:
        ignore(list.reverse(me));
        break;
      case 11:
        ignore(list.snapshot(me, at, random() % 700, values));
        break;
      case 12:
        ignore(list.compare_exchange(me, at, text("12345678"), text(value), &out));
        break;
      case 13:
        ignore(list.get_fixed(at, word, 8));
        break;
      case 14:
        try {
          (void)get(list, at);
        } catch (const std::runtime_error&) {
        }
        break;
      default:
        if (random() % 3 == 0) (void)list.audit(me);
        if (random() % 5 == 0) shm::List::repair(me, where, segment->at<shm::ListControl>(where.control)->writing);
    }
  }
}

}  // namespace

TEST_CASE("operations on a damaged list end, and touch no memory but the segment's") {
  INFO("seed " << Catch::rngSeed());
  std::mt19937_64 random(Catch::rngSeed());
  for (int round = 0; round < 600; ++round) {
    INFO("round " << round);
    std::uint64_t seed = random();
    TestSegment segment(4u << 20);
    auto where = make_list(segment, round % 2 == 0);
    {
      std::mt19937_64 choice(seed);
      shm::List list(where);
      std::vector<std::string> values(choice() % 800, "12345678");
      REQUIRE(list.extend(segment.me(), items_of(values)) == Status::kOk);
      for (int i = 0; i < 20; ++i) REQUIRE(list.push_front(segment.me(), text("abcdefgh")) == Status::kOk);
      if (round % 2 == 0) REQUIRE(list.push_back(segment.me(), text(std::string(choice() % 5000, 'x'))) == Status::kOk);
    }
    pid_t child = spawn([&] {
      alarm(20);
      std::mt19937_64 choice(seed + 1);
      damage(segment, where, choice);
      use(segment, where, choice);
    });
    INFO("seed of the round " << seed);
    REQUIRE(wait_for(child) == 0);
  }
}
