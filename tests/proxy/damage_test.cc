// What programs see of a segment whose words are garbage: CorruptSegment, and never another object's memory.
#include <commonhold/commonhold.h>

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "shm/array.h"
#include "shm/object_table.h"
#include "shm/segment.h"
#include "shm/value.h"
#include "support/manager_home.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

struct Wide {
  std::int64_t parts[5] = {};
  bool operator==(const Wide&) const = default;
};

shm::ObjectInfo info_of(const shm::Segment& segment, std::string_view name) {
  shm::ObjectId id;
  shm::ObjectInfo info;
  REQUIRE(shm::find_object(segment, name, id) == shm::Status::kOk);
  REQUIRE(shm::object_info(segment, id.index, info) == shm::Status::kOk);
  return info;
}

}  // namespace

TEST_CASE("an object whose id a damaged record gives to another object is not taken for that one") {
  ManagerHome home;
  Manager manager;
  std::vector<Lock> locks;
  for (int i = 0; i < 5; ++i) locks.push_back(manager.lock());
  auto list = manager.list<std::int64_t>({1});
  const auto segment = shm::Segment::open(manager.folder());
  for (std::uint32_t i = 1; i <= 6; ++i) shm::object_record(*segment, i).state.store(0);
  int refused = 0;
  std::vector<Dict<int, int>> dicts;
  for (int i = 0; i < 200; ++i) {
    try {
      dicts.push_back(manager.dict<int, int>({{1, i}}));
    } catch (const CorruptSegment&) {
      ++refused;
    }
  }
  CHECK(refused == 6);
  REQUIRE(dicts.size() == 194);
  for (const auto& dict : dicts) CHECK(dict.at(1) >= 0);
}

TEST_CASE("a record that says another kind than the server's reply is refused") {
  ManagerHome home;
  Manager manager;
  (void)manager.list<std::int64_t>(named("list"));
  const auto segment = shm::Segment::open(manager.folder());
  const auto info = info_of(*segment, "list");
  auto& state = shm::object_record(*segment, info.id.index).state;
  state.store(shm::object_state_word(shm::ObjectState::kLive, shm::ObjectKind::kDict, info.id.generation));
  CHECK_THROWS_AS(manager.list<std::int64_t>(named("list")), Error);
}

TEST_CASE("an array or value whose size is garbage is refused, and reads nothing over the end of what it fills") {
  ManagerHome home;
  Manager manager;
  (void)manager.array<std::int64_t>(named("array"), 100);
  (void)manager.value<Wide>(named("wide"));
  (void)manager.value<std::int32_t>(named("word"), 5);
  const auto segment = shm::Segment::open(manager.folder());
  const auto at = [&](std::string_view name) { return info_of(*segment, name).control; };
  const auto control = segment->at<shm::ArrayControl>(at("array"));
  const auto wide = segment->at<shm::ValueControl>(at("wide"));
  const auto word = segment->at<shm::ValueControl>(at("word"));
  // Whoever opens it now: in a process of its own, which has none of it yet.
  const auto refused = [&](auto&& open) {
    return wait_for(spawn([&] {
             try {
               open(Manager::connect(manager.folder()));
             } catch (const CorruptSegment&) {
               _exit(7);
             }
           })) == 7;
  };
  for (shm::Word garbage : {shm::Word{0}, shm::Word{13}, shm::Word{4}, ~shm::Word{0}}) {
    INFO("size " << garbage);
    shm::store_word(&control->element_bytes, garbage);
    CHECK(refused([](const Manager& m) { (void)m.array<std::int64_t>(named("array"), 100).slice(0); }));
    shm::store_word(&wide->size, garbage);
    CHECK(refused([](const Manager& m) { (void)m.value<Wide>(named("wide")).load(); }));
    shm::store_word(&word->size, garbage == 4 ? 8 : garbage);
    CHECK(refused([](const Manager& m) { (void)m.value<std::int32_t>(named("word")).load(); }));
  }
}

TEST_CASE("a dict whose number of shards is garbage refuses whatever concerns them all") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, int>(named("dict"));
  dict.assign(std::map<std::string, int>{{"a", 1}, {"b", 2}, {"c", 3}});
  const auto segment = shm::Segment::open(manager.folder());
  const auto shards = segment->at<shm::Word>(info_of(*segment, "dict").control);
  const shm::Word before = shm::load_word(shards);
  for (shm::Word garbage : {shm::Word{0}, before + 1, shm::Word{256}, ~shm::Word{0}}) {
    shm::store_word(shards, garbage);
    CHECK_THROWS_AS(dict.assign(std::map<std::string, int>{{"a", 1}, {"z", 2}}), CorruptSegment);
    CHECK_THROWS_AS(dict.put_many(std::map<std::string, int>{{"a", 1}, {"z", 2}}), CorruptSegment);
    CHECK_THROWS_AS(dict.clear(), CorruptSegment);
    CHECK_THROWS_AS(dict.items(), CorruptSegment);
    CHECK_THROWS_AS(dict.size(), CorruptSegment);
  }
  shm::store_word(shards, before);
  CHECK(dict.to<std::map<std::string, int>>() == std::map<std::string, int>{{"a", 1}, {"b", 2}, {"c", 3}});
}
