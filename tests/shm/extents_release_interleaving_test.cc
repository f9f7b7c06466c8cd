// Memory that goes back to the system, against those who join or read meanwhile: one side is stopped at its steps while
// the other one goes on.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "shm/extents.h"
#include "shm/extents_release.h"
#include "shm/large_read.h"
#include "shm/list.h"
#include "support/children.h"
#include "support/stepped_child.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::ExtentKind;
using shm::kExtent;
using shm::Status;

namespace {

std::vector<const shm::AtomicWord*> announcements(const shm::Segment& segment) {
  std::vector<const shm::AtomicWord*> words;
  for (std::uint32_t t = 0; t < 64; ++t) words.push_back(&segment.thread(t).reads_large);
  return words;
}

}  // namespace

TEST_CASE("whoever reads a large block announces it, by whichever call") {
  TestSegment segment;
  auto& me = segment.me();
  const auto where = segment.make_dict();
  shm::Dict dict(where);
  const auto list_at = segment.make({shm::ObjectKind::kList, "", "list<text>", {1}});
  shm::List list(list_at);
  // The sizes about the limit: the entry of a dict has a header and its key before the value.
  const std::size_t largest = kExtent / 2;
  for (const std::size_t bytes : {largest - 1'000, largest + 1}) {
    const std::string value(bytes, 'v');
    std::string copy(bytes, '\0');
    REQUIRE(dict.put(me, text("k"), text(value)) == Status::kOk);
    REQUIRE(list.push_back(me, text(value)) == Status::kOk);
    const auto announces = [&](auto&& read) {
      SteppedChild reader(
          announcements(*segment), [&] { (void)segment.me(); }, read);
      return reader.run_until_change(1);  // else it has ended
    };
    const auto room = [](void* copy, shm::ItemKind, std::size_t) -> void* {
      return static_cast<std::string*>(copy)->data();
    };
    INFO(bytes);
    const bool is_large = bytes > largest;
    CHECK(announces([&] { (void)dict.get_fixed(text("k"), copy.data(), bytes); }) == is_large);
    CHECK(announces([&] { (void)dict.get(text("k"), {&copy, room}); }) == is_large);
    CHECK(announces([&] { (void)list.get(list.size() - 1, {&copy, room}); }) == is_large);
    CHECK(announces([&] { (void)list.get_fixed(list.size() - 1, copy.data(), bytes); }) == is_large);
  }
}

TEST_CASE("a client that joins while the server, alone until then, releases memory keeps what it may be reading") {
  // What may be read without an announcement was used and is free again; the server is stopped at its steps.
  std::uint64_t instructions = 1;
  int before = 0, after = 0;
  for (std::uint64_t k = 0; k < instructions; k = k < 300 ? k + 11 : k + 131) {
    TestSegment segment(16u << 20);
    const auto where = segment.make_dict(1);
    REQUIRE(shm::Dict(where).put(segment.me(), text("k"), text("as it was")) == Status::kOk);
    shm::Offset at = 0;
    REQUIRE(take_chunk(segment.me(), shm::ChunkOwner(7, 0), 8 * kExtent, at) == Status::kOk);
    give_chunk(segment.me(), at, 8 * kExtent);
    const std::uint64_t first = (at - segment->tables().data) / kExtent;
    segment->leave();
    const auto free = [&] {
      for (std::uint64_t e = first; e < first + 8; ++e) {
        if (shm::extent_kind(extent_entry(*segment, e).load()) != ExtentKind::kFree) return false;
      }
      return true;
    };
    SteppedChild server(
        {}, [&] { (void)segment.me(); }, [&] { (void)release_extents(segment.me(), 0, 16, true); });
    if (k == 0) {  // how long it takes
      REQUIRE(server.finish() == 0);
      instructions = server.instructions();
      REQUIRE_FALSE(free());
      continue;
    }
    REQUIRE(server.run_until(k));
    const bool untouched = segment->header().extents_lock.state == 0 && free();
    PlainPipe joined, go_on;
    const pid_t client = spawn([&] {
      const auto reads = [&] {
        std::string value(9, '\0');
        return shm::Dict(where).get_fixed(text("k"), value.data(), 9) == Status::kOk && value == "as it was";
      };
      (void)segment.me();
      if (!reads()) _exit(2);
      joined.write(getpid());
      (void)go_on.read();
      if (!reads()) _exit(3);
    });
    REQUIRE(joined.read() == client);
    REQUIRE(server.finish() == 0);
    INFO("stopped before instruction " << k << " of " << instructions);
    if (untouched) CHECK(free());
    ++(untouched ? before : after);
    go_on.write(getpid());
    CHECK(wait_or_kill(client) == 0);
  }
  CHECK(before > 0);
  CHECK(after > 0);
}
