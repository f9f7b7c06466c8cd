// Queues in a segment that somebody wrote over: their operations may fail or give wrong items, but they end, and touch
// no memory but the segment's.
#include <signal.h>

#include <random>

#include "shm/any_queue.h"
#include "support/ordered_queue_fixture.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;

namespace {

// Overwrites words of the queue's chunks, but for its locks: that another one holds them is no damage that could be
// seen.
void damage(const TestSegment& segment, const shm::ObjectAddress& where, std::mt19937_64& random) {
  std::vector<shm::Offset> granules;
  for (std::uint32_t arena : {shm::kControlArena, 0u, 1u, 2u, 3u}) {
    shm::for_each_chunk(*segment, shm::ChunkOwner(where.object, arena), [&](shm::Offset at, std::uint64_t bytes) {
      for (std::uint64_t i = 0; i < bytes; i += shm::kGranule) granules.push_back(at + i);
    });
  }
  std::vector<const void*> locks;
  shm::AnyQueue::each_lock(where, &locks, [](void* context, shm::LockWord& word) {
    static_cast<std::vector<const void*>*>(context)->push_back(&word);
  });
  auto any_word = [&] {
    shm::Offset granule = random() % 2 == 0 ? where.control : granules[random() % granules.size()];
    return segment->at<shm::AtomicWord>(granule) + random() % (shm::kGranule / 8);
  };
  for (std::uint64_t i = 1 + random() % 8; i != 0; --i) {
    shm::AtomicWord* word = any_word();
    if (std::find(locks.begin(), locks.end(), word) != locks.end()) continue;
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

void ignore(Status) {}

void use(const TestSegment& segment, const shm::ObjectAddress& where, std::mt19937_64& random) {
  shm::AnyQueue queue(where);
  auto& me = segment.me();
  const bool waits = random() % 2 == 0;
  std::string out, value(random() % 20 == 0 ? 8 : random() % 4000, 'v');
  std::vector<std::string> values(random() % 40, "12345678"), taken;
  std::vector<shm::Item> items;
  for (auto& one : values) items.push_back(text(one));
  char word[8];
  for (int i = 0; i < 20; ++i) {
    const Deadline now = waits ? Deadline::after(std::chrono::microseconds(300)) : Deadline::already();
    std::uint64_t done;
    shm::ItemKind kind;
    switch (random() % 11) {
      case 0:
      case 1:
        ignore(queue.is_ring() ? queue.ring().put(me, text(value), now)
                               : queue.ordered().put(me, text(value), random() % 9, now));
        break;
      case 2:
      case 3:
        ignore(queue.is_ring() ? queue.ring().get(me, out, now) : queue.ordered().get(me, out, nullptr, now));
        break;
      case 4:
        ignore(queue.is_ring() ? queue.ring().put_many(me, items, now, done)
                               : queue.ordered().put(me, text("small"), 3, now));
        break;
      case 5:
        ignore(queue.visit([&](auto& one) { return one.peek(me, kind, out, now); }));
        break;
      case 6:
        ignore(queue.is_ring() ? queue.ring().get_fixed(me, word, 8, now)
                               : queue.ordered().get_fixed(me, word, 8, nullptr, now));
        break;
      case 7:
        ignore(queue.visit([&](auto& one) { return one.task_done(me); }));
        break;
      case 8:
        (void)queue.audit(me);
        break;
      case 9:
        ignore(queue.visit([&](auto& one) { return one.join(me, now); }));
        break;
      default:
        shm::AnyQueue::each_lock(where, &me, [](void*, shm::LockWord&) {});
        (void)shm::AnyQueue::each_link(me, where, Deadline::never(), {nullptr, [](void*, shm::ObjectId) {}});
        shm::AnyQueue::owner_ended(where, static_cast<std::uint32_t>(random()));
    }
  }
  // What recovery does.
  struct Repair {
    shm::ThreadContext* me;
    const shm::ObjectAddress* where;
  } repair{&me, &where};
  shm::AnyQueue::each_lock(where, &repair, [](void* context, shm::LockWord& word) {
    auto* with = static_cast<Repair*>(context);
    shm::AnyQueue::repair(*with->me, *with->where, word);
  });
}

}  // namespace

TEST_CASE("operations on a damaged queue end at their deadline, and touch nothing outside of the segment") {
  std::uint64_t seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 seeds(seed);
  for (int round = 0; round < 400; ++round) {
    std::uint64_t one = seeds();
    INFO("round " << round << ", seed " << one);
    // In a child: what it must not do ends a process.
    pid_t child = spawn([&] {
      alarm(20);
      std::mt19937_64 random(one);
      TestSegment segment(16u << 20);
      std::uint64_t order = random() % 3 == 0 ? 0 : 2 + random() % 2, redeliver = random() % 2;
      std::uint64_t bytes = random() % 2 == 0 ? 0 : 8;
      auto where = segment.make(
          {shm::ObjectKind::kPriorityQueue, "", "queue", {bytes, random() % 2 * 100, random() % 2 * order, redeliver}});
      shm::AnyQueue queue(where);
      for (int i = 0; i < 100; ++i) {
        std::string item(bytes != 0 ? bytes : random() % 30 == 0 ? 3000 : random() % 50, 'i');
        ignore(queue.is_ring() ? queue.ring().put(segment.me(), text(item), Deadline::already())
                               : queue.ordered().put(segment.me(), text(item), random() % 5, Deadline::already()));
        if (random() % 3 != 0) continue;
        ignore(queue.is_ring() ? queue.ring().get(segment.me(), item, Deadline::already())
                               : queue.ordered().get(segment.me(), item, nullptr, Deadline::already()));
      }
      for (int i = 0; i < 5; ++i) {
        damage(segment, where, random);
        try {
          use(segment, where, random);
        } catch (const std::bad_alloc&) {  // a size that somebody wrote over
        } catch (const std::length_error&) {
        }
      }
    });
    int end = wait_for(child);
    std::filesystem::remove_all(fmt::format("/dev/shm/commonhold-test-{}-0", child));
    REQUIRE(end == 0);
  }
}
