#include "shm/queue.h"

#include <chrono>
#include <thread>

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

// The number of an object that there is not: it may own chunks, so that nobody else has them.
constexpr std::uint32_t kNobody = 54'321;
std::string got(const TestSegment& segment, const shm::Queue& queue, Deadline deadline = Deadline::already()) {
  std::string item;
  Status status = queue.get(segment.me(), item, deadline);
  return status == Status::kOk ? item : std::string("!") + shm::to_string(status);
}
Status put(const TestSegment& segment, const shm::Queue& queue, std::string_view item,
           Deadline deadline = Deadline::already()) {
  return queue.put(segment.me(), text(item), deadline);
}
}  // namespace

TEST_CASE("items come out in the order in which they went in, whatever their size") {
  TestSegment segment;
  shm::Queue queue(make_queue(segment, 0));
  for (std::size_t size : {0, 1, 7, 8, 2000, 2048, 2049, 60'000, 70'000, 3}) {
    REQUIRE(put(segment, queue, std::string(size, static_cast<char>('a' + size % 26))) == Status::kOk);
  }
  REQUIRE(queue.size() == 10);
  for (std::size_t size : {0, 1, 7, 8, 2000, 2048, 2049, 60'000, 70'000, 3}) {
    REQUIRE(got(segment, queue) == std::string(size, static_cast<char>('a' + size % 26)));
  }
  REQUIRE(got(segment, queue) == "!timed out");
  REQUIRE(what_is_wrong(segment, queue) == "");
}

TEST_CASE("a full queue takes nothing and an empty one gives nothing, at once or until the deadline") {
  TestSegment segment;
  shm::Queue queue(make_queue(segment, 8, 2));
  REQUIRE(put(segment, queue, "12345678") == Status::kOk);
  REQUIRE(put(segment, queue, "23456789") == Status::kOk);
  REQUIRE(put(segment, queue, "34567890") == Status::kTimedOut);
  auto start = std::chrono::steady_clock::now();
  REQUIRE(put(segment, queue, "34567890", Deadline::after(20ms)) == Status::kTimedOut);
  REQUIRE(std::chrono::steady_clock::now() - start >= 20ms);
  REQUIRE(got(segment, queue) == "12345678");
  REQUIRE(put(segment, queue, "34567890") == Status::kOk);
  REQUIRE(got(segment, queue) == "23456789");
  REQUIRE(got(segment, queue) == "34567890");
  start = std::chrono::steady_clock::now();
  REQUIRE(got(segment, queue, Deadline::after(20ms)) == "!timed out");
  REQUIRE(std::chrono::steady_clock::now() - start >= 20ms);
}

TEST_CASE("an item of another size than the queue's is refused and changes nothing") {
  TestSegment segment;
  shm::Queue queue(make_queue(segment, 8));
  REQUIRE(put(segment, queue, "short") == Status::kMismatch);
  REQUIRE(put(segment, queue, "12345678") == Status::kOk);
  char small[4];
  REQUIRE(queue.get_fixed(segment.me(), small, sizeof small, Deadline::already()) == Status::kMismatch);
  REQUIRE(queue.size() == 1);
  REQUIRE(what_is_wrong(segment, queue) == "");
}

TEST_CASE("a bulk put into a bounded queue goes in step by step as room comes") {
  TestSegment segment;
  auto where = make_queue(segment, 8, 3);
  shm::Queue queue(where);
  std::vector<std::uint64_t> values{0, 1, 2, 3, 4, 5, 6, 7};
  std::uint64_t done = 0;
  REQUIRE(queue.put_fixed(segment.me(), values.data(), 8, 8, Deadline::already(), done) == Status::kTimedOut);
  REQUIRE(done == 3);
  pid_t consumer = spawn([&] {
    for (std::uint64_t i = 0; i < 8; ++i) {
      std::uint64_t item = 99;
      if (queue.get_fixed(segment.me(), &item, 8, Deadline::never()) != Status::kOk || item != i) _exit(1);
    }
    _exit(0);
  });
  REQUIRE(queue.put_fixed(segment.me(), values.data() + 3, 5, 8, Deadline::never(), done) == Status::kOk);
  REQUIRE(done == 5);
  REQUIRE(wait_for(consumer) == 0);
}

TEST_CASE("those who sleep at a queue are woken by the item, the room or the end that comes") {
  TestSegment segment;
  shm::Queue queue(make_queue(segment, 0, 1));
  auto sleep_then = [&](auto&& act) {
    std::this_thread::sleep_for(30ms);
    act();
  };
  std::string item;
  std::thread consumer([&] { item = got(segment, queue, Deadline::never()); });
  sleep_then([&] { REQUIRE(put(segment, queue, "woken") == Status::kOk); });
  consumer.join();
  REQUIRE(item == "woken");

  REQUIRE(put(segment, queue, "fills it") == Status::kOk);
  Status status = Status::kCorrupt;
  std::thread producer([&] { status = put(segment, queue, "next", Deadline::never()); });
  sleep_then([&] { REQUIRE(got(segment, queue) == "fills it"); });
  producer.join();
  REQUIRE(status == Status::kOk);

  REQUIRE(got(segment, queue) == "next");
  std::thread other([&] { item = got(segment, queue, Deadline::never()); });
  sleep_then([&] { REQUIRE(queue.shut_down(segment.me(), false) == Status::kOk); });
  other.join();
  REQUIRE(item == "!closed");
}

TEST_CASE("a queue that was shut down gives what is left and then nothing, or nothing at once") {
  for (bool now : {false, true}) {
    TestSegment segment;
    shm::Queue queue(make_queue(segment, 0));
    REQUIRE(put(segment, queue, "left") == Status::kOk);
    REQUIRE(queue.shut_down(segment.me(), now) == Status::kOk);
    REQUIRE(put(segment, queue, "late") == Status::kClosed);
    REQUIRE(got(segment, queue) == (now ? "!closed" : "left"));
    REQUIRE(got(segment, queue, Deadline::never()) == "!closed");
    REQUIRE(queue.size() == (now ? 1 : 0));
  }
}

TEST_CASE("join returns when every item was marked done, and no item is done twice") {
  TestSegment segment;
  shm::Queue queue(make_queue(segment, 8));
  REQUIRE(queue.join(segment.me(), Deadline::already()) == Status::kOk);
  REQUIRE(queue.task_done(segment.me()) == Status::kNotHeld);
  REQUIRE(put(segment, queue, "12345678") == Status::kOk);
  REQUIRE(put(segment, queue, "12345678") == Status::kOk);
  REQUIRE(queue.task_done(segment.me()) == Status::kOk);
  REQUIRE(queue.join(segment.me(), Deadline::after(5ms)) == Status::kTimedOut);
  Status done = Status::kRetry;
  std::thread worker([&] {
    std::this_thread::sleep_for(20ms);
    done = queue.task_done(segment.me());
  });
  REQUIRE(queue.join(segment.me(), Deadline::never()) == Status::kOk);
  worker.join();
  REQUIRE(done == Status::kOk);
  REQUIRE(queue.unfinished() == 0);
  REQUIRE(queue.task_done(segment.me()) == Status::kNotHeld);
}

TEST_CASE("the memory of a backlog goes back to the segment when it was worked off") {
  TestSegment segment;
  for (std::uint64_t bytes : {8, 0}) {
    auto where = make_queue(segment, bytes);
    shm::Queue queue(where);
    const std::string item = bytes == 0 ? std::string(3000, 'x') : "12345678";
    for (int i = 0; i < 20'000; ++i) REQUIRE(put(segment, queue, item) == Status::kOk);
    REQUIRE(shm::bytes_owned_by(*segment, where.object) > 150'000);
    for (int i = 0; i < 20'000; ++i) REQUIRE(got(segment, queue) == item);
    REQUIRE(what_is_wrong(segment, queue) == "");
    REQUIRE(shm::bytes_owned_by(*segment, where.object) < 200'000);
  }
}

TEST_CASE("a full segment refuses the put and loses nothing") {
  TestSegment segment(2u << 20);
  shm::Queue queue(make_queue(segment, 0));
  std::string big(100'000, 'b');
  Status status = Status::kOk;
  std::uint64_t count = 0;
  while ((status = put(segment, queue, big)) == Status::kOk) ++count;
  REQUIRE(status == Status::kOutOfMemory);
  std::vector<shm::Item> items{text("small"), text(big)};
  std::uint64_t done = 7;
  REQUIRE(queue.put_many(segment.me(), items, Deadline::already(), done) == Status::kOutOfMemory);
  REQUIRE(done == 0);
  REQUIRE(queue.size() == count);
  REQUIRE(what_is_wrong(segment, queue) == "");
  REQUIRE(got(segment, queue) == big);
  REQUIRE(put(segment, queue, big) == Status::kOk);
  for (std::uint64_t i = 0; i < count; ++i) REQUIRE(got(segment, queue) == big);
  REQUIRE(what_is_wrong(segment, queue) == "");
}

TEST_CASE("a bulk put that fails at a chunk's end gives back nothing but what it took") {
  TestSegment segment(2u << 20);
  shm::Queue queue(make_queue(segment, 0, 8));  // few items: chunks of 4 KiB, 4,032 bytes of items each
  auto where = make_queue(segment, 0);
  shm::Queue other(where);
  const std::string large(1024, 'l'), filling(496, 'f');
  auto pass = [&](const std::string& item) {
    REQUIRE(put(segment, queue, item) == Status::kOk);
    REQUIRE(got(segment, queue) == item);
  };
  // The first chunk begins with an item that had a chunk of its own, which was given back.
  pass(large);
  // All of the first chunk and of the second one: the next item needs a third, and the first will be used again.
  for (int i = 0; i < 7 + 8; ++i) pass(filling);
  // All that is left is another queue's, with what the first item had.
  while (put(segment, other, large) == Status::kOk) {
  }
  shm::Offset rest = 0;
  while (shm::take_chunk(segment.me(), shm::ChunkOwner(kNobody, 0), 1024, rest) == Status::kOk) {
  }
  auto owned = [&] {
    return std::vector{shm::bytes_owned_by(*segment, where.object), shm::bytes_owned_by(*segment, kNobody)};
  };
  const auto before = owned();
  std::vector<shm::Item> items{text(large)};
  std::uint64_t done = 7;
  REQUIRE(queue.put_many(segment.me(), items, Deadline::already(), done) == Status::kOutOfMemory);
  REQUIRE(owned() == before);
  REQUIRE(what_is_wrong(segment, queue) == "");
  REQUIRE(what_is_wrong(segment, other) == "");
  for (std::uint64_t left = other.size(); left != 0; --left) REQUIRE(got(segment, other) == large);
  pass(large);
}

TEST_CASE("a stopped consumer in the middle of a get holds up a bounded wait no longer than its deadline") {
  TestSegment segment;
  auto where = make_queue(segment, 8);
  shm::Queue queue(where);
  REQUIRE(put(segment, queue, "12345678") == Status::kOk);
  auto& getting = segment->at<shm::QueueControl>(where.control)->getting;
  Shared<std::atomic<bool>> held;
  pid_t stopped = spawn([&] {
    (void)shm::lock(segment.me(), getting);
    held->store(true);
    raise(SIGSTOP);
    (void)shm::unlock(segment.me(), getting);
    _exit(0);
  });
  while (!held->load()) std::this_thread::yield();
  REQUIRE(got(segment, queue, Deadline::after(20ms)) == "!timed out");
  REQUIRE(queue.holder_pid(false) == static_cast<std::uint32_t>(stopped));
  REQUIRE(put(segment, queue, "23456789") == Status::kOk);  // producers do not meet it
  kill(stopped, SIGCONT);
  REQUIRE(wait_for(stopped) == 0);
  REQUIRE(got(segment, queue) == "12345678");
}

TEST_CASE("one whose time passes between his wake-up and his turn wakes the next") {
  const NoLookingByItself none;
  for (bool putting : {false, true}) {
    TestSegment segment;
    auto where = make_queue(segment, 8, 1);
    shm::Queue queue(where);
    auto* control = segment->at<shm::QueueControl>(where.control);
    if (putting) REQUIRE(put(segment, queue, "12345678") == Status::kOk);
    auto attempt = [&](Deadline deadline) {
      return putting ? put(segment, queue, "23456789", deadline) == Status::kOk
                     : got(segment, queue, deadline) == "12345678";
    };
    pid_t first = spawn([&] { _exit(attempt(Deadline::after(400ms)) ? 7 : 1); });
    while (!is_asleep(first)) std::this_thread::yield();
    pid_t second = spawn([&] { _exit(attempt(Deadline::never()) ? 7 : 1); });
    while (!is_asleep(second)) std::this_thread::yield();
    {
      // Who is woken first finds the lock of his side taken, as if by a process that was stopped.
      shm::HeldLock turn(segment.me(), putting ? control->putting : control->getting);
      if (putting) REQUIRE(got(segment, queue) == "12345678");
      if (!putting) REQUIRE(put(segment, queue, "12345678") == Status::kOk);
      REQUIRE(wait_for(first) == 1);
    }
    REQUIRE(wait_or_kill(second) == 7);
  }
}

TEST_CASE("one that is woken and takes nothing, or puts nothing, leaves the wake-up to the next") {
  const NoLookingByItself none;
  for (const bool ring : {true, false}) {
    TestSegment segment;
    auto& me = segment.me();
    const shm::AnyQueue queue(ring ? make_queue(segment, 0, 1)
                                   : make_ordered_queue(segment, shm::QueueMode::kPriority, false, 1));
    // Makes a process sleep at the queue that ends with the number of its status. The first to sleep is woken first.
    const auto sleep_in = [&](auto call) {
      pid_t child = spawn([&] { _exit(static_cast<int>(call())); });
      while (!is_asleep(child)) std::this_thread::yield();
      return child;
    };
    const auto put = [&](std::uint64_t size) {
      const std::string bytes(8, 'b');
      const shm::Item item{shm::ItemKind::kText, bytes.data(), size};
      return queue.is_ring() ? queue.ring().put(segment.me(), item, Deadline::never())
                             : queue.ordered().put(segment.me(), item, 0, Deadline::never());
    };
    const auto get = [&] {
      std::string item;
      return queue.is_ring() ? queue.ring().get(segment.me(), item, Deadline::never())
                             : queue.ordered().get(segment.me(), item, nullptr, Deadline::never());
    };
    const auto get_other_size = [&] {
      char item[4];
      return queue.is_ring() ? queue.ring().get_fixed(segment.me(), item, 4, Deadline::never())
                             : queue.ordered().get_fixed(segment.me(), item, 4, nullptr, Deadline::never());
    };
    const auto peek_and_leave = [&] {
      std::string item;
      shm::ItemKind kind;
      const Status status =
          queue.visit([&](auto& found) { return found.peek(segment.me(), kind, item, Deadline::never()); });
      queue.visit([](auto& found) { found.pass_on_items(); });
      return status;
    };
    INFO((ring ? "a ring" : "an ordered queue"));
    std::vector<pid_t> takers{sleep_in(get_other_size), sleep_in(peek_and_leave), sleep_in(get)};
    REQUIRE(put(8) == Status::kOk);
    CHECK(wait_or_kill(takers[0]) == static_cast<int>(Status::kMismatch));
    CHECK(wait_or_kill(takers[1]) == static_cast<int>(Status::kOk));
    CHECK(wait_or_kill(takers[2]) == static_cast<int>(Status::kOk));

    REQUIRE(put(8) == Status::kOk);
    std::vector<pid_t> putters{sleep_in([&] { return put(shm::kMaxItemBytes + 1); }), sleep_in([&] { return put(8); })};
    REQUIRE(get() == Status::kOk);
    CHECK(wait_or_kill(putters[0]) == static_cast<int>(Status::kTooLarge));
    CHECK(wait_or_kill(putters[1]) == static_cast<int>(Status::kOk));
    CHECK(shm::recover_all_dead(*segment, me) == 5);
    CHECK(queue.audit(me).error == "");
  }
}

TEST_CASE("one who is killed after his wake-up, and before he took the item, leaves another awake") {
  const NoLookingByItself none;
  TestSegment segment;
  shm::Queue queue(make_queue(segment, 0));
  pid_t killed = spawn([&] {
    shm::ItemKind kind;
    std::string item;
    (void)queue.peek(segment.me(), kind, item, Deadline::never());
    raise(SIGKILL);
  });
  while (!is_asleep(killed)) std::this_thread::yield();
  pid_t other = spawn([&] { _exit(got(segment, queue, Deadline::never()) == "item" ? 7 : 1); });
  while (!is_asleep(other)) std::this_thread::yield();
  REQUIRE(put(segment, queue, "item") == Status::kOk);
  REQUIRE(wait_for(killed) == -SIGKILL);
  (void)shm::recover_all_dead(*segment, segment.me());
  REQUIRE(wait_or_kill(other) == 7);
}

TEST_CASE("a waiter that is killed takes no item and no wake-up with it") {
  TestSegment segment;
  shm::Queue queue(make_queue(segment, 8));
  for (int round = 0; round < 20; ++round) {
    Shared<std::atomic<int>> waiting;
    auto wait_for_item = [&] {
      auto& me = segment.me();
      waiting->fetch_add(1);
      char item[8];
      _exit(queue.get_fixed(me, item, 8, Deadline::never()) == Status::kOk ? 7 : 1);
    };
    pid_t killed = spawn(wait_for_item), other = spawn(wait_for_item);
    while (waiting->load() != 2) std::this_thread::yield();
    std::this_thread::sleep_for(1ms * (round % 3));
    kill(killed, SIGKILL);
    REQUIRE(put(segment, queue, "12345678") == Status::kOk);
    int first = wait_for(killed);
    (void)shm::recover_all_dead(*segment, segment.me());
    // It may have had its item already, when the kill came.
    if (first == 7 || queue.size() == 0) (void)put(segment, queue, "12345678");
    int second = wait_for(other);
    REQUIRE(second == 7);
    (void)got(segment, queue);
    (void)got(segment, queue);
  }
}
