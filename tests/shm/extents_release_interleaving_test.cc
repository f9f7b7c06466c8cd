// Memory that goes back to the system, against those who join or read meanwhile: one side is stopped at its steps while
// the other one goes on.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "shm/dict.h"
#include "shm/dict_probe.h"
#include "shm/dict_table.h"
#include "shm/extents.h"
#include "shm/extents_commit.h"
#include "shm/extents_release.h"
#include "shm/large_read.h"
#include "shm/list.h"
#include "shm/list_tree.h"
#include "shm/recovery.h"
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

// Memory that went back to the system; with a look at a page of it the page is there.
class Hole {
 public:
  explicit Hole(const TestSegment& segment) : segment_(*segment), bytes_(4 * kExtent) {
    auto& me = segment.me();
    REQUIRE(take_chunk(me, shm::ChunkOwner(7, 0), 4 * kExtent, at_, shm::LateReaders::kNone) == Status::kOk);
    give_chunk(me, at_, 4 * kExtent);
    REQUIRE(release_extents(me, 0, 64, false) >= 4);
    REQUIRE(segment->holds(at_, 4 * kExtent));  // which children know, too
  }
  // Of a block that nobody has a right to read.
  Hole(const TestSegment& segment, shm::Offset at, std::uint64_t bytes) : segment_(*segment), at_(at), bytes_(bytes) {
    REQUIRE(fallocate(segment_.memory_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at),
                      static_cast<off_t>(bytes)) == 0);
    REQUIRE(is_one());
  }
  shm::Offset at() const { return at_; }
  bool is_one() const {
    const off_t found = lseek(segment_.memory_fd(), static_cast<off_t>(at_), SEEK_DATA);
    return found < 0 || found >= static_cast<off_t>(at_ + bytes_);
  }

 private:
  shm::Segment& segment_;
  shm::Offset at_ = 0;
  std::uint64_t bytes_;
};

// Blocks that are put back after somebody else has used them.
struct Blocks {
  void add(void* at, std::size_t bytes) {
    const char* from = static_cast<char*>(at);
    saved.emplace_back(at, std::string(from, from + bytes));
  }
  void restore() const {
    for (const auto& [at, bytes] : saved) std::memcpy(at, bytes.data(), bytes.size());
  }
  std::vector<std::pair<void*, std::string>> saved;
};

// Stops a reader after each so many of its instructions, and lets overtake() use what it reads for something else,
// whose words lead into the hole; then the reader goes on.
template <typename Read, typename Overtake>
void expect_no_look_into_hole(TestSegment& segment, const Hole& hole, const Blocks& blocks, std::uint64_t between,
                              Read read, Overtake overtake) {
  for (std::uint64_t k = 1;; k += between) {
    SteppedChild reader(
        {}, [&] { (void)segment.me(); }, read);
    if (!reader.run_until(k)) {
      CHECK(k > 50);
      return;
    }
    overtake();
    const int status = reader.finish();
    blocks.restore();
    (void)shm::recover_all_dead(*segment, segment.me());
    INFO("stopped before instruction " << k);
    REQUIRE(status == 0);
    REQUIRE(hole.is_one());
  }
}

}  // namespace

TEST_CASE("a reader of a list that is overtaken does not follow words of something else") {
  TestSegment segment;
  auto& me = segment.me();
  const auto where = segment.make({shm::ObjectKind::kList, "", "list<text>", {1}});
  shm::List list(where);
  std::vector<shm::Item> items(20'000, text("element"));
  REQUIRE(list.extend(me, items) == Status::kOk);
  const Hole hole(segment);
  // The root record, and the nodes and cells on the way to the first element.
  auto& control = *segment->at<shm::ListControl>(where.control);
  shm::ListView view;
  REQUIRE(read_view(*segment, control, view) == Status::kOk);
  REQUIRE(view.height == 2);
  auto& root = *segment->at<shm::ListRoot>(view.root);
  auto* top = shm::list_node(*segment, view.tree);
  auto* inner = shm::list_node(*segment, top->words[0]);
  auto* leaf = shm::list_node(*segment, inner->words[0]);
  Blocks blocks;
  blocks.add(&control.recycle, 3 * sizeof(shm::Word));
  blocks.add(&root, sizeof root);
  for (auto* node : {top, inner, leaf}) blocks.add(node, sizeof *node);
  const auto overtake = [&] {
    control.recycle.fetch_add(1);
    control.changes.fetch_add(1);
    control.root = 0;
    root.tree = root.tail = hole.at();
    for (auto* node : {top, inner}) {
      for (std::uint64_t i = 0; i < shm::kInnerPairs; ++i) node->words[2 * i] = hole.at();
    }
    for (std::uint64_t i = 0; i < shm::kLeafCells; ++i) leaf->words[i] = hole.at();
  };
  std::string copy(7, '\0');
  expect_no_look_into_hole(
      segment, hole, blocks, 3, [&] { (void)list.get_fixed(0, copy.data(), 7); }, overtake);
  std::vector<std::string> values;
  expect_no_look_into_hole(
      segment, hole, blocks, 11, [&] { (void)list.snapshot(segment.me(), 0, 3, values); }, overtake);
}

TEST_CASE("a reader of a dict that is overtaken does not follow words of something else") {
  for (const std::string& wanted : {std::string("short key"), std::string("a key that is not looked up straight")}) {
    TestSegment segment;
    auto& me = segment.me();
    const auto where = segment.make_dict(1);
    shm::Dict dict(where);
    for (int i = 0; i < 3'000; ++i) REQUIRE(dict.put(me, text(std::to_string(i)), text("a value")) == Status::kOk);
    REQUIRE(dict.put(me, text(wanted), text("a value")) == Status::kOk);
    const Hole hole(segment);
    // The directory, the table and the entry.
    auto& control = *segment->at<shm::DictControl>(where.control);
    shm::DictShard& shard = dict_shard(control, 0);
    const shm::Item key = text(wanted);
    const std::uint64_t hash = shm::hash_key(key, control.seed);
    shm::DictPlace place;
    REQUIRE(find_in_table(*segment, shard, {&key, hash}, place) == Status::kOk);
    REQUIRE(shm::root_is_directory(place.root));
    auto* directory = segment->at<shm::AtomicWord>(shm::root_offset(place.root));
    auto* table = segment->at<shm::AtomicWord>(shm::entry_table(place.directory_entry));
    auto* entry = segment->at<shm::AtomicWord>(shm::slot_entry(place.slot_value));
    const std::uint64_t entries = std::uint64_t{1} << shm::root_depth(place.root);
    const std::uint64_t slots = 64 * shm::kSlotsPerBucket;
    const std::uint64_t words = place.header.bytes() / sizeof(shm::Word);
    Blocks blocks;
    for (shm::AtomicWord* word : {&shard.recycle, &shard.changes, &shard.root}) blocks.add(word, sizeof *word);
    blocks.add(directory, entries * sizeof(shm::Word));
    blocks.add(table, slots * sizeof(shm::Word));
    blocks.add(entry, words * sizeof(shm::Word));
    const auto overtake = [&] {
      shard.recycle.fetch_add(1);
      shard.changes.fetch_add(1);
      shard.root = 0;
      for (std::uint64_t i = 0; i < entries; ++i) directory[i] = hole.at();
      for (std::uint64_t i = 0; i < slots; ++i) table[i] = shm::slot_word(shm::hash_tag(hash), hole.at());
      for (std::uint64_t i = 0; i < words; ++i) entry[i] = hole.at();
    };
    std::string copy(7, '\0');
    const std::uint64_t between = wanted.size() <= shm::kShortKey ? 2 : 5;
    const auto read = [&] { (void)dict.get_fixed(key, copy.data(), 7); };
    expect_no_look_into_hole(segment, hole, blocks, between, read, overtake);
  }
}

TEST_CASE("a reader of a dict that is overtaken does not believe the sizes of something else") {
  TestSegment segment;
  auto& me = segment.me();
  const auto where = segment.make_dict(1);
  shm::Dict dict(where);
  const shm::Item key = text("k");
  constexpr std::uint64_t kSmall = 20'000;
  REQUIRE(dict.put(me, key, text(std::string(100'000, 'v'))) == Status::kOk);
  // Of the large value the first page alone is there.
  auto& control = *segment->at<shm::DictControl>(where.control);
  shm::DictShard& shard = dict_shard(control, 0);
  shm::DictPlace place;
  REQUIRE(find_in_table(*segment, shard, {&key, shm::hash_key(key, control.seed)}, place) == Status::kOk);
  const shm::Offset at = shm::slot_entry(place.slot_value);
  const Hole hole(segment, at + shm::kPage, kExtent - shm::kPage);
  auto* sizes = segment->at<shm::AtomicWord>(at) + 1;
  Blocks blocks;
  for (shm::AtomicWord* word : {&shard.recycle, &shard.changes, &shard.root}) blocks.add(word, sizeof *word);
  blocks.add(sizes, sizeof *sizes);
  std::string copy(kSmall, '\0');
  expect_no_look_into_hole(
      segment, hole, blocks, 3, [&] { (void)dict.get_fixed(key, copy.data(), kSmall); },
      [&] {
        shard.recycle.fetch_add(1);
        shard.changes.fetch_add(1);
        shard.root = 0;
        *sizes = 1 | kSmall << 32;
      });
}

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

TEST_CASE(
    "what the server backs ahead of need can be taken meanwhile, and the lock is free while the kernel is at it") {
  std::uint64_t instructions = 1;
  int taken_between = 0;
  for (std::uint64_t k = 0; k < instructions; k += k == 0 ? 1 : 9) {
    TestSegment segment(16u << 20);
    auto& me = segment.me();
    const Hole hole(segment);
    const auto& header = segment->header();
    const std::uint64_t free = header.free_extents, unbacked = header.unbacked_extents;
    SteppedChild server(
        {}, [&] { (void)segment.me(); }, [&] { (void)commit_ahead(segment.me(), free + 3); });
    if (k == 0) {
      REQUIRE(server.finish() == 0);
      instructions = server.instructions();
      REQUIRE(header.free_extents >= free + 3);
      continue;
    }
    REQUIRE(server.run_until(k));
    INFO("stopped before instruction " << k << " of " << instructions);
    shm::Offset chunk = 0;
    const auto deadline = shm::Deadline::already();
    const Status status = take_chunk_in_time(me, shm::ChunkOwner(7, 0), (free + 2) * kExtent, deadline, chunk);
    if (status == Status::kOk) std::memset(segment->at<std::byte>(chunk), 7, (free + 2) * kExtent);
    taken_between += status == Status::kOk;
    REQUIRE(server.finish() == 0);
    if (status == Status::kOk) {
      for (std::uint64_t byte = 0; byte < (free + 2) * kExtent; byte += 4096) {
        REQUIRE(*segment->at<std::byte>(chunk + byte) == std::byte{7});
      }
      give_chunk(me, chunk, (free + 2) * kExtent);
    }
    std::uint64_t now_free = 0, now_unbacked = 0;
    for (std::uint64_t e = 0; e < segment->committed_extents(); ++e) {
      const ExtentKind kind = shm::extent_kind(extent_entry(*segment, e).load());
      now_free += kind == ExtentKind::kFree;
      now_unbacked += kind == ExtentKind::kUnbacked;
    }
    REQUIRE(header.free_extents == now_free);
    REQUIRE(header.unbacked_extents == now_unbacked);
    REQUIRE(now_unbacked <= unbacked);
  }
  CHECK(taken_between > 20);
}
