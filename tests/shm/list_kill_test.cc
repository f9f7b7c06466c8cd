// Every mutating operation of the list, killed at every instruction.
#include "shm/extents_commit.h"
#include "support//list_fixture.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

constexpr std::uint64_t kAll = ~std::uint64_t{0};

// A list in a small segment, put into some state, and an operation on it.
class Ground {
 public:
  explicit Ground(bool boxed = false, std::uint64_t memory = 8u << 20)
      : segment(memory), where(make_list(segment, boxed)), list(where) {
    // Some free memory in reserve, so that few cases back more of the file.
    (void)shm::commit_ahead(segment.me(), 8);
  }

  // `count` elements in nodes as full as they can be; the last 1 to 126 of them are the tail.
  Ground& filled(std::uint64_t count, const std::string& value = "") {
    std::vector<std::string> values(count);
    for (std::uint64_t i = 0; i < count; ++i) values[i] = value.empty() ? word_text(1000 + i) : value;
    REQUIRE(list.replace(segment.me(), 0, kAll, items_of(values)) == Status::kOk);
    return *this;
  }
  // Overwrites until the heap's park of retired blocks is full: the next one is used again.
  Ground& with_full_park() {
    auto* control = segment->at<shm::ListControl>(where.control);
    while (control->heap.parked_count < shm::kParkedBlocks) {
      REQUIRE(list.set(segment.me(), 0, text("parked")) == Status::kOk);
    }
    return *this;
  }

  void kill(const std::string& name, std::function<Status(shm::List&, shm::ThreadContext&)> op,
            std::uint64_t extents_watched = kAll, int kills_of_recovery = 1) {
    INFO(name);
    kill_everywhere_in(segment, {name, [&] { (void)op(list, segment.me()); }, [this] { return observe(); },
                                 [this] { return audit(); }, extents_watched, kills_of_recovery});
  }

  std::string observe() {
    std::vector<std::string> values;
    if (list.snapshot(segment.me(), 0, kAll, values) != Status::kOk) return "unreadable";
    std::string all = std::to_string(list.size());
    for (auto& value : values) all += '|' + value;
    return all;
  }
  std::string audit() { return list.audit(segment.me()).error; }

  TestSegment segment;
  shm::ObjectAddress where;
  shm::List list;
};

constexpr std::uint64_t kLeaf = 126, kInner = 63 * 126;

}  // namespace

TEST_CASE("a writer of a list killed in a push leaves it pushed or not", "[kill]") {
  auto push = [](shm::List& list, shm::ThreadContext& me) { return list.push_back(me, text("12345678")); };
  auto push_front = [](shm::List& list, shm::ThreadContext& me) { return list.push_front(me, text("12345678")); };
  Ground().kill("push_back to an empty list", push);
  Ground().filled(5).kill("push_back", push);
  Ground().filled(kLeaf).kill("push_back over the first tail's border", push);
  Ground().filled(3 * kLeaf).kill("push_back over the tail's border", push);
  Ground().filled(kLeaf + kInner).kill("push_back that makes the tree higher", push);
  Ground().filled(5).kill("push_front to a tail", push_front);
  Ground().filled(3 * kLeaf).kill("push_front before a full leaf", push_front);
  Ground().filled(kLeaf + kInner).kill("push_front that makes the tree higher", push_front);
}

TEST_CASE("a writer of a list killed in a pop leaves it popped or not", "[kill]") {
  auto pop = [](shm::List& list, shm::ThreadContext& me) {
    std::string out;
    return list.pop_back(me, out);
  };
  auto pop_front = [](shm::List& list, shm::ThreadContext& me) {
    std::string out;
    return list.pop_front(me, out);
  };
  Ground().filled(5).kill("pop_back", pop);
  {
    Ground ground;
    ground.filled(kLeaf + 1);
    std::string out;
    REQUIRE(ground.list.pop_back(ground.segment.me(), out) == Status::kOk);
    ground.kill("pop_back over the border to the only leaf", pop);
  }
  {
    Ground ground;
    ground.filled(kInner + kLeaf + 1);
    std::string out;
    REQUIRE(ground.list.pop_back(ground.segment.me(), out) == Status::kOk);
    ground.kill("pop_back over the border that makes the tree lower", pop);
  }
  Ground().filled(5).kill("pop_front of a tail", pop_front);
  Ground().filled(1).kill("pop_front of the last element", pop_front);
  Ground().filled(3 * kLeaf).kill("pop_front of a leaf", pop_front);
  Ground(true).filled(5, "boxed").kill("pop_back of a box", pop);
  Ground(true).filled(5, "boxed").with_full_park().kill("pop_back of a box with a full park", pop);
  Ground(true).filled(2 * kLeaf, "boxed").kill("pop_front of a box", pop_front);
}

TEST_CASE("a writer of a list killed in an insert leaves it inserted or not", "[kill]") {
  auto insert = [](std::uint64_t at) {
    return [at](shm::List& list, shm::ThreadContext& me) { return list.insert(me, at, text("12345678")); };
  };
  Ground().filled(5).kill("insert into the tail", insert(3));
  Ground().filled(kLeaf).kill("insert into a full tail", insert(3));
  Ground().filled(2 * kLeaf).kill("insert that splits a leaf", insert(50));
  Ground().filled(kInner + kLeaf).kill("insert that splits a leaf and its parent", insert(5000));
  Ground(true).filled(2 * kLeaf, "boxed").kill("insert of a box", insert(50));
  Ground().filled(4 * kLeaf).kill("insert between tree and tail", insert(3 * kLeaf));
}

TEST_CASE("a writer of a list killed in an erase leaves it erased or not", "[kill]") {
  auto erase = [](std::uint64_t at) {
    return [at](shm::List& list, shm::ThreadContext& me) { return list.erase(me, at); };
  };
  Ground().filled(5).kill("erase from the tail", erase(3));
  Ground().filled(3 * kLeaf).kill("erase from a leaf", erase(50));
  Ground(true).filled(2 * kLeaf, "boxed").kill("erase of a box", erase(50));
  {
    Ground ground;
    ground.filled(4 * kLeaf);
    auto& me = ground.segment.me();
    REQUIRE(ground.list.replace(me, kLeaf, 126 - 40, {}) == Status::kOk);
    REQUIRE(ground.list.replace(me, 0, 126 - 45, {}) == Status::kOk);
    ground.kill("erase that joins two leaves", erase(7));
  }
  {
    Ground ground;
    ground.filled(3 * kLeaf);
    REQUIRE(ground.list.replace(ground.segment.me(), 1, kLeaf - 1, {}) == Status::kOk);
    ground.kill("erase of a leaf's last element, which makes the tree lower", erase(0));
  }
}

TEST_CASE("a writer of a list killed in a store to an element leaves the old or the new one", "[kill]") {
  auto set = [](const std::string& value) {
    return [value](shm::List& list, shm::ThreadContext& me) {
      std::string before;
      return list.set(me, 2, text(value), &before);
    };
  };
  Ground().filled(5).kill("set of a word", set("12345678"));
  Ground(true).filled(5, "boxed").kill("set of a box", set("another"));
  Ground(true).filled(5, "boxed").with_full_park().kill("set of a box with a full park", set("another"));
  Ground(true).filled(5, "boxed").kill("set of a box of more than 2 KiB", set(std::string(3000, 'x')));
  Ground(true).filled(5, std::string(3000, 'y')).with_full_park().kill("set of a small box for a large one", set("x"));
  Ground().filled(5).kill("change of a word", [](shm::List& list, shm::ThreadContext& me) {
    shm::Word before;
    return list.change_word(
        me, 2, [](shm::Word a, shm::Word b) { return a + b; }, 5, &before);
  });
  Ground(true).filled(5, "boxed").kill("compare_exchange", [](shm::List& list, shm::ThreadContext& me) {
    return list.compare_exchange(me, 2, text("boxed"), text("other"));
  });
  Ground(true).filled(2 * kLeaf, "boxed").kill("erase_if_equal", [](shm::List& list, shm::ThreadContext& me) {
    return list.erase_if_equal(me, 2, text("boxed"));
  });
}

TEST_CASE("a writer of a list killed with a box of more than an extent leaves the box or nothing", "[kill]") {
  std::string large(66'000, 'x');
  auto push = [&](shm::List& list, shm::ThreadContext& me) { return list.push_back(me, text(large)); };
  auto pop = [](shm::List& list, shm::ThreadContext& me) {
    std::string out;
    return list.pop_back(me, out);
  };
  Ground(true).filled(5, "boxed").kill("push_back of 66,000 bytes", push, 3);
  Ground(true).filled(2, large).with_full_park().kill("pop_back of 66,000 bytes", pop, 3);
}

TEST_CASE("a list killed while its large elements move has them all", "[kill]") {
  Ground ground(true);
  ground.filled(5, "boxed");
  // The last moves into the hole that the first leaves.
  for (char letter : {'a', 'b'}) {
    REQUIRE(ground.list.push_back(ground.segment.me(), text(std::string(33'000, letter))) == Status::kOk);
  }
  REQUIRE(ground.list.erase(ground.segment.me(), 5) == Status::kOk);
  ground.list.give_idle_memory(ground.segment.me());
  ground.kill("compact", [](shm::List& list, shm::ThreadContext& me) {
    if (!list.compact(me)) throw std::runtime_error("nothing was moved");
    return Status::kOk;
  });
}

TEST_CASE("a writer of a list killed in a change of many elements leaves all of it or nothing", "[kill]") {
  std::vector<std::string> some(20, "12345678"), many(300, "12345678");
  auto replace = [](std::uint64_t first, std::uint64_t count, const std::vector<std::string>& values) {
    return [=](shm::List& list, shm::ThreadContext& me) { return list.replace(me, first, count, items_of(values)); };
  };
  auto extend = [](const std::vector<std::string>& values) {
    return [=](shm::List& list, shm::ThreadContext& me) { return list.extend(me, items_of(values)); };
  };
  Ground().kill("extend of an empty list", extend(many));
  Ground().filled(5).kill("extend within the tail", extend(some));
  Ground().filled(kLeaf - 3).kill("extend over the tail's border", extend(some));
  Ground(true).filled(20, "boxed").kill("extend by boxes", extend(some));
  Ground().filled(4 * kLeaf).kill("a slice within a leaf", replace(10, 30, some));
  Ground().filled(5 * kLeaf).kill("a slice over leaves", replace(10, 300, some));
  Ground().filled(4 * kLeaf).kill("a slice over leaves and the tail", replace(100, 3 * kLeaf, some));
  Ground(true).filled(3 * kLeaf, "boxed").kill("a slice of boxes", replace(100, 200, some));
  Ground().filled(3 * kLeaf).kill("all replaced", replace(0, kAll, many));
  Ground().filled(3 * kLeaf).kill("reverse", [](shm::List& list, shm::ThreadContext& me) { return list.reverse(me); });
  auto clear = [](shm::List& list, shm::ThreadContext& me) { return list.clear(me); };
  Ground(true).filled(2 * kLeaf, "boxed").kill("clear", clear);
  Ground().filled(9 * kLeaf).kill("clear of a long list", clear);
  Ground ground;
  ground.filled(2 * kLeaf);
  std::vector<std::string> values;
  std::uint64_t changes = 0;
  REQUIRE(ground.list.snapshot(ground.segment.me(), 0, kAll, values, &changes) == Status::kOk);
  ground.kill("assign_if_unchanged", [=](shm::List& list, shm::ThreadContext& me) {
    return list.assign_if_unchanged(me, changes, items_of(values));
  });
}

TEST_CASE("a writer of a list killed while it finds no memory leaves the list as it was", "[kill]") {
  Ground ground(true, 256u << 10);
  auto& me = ground.segment.me();
  std::string value(900, 'x');
  while (ground.list.push_back(me, text(value)) == Status::kOk) {
  }
  std::vector<std::string> many(30, value);
  REQUIRE(ground.list.extend(me, items_of(many)) == Status::kOutOfMemory);
  ground.kill("extend without memory",
              [=](shm::List& list, shm::ThreadContext& thread) { return list.extend(thread, items_of(many)); });
}
