// Producers and consumers in processes of their own, killed at random moments, with a log of what each acknowledged.
#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "shm/queue.h"
#include "shm/recovery.h"
#include "support/process_shared.h"
#include "support/queue_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::Status;

namespace {

constexpr std::uint32_t kLives = 400;         // producers and consumers there can be, the killed ones included
constexpr std::uint32_t kMostOfOne = 20'000;  // items of one producer
constexpr int kAtOnce = 2;                    // of each kind

// What the processes have seen happen, written by themselves right after.
struct Log {
  std::atomic<std::uint32_t> put[kLives];               // put() returned so often
  std::atomic<std::uint8_t> taken[kLives][kMostOfOne];  // get() returned this item so often
  std::atomic<std::uint32_t> order_errors;
  std::atomic<bool> stop;
};

struct Storm {
  const TestSegment& segment;
  const shm::Queue& queue;
  Log& log;
  std::uint64_t bytes;
  bool bulk;

  // An item: who put it, and its number.
  std::string item(std::uint32_t life, std::uint32_t number) const {
    std::uint64_t word = std::uint64_t{life} << 32 | number;
    std::string value(reinterpret_cast<const char*>(&word), 8);
    std::uint64_t size = bytes != 0 ? bytes : number % 50 == 0 ? 3000 : 8 + number % 30;
    value.resize(size, '.');
    return value;
  }

  void produce(std::uint32_t life) const {
    auto& me = segment.me();
    for (std::uint32_t number = 0; number < kMostOfOne && !log.stop;) {
      if (!bulk) {
        std::string value = item(life, number);
        if (queue.put(me, text(value), Deadline::after(1s)) != Status::kOk) continue;
        log.put[life].store(++number);
      } else {
        std::vector<std::string> values;
        for (std::uint32_t i = 0; i < 7 && number + i < kMostOfOne; ++i) values.push_back(item(life, number + i));
        std::vector<shm::Item> items;
        for (auto& value : values) items.push_back(text(value));
        std::uint64_t done = 0;
        (void)queue.put_many(me, items, Deadline::after(1s), done);
        log.put[life].store(number += static_cast<std::uint32_t>(done));
      }
    }
  }

  void note(const std::string& value, std::vector<std::int64_t>& last) const {
    std::uint64_t word;
    std::memcpy(&word, value.data(), 8);
    auto life = static_cast<std::uint32_t>(word >> 32), number = static_cast<std::uint32_t>(word);
    if (life >= kLives || number >= kMostOfOne || value != item(life, number) || number <= last[life]) {
      log.order_errors.fetch_add(1);
      return;
    }
    last[life] = number;
    log.taken[life][number].fetch_add(1);
  }

  void consume() const {
    auto& me = segment.me();
    std::vector<std::int64_t> last(kLives, -1);
    for (;;) {
      std::vector<std::string> values(1);
      Status status =
          bulk ? queue.get_many(me, 5, values, Deadline::after(50ms)) : queue.get(me, values[0], Deadline::after(50ms));
      if (status == Status::kOk) {
        for (auto& value : values) note(value, last);
      } else if (log.stop) {
        return;
      }
    }
  }
};

void run_storm(std::uint64_t bytes, std::uint64_t limit, bool bulk, int kills, std::uint64_t seed) {
  INFO("items of " << bytes << " bytes, limit " << limit << (bulk ? ", in bulk" : "") << ", seed " << seed);
  std::mt19937_64 random(seed);
  TestSegment segment;
  shm::Queue queue(make_queue(segment, bytes, limit));
  Shared<Log> log;
  Storm storm{segment, queue, *log, bytes, bulk};
  std::uint32_t lives = 0;
  int killed_consumers = 0;
  struct Child {
    pid_t pid;
    bool producer;
  };
  std::vector<Child> children;
  auto start = [&](bool producer) {
    std::uint32_t life = lives;
    if (producer) ++lives;
    pid_t pid = spawn([&] { producer ? storm.produce(life) : storm.consume(); });
    children.push_back({pid, producer});
  };
  for (int i = 0; i < kAtOnce; ++i) {
    start(true);
    start(false);
  }
  for (int i = 0; i < kills && lives < kLives - kAtOnce; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    std::size_t which = random() % children.size();
    Child child = children[which];
    kill(child.pid, SIGKILL);
    int end = wait_for(child.pid);
    REQUIRE((end == -SIGKILL || (end == 0 && child.producer)));  // a producer may have put all it had
    killed_consumers += !child.producer;
    children.erase(children.begin() + static_cast<std::ptrdiff_t>(which));
    // Sometimes nobody recovers the dead: those who wait for its locks must.
    if (random() % 4 != 0) (void)shm::recover_all_dead(*segment, segment.me());
    start(child.producer);
  }
  log->stop = true;
  for (auto& child : children) REQUIRE(wait_for(child.pid) == 0);
  (void)shm::recover_all_dead(*segment, segment.me());
  REQUIRE(what_is_wrong(segment, queue) == "");
  std::vector<std::int64_t> last(kLives, -1);
  for (std::string value; queue.get(segment.me(), value, Deadline::already()) == Status::kOk;) storm.note(value, last);
  REQUIRE(queue.size() == 0);
  REQUIRE(log->order_errors == 0);
  std::uint64_t lost = 0, twice = 0, invented = 0, items = 0;
  for (std::uint32_t life = 0; life < lives; ++life) {
    std::uint32_t put = log->put[life];
    items += put;
    // The last put of a killed producer may have happened without its knowing.
    std::uint32_t most = put + (bulk ? 7 : 1);
    for (std::uint32_t number = 0; number < kMostOfOne; ++number) {
      int taken = log->taken[life][number];
      twice += taken > 1;
      lost += number < put && taken == 0;
      invented += number >= most && taken != 0;
    }
  }
  INFO(items << " items, " << lost << " lost, " << killed_consumers << " consumers killed");
  REQUIRE(twice == 0);
  REQUIRE(invented == 0);
  // A killed consumer takes with it what its last get had taken, and no more.
  REQUIRE(lost <= static_cast<std::uint64_t>(killed_consumers) * (bulk ? 5 : 1));
  REQUIRE(items > 1000);
}

}  // namespace

TEST_CASE("killed producers and consumers lose no acknowledged item, and none is delivered twice") {
  std::uint64_t seed = std::random_device()();
  run_storm(8, 0, false, 60, seed);
  run_storm(8, 20, false, 60, seed + 1);
  run_storm(0, 0, false, 60, seed + 2);
  run_storm(0, 20, true, 60, seed + 3);
  run_storm(64, 100, true, 60, seed + 4);
}
