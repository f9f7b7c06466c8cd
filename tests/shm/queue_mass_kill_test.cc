// All producers and consumers of a queue killed at one moment, again and again; each time the next ones go on with what
// is there.
#include <algorithm>
#include <chrono>
#include <iostream>
#include <random>
#include <thread>

#include "shm/any_queue.h"
#include "shm/recovery.h"
#include "support/ordered_queue_fixture.h"
#include "support/process_shared.h"
#include "support/queue_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::Status;

namespace {

constexpr int kRounds = 25;
constexpr std::uint32_t kMostAtOnce = 4;  // of each kind
constexpr std::uint32_t kLives = kRounds * kMostAtOnce;
constexpr std::uint32_t kMostOfOne = 40'000;

// What the processes have seen happen, written by themselves right after.
struct Log {
  std::atomic<std::uint32_t> put[kLives];                     // put() returned so often
  std::atomic<std::uint8_t> taken[kLives][kMostOfOne];        // get() returned this item so often
  std::atomic<std::uint64_t> puts, takes, dones, disordered;  // of all
  std::atomic<std::uint32_t> damaged;
};

struct Crowd {
  const TestSegment& segment;
  const shm::AnyQueue& queue;
  Log& log;

  static std::string item(std::uint32_t life, std::uint32_t number, bool fixed) {
    std::uint64_t word = std::uint64_t{life} << 32 | number;
    std::string value(reinterpret_cast<const char*>(&word), 8);
    if (!fixed) value.resize(number % 60 == 0 ? 3000 : 8 + number % 40, '.');
    return value;
  }
  bool fixed() const { return queue.is_ring() && queue.ring().item_bytes() != 0; }
  Status put(const std::string& value) const {
    return queue.is_ring() ? queue.ring().put(segment.me(), text(value), Deadline::never())
                           : queue.ordered().put(segment.me(), text(value), 0, Deadline::never());
  }
  Status get(std::string& value, Deadline deadline) const {
    return queue.is_ring() ? queue.ring().get(segment.me(), value, deadline)
                           : queue.ordered().get(segment.me(), value, nullptr, deadline);
  }
  Status task_done() const {
    return queue.visit([&](auto& found) { return found.task_done(segment.me()); });
  }

  void produce(std::uint32_t life, std::chrono::microseconds pause) const {
    for (std::uint32_t number = 0; number < kMostOfOne;) {
      if (put(item(life, number, fixed())) != Status::kOk) throw std::runtime_error("a put failed");
      log.put[life].store(++number);
      log.puts.fetch_add(1);
      if (pause != 0us) std::this_thread::sleep_for(pause);
    }
    for (;;) std::this_thread::sleep_for(1h);  // until it is killed
  }

  // Notes an item that came out; `last` is what this consumer saw of each producer before.
  void note(const std::string& value, std::vector<std::int64_t>& last) const {
    std::uint64_t word = 0;
    std::memcpy(&word, value.data(), std::min<std::size_t>(8, value.size()));
    auto life = static_cast<std::uint32_t>(word >> 32), number = static_cast<std::uint32_t>(word);
    if (life >= kLives || number >= kMostOfOne || value != item(life, number, fixed())) {
      log.damaged.fetch_add(1);
      return;
    }
    if (number <= last[life]) log.disordered.fetch_add(1);
    last[life] = std::max<std::int64_t>(last[life], number);
    log.taken[life][number].fetch_add(1);
    log.takes.fetch_add(1);
  }

  void consume(std::chrono::microseconds pause) const {
    std::vector<std::int64_t> last(kLives, -1);
    for (std::string value;;) {
      if (get(value, Deadline::never()) != Status::kOk) throw std::runtime_error("a get failed");
      note(value, last);
      if (task_done() != Status::kOk) throw std::runtime_error("task_done failed");
      log.dones.fetch_add(1);
      if (pause != 0us) std::this_thread::sleep_for(pause);
    }
  }
};

void run(const char* name, const TestSegment& segment, const shm::ObjectAddress& where, bool redelivers) {
  const std::uint64_t seed = Catch::rngSeed();
  INFO(name << ", seed " << seed);
  std::mt19937_64 random(seed);
  shm::AnyQueue queue(where);
  Shared<Log> log;
  Crowd crowd{segment, queue, *log};
  std::uint32_t lives = 0;
  std::uint64_t killed_consumers = 0;
  for (int round = 0; round < kRounds; ++round) {
    INFO("round " << round);
    // Now producers wait for room, now consumers for items, now neither.
    const auto kind = random() % 3;
    const auto producers = 1 + static_cast<std::uint32_t>(random() % kMostAtOnce),
               consumers = 1 + static_cast<std::uint32_t>(random() % kMostAtOnce);
    Shared<std::atomic<pid_t>> group;
    std::vector<pid_t> children;
    auto start = [&](auto&& work) {
      children.push_back(spawn([&] {
        setpgid(0, group->load());
        work();
      }));
      if (group->load() == 0) group->store(children.front());
      setpgid(children.back(), group->load());
    };
    const std::uint64_t puts = log->puts, takes = log->takes;
    for (std::uint32_t i = 0; i < producers; ++i) {
      const std::uint32_t life = lives++;
      start([&] { crowd.produce(life, kind == 1 ? 200us : 0us); });
    }
    for (std::uint32_t i = 0; i < consumers; ++i) start([&] { crowd.consume(kind == 2 ? 200us : 0us); });
    // Nobody blocks: the new ones get on.
    auto end = std::chrono::steady_clock::now() + 60s;
    while (log->puts < puts + 3 || log->takes < takes + 3) {
      if (std::chrono::steady_clock::now() > end) FAIL("they are stuck");
      std::this_thread::sleep_for(100us);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 8000));
    REQUIRE(kill(-group->load(), SIGKILL) == 0);
    for (pid_t child : children) REQUIRE(wait_for(child) == -SIGKILL);
    killed_consumers += consumers;
    // Sometimes nobody recovers them: those who come next must.
    if (random() % 3 != 0) (void)shm::recover_all_dead(*segment, segment.me());
  }
  (void)shm::recover_all_dead(*segment, segment.me());
  REQUIRE(queue.audit(segment.me()).error == "");
  REQUIRE(queue.audit(segment.me()).lost_blocks == 0);
  REQUIRE(queue.audit(segment.me()).lost_chunks == 0);
  // What is left, by one more consumer, who is not killed.
  std::vector<std::int64_t> last(kLives, -1);
  for (std::string value; crowd.get(value, Deadline::already()) == Status::kOk;) {
    crowd.note(value, last);
    REQUIRE(crowd.task_done() == Status::kOk);
  }
  const std::uint64_t unfinished = queue.visit([](auto& found) { return found.unfinished(); });
  std::uint64_t lost = 0, twice = 0, invented = 0, items = 0;
  for (std::uint32_t life = 0; life < lives; ++life) {
    const std::uint32_t put = log->put[life];
    items += put;
    for (std::uint32_t number = 0; number < kMostOfOne; ++number) {
      const std::uint32_t taken = log->taken[life][number];
      lost += number < put && taken == 0;
      twice += taken > 1 ? taken - 1 : 0;
      // The last put of a killed producer may have happened without its knowing.
      invented += number > put && taken != 0;
    }
  }
  std::cout << name << ", seed " << seed << ": " << items << " items, " << killed_consumers << " consumers killed, "
            << lost << " items gone with them, " << twice << " delivered again\n";
  CHECK(log->damaged == 0);
  CHECK(invented == 0);
  CHECK(items > 1000);
  if (redelivers) {
    // Killed between the note and task_done: delivered again, before all others and so out of order.
    CHECK(lost == 0);
    CHECK(twice <= killed_consumers);
    CHECK(log->disordered <= killed_consumers);
    CHECK(unfinished == 0);
    CHECK(queue.visit([&](auto& found) { return found.join(segment.me(), Deadline::already()); }) == Status::kOk);
  } else {
    // Who is killed when he has taken an item, and has not said so, takes it with him.
    CHECK(lost <= killed_consumers);
    CHECK(twice == 0);
    CHECK(log->disordered == 0);
    CHECK(unfinished <= killed_consumers);
  }
}

}  // namespace

TEST_CASE("when all producers and consumers are killed at once the next ones go on, and no item is lost or doubled") {
  TestSegment segment;
  run("fixed items", segment, make_queue(segment, 8), false);
  run("fixed items, at most 5", segment, make_queue(segment, 8, 5), false);
  run("items of any size", segment, make_queue(segment, 0), false);
  run("items of any size, at most 20", segment, make_queue(segment, 0, 20), false);
}

TEST_CASE("a queue that redelivers loses nothing when all its producers and consumers are killed at once") {
  TestSegment segment;
  run("with redelivery", segment, make_ordered_queue(segment, shm::QueueMode::kFifo, true), true);
  run("with redelivery, at most 5", segment, make_ordered_queue(segment, shm::QueueMode::kFifo, true, 5), true);
}
