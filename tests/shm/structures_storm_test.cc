// Values, arrays and locks whose users are killed at random.
#include <random>

#include "shm/array.h"
#include "shm/user_lock.h"
#include "shm/value.h"
#include "support/kill_storm.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

constexpr int kKills = 150;

void must(Status status) {
  if (status != Status::kOk) throw std::runtime_error(shm::to_string(status));
}

struct Log {
  std::atomic<std::uint64_t> begun, done;
};

// The change under way took place as a whole or not at all: the next worker goes on from what is there.
void check_step(Log& log, std::uint64_t found) {
  INFO("found " << found << ", begun " << log.begun.load() << ", done " << log.done.load());
  REQUIRE(found >= log.done.load());
  REQUIRE(found <= log.begun.load());
  log.begun.store(found);
  log.done.store(found);
}

}  // namespace

TEST_CASE("a large value whose writers are killed is the last acknowledged one or the next, never a mixture") {
  TestSegment segment;
  auto where = segment.make({shm::ObjectKind::kValue, "", "value", {1000}});
  Shared<Log> log;
  using Bytes = std::array<std::uint64_t, 125>;
  auto bytes_of = [](std::uint64_t n) {
    Bytes bytes;
    bytes.fill(n);
    return bytes;
  };
  kill_storm(
      segment, kKills, Catch::rngSeed(),
      [&](std::uint64_t, std::atomic<bool>& started) {
        shm::Value value(where);
        auto& me = segment.me();
        started.store(true);
        for (std::uint64_t n = log->begun.load() + 1;; ++n) {
          Bytes next = bytes_of(n), before = bytes_of(n - 1), got;
          log->begun.store(n);
          if (n % 3 == 0) must(value.store(me, next.data()));
          if (n % 3 == 1) must(value.exchange(me, next.data(), got.data()));
          if (n % 3 == 2) must(value.compare_exchange(me, before.data(), next.data()));
          log->done.store(n);
        }
      },
      [&] {
        Bytes got;
        REQUIRE(shm::Value(where).load(segment.me(), got.data()) == Status::kOk);
        bool whole = got == bytes_of(got[0]);
        REQUIRE(whole);
        check_step(*log, got[0]);
      });
}

TEST_CASE("slices of an array whose writers are killed are there as a whole or not at all") {
  TestSegment segment;
  // Elements of 12 bytes: three equal words of 4 bytes. 30,000 of them are more than an extent.
  constexpr std::uint64_t kCount = 30'000, kSlice = 12'000;
  using Element = std::array<std::uint32_t, 3>;
  auto where = segment.make({shm::ObjectKind::kArray, "", "array", {kCount, sizeof(Element)}});
  Shared<Log> log;
  kill_storm(
      segment, kKills, Catch::rngSeed(),
      [&](std::uint64_t, std::atomic<bool>& started) {
        shm::Array array(where);
        auto& me = segment.me();
        started.store(true);
        std::vector<Element> slice(kSlice);
        for (std::uint64_t n = log->begun.load() + 1;; ++n) {
          auto word = static_cast<std::uint32_t>(n);
          Element element{word, word, word};
          log->begun.store(n);
          if (n % 3 == 0) {
            must(array.fill(me, 7, kSlice, element.data()));
          } else {
            std::fill(slice.begin(), slice.end(), element);
            must(array.write(me, 7, kSlice, slice.data()));
          }
          log->done.store(n);
          // Short ones, whose scratch chunk is kept, and single elements elsewhere.
          must(array.write(me, 20'000, 5, slice.data()));
          must(array.store(me, 20'000 + n % 100, element.data()));
        }
      },
      [&] {
        shm::Array array(where);
        std::vector<Element> got(kCount);
        REQUIRE(array.read(segment.me(), 0, kCount, got.data()) == Status::kOk);
        bool untouched = got[6] == Element{} && got[7 + kSlice] == Element{};
        REQUIRE(untouched);
        bool equal = true, whole = true;
        for (std::uint64_t i = 7; i < 7 + kSlice; ++i) equal = equal && got[i] == got[7];
        for (auto& element : got) whole = whole && element[0] == element[1] && element[1] == element[2];
        REQUIRE(equal);
        REQUIRE(whole);
        check_step(*log, got[7][0]);
        // Control block, data and at most one kept scratch chunk: nothing is lost.
        REQUIRE(shm::bytes_owned_by(*segment, where.object) <=
                shm::chunk_size(kCount * sizeof(Element)) + shm::kGranule + shm::kExtent);
      });
}

TEST_CASE("a lock whose owners are killed is always free again, and a death while holding it is told") {
  TestSegment segment;
  auto where = segment.make({shm::ObjectKind::kLock, "", "lock", {0}});
  shm::UserLock lock(where);
  struct Inside {
    std::atomic<bool> holding;
    std::atomic<std::uint64_t> token;
  };
  Shared<Inside> inside;
  int told = 0;
  kill_storm(
      segment, kKills, Catch::rngSeed(),
      [&](std::uint64_t, std::atomic<bool>& started) {
        auto& me = segment.me();
        started.store(true);
        for (;;) {
          must(lock.acquire(me));
          if (lock.fencing_token(me) <= inside->token.load()) throw std::runtime_error("a fencing token came twice");
          inside->token.store(lock.fencing_token(me));
          inside->holding.store(true);
          inside->holding.store(false);
          must(lock.release(me));
        }
      },
      [&] {
        REQUIRE_FALSE(lock.locked());
        bool died = lock.take_died() != 0;
        if (inside->holding.exchange(false)) REQUIRE(died);
        told += died;
        REQUIRE(lock.acquire(segment.me()) == Status::kOk);
        REQUIRE(lock.fencing_token(segment.me()) > inside->token.load());
        inside->token.store(lock.fencing_token(segment.me()));
        REQUIRE(lock.release(segment.me()) == Status::kOk);
      });
  WARN(told << " of " << kKills << " died holding the lock");
}
