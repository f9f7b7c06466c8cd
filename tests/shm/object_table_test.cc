#include "shm/object_table.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "shm/object_types.h"
#include "shm/recovery.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "support/process_shared.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::shm;

namespace {

ObjectPlan dict_plan(std::string name) {
  return {ObjectKind::kDict, std::move(name), "dict<text,text>", {1}};
}

ObjectId make(test::TestSegment& segment, const ObjectPlan& plan) {
  ObjectId id;
  Status status = create_object(segment.me(), plan, id);
  INFO(to_string(status));
  REQUIRE(status == Status::kOk);
  return id;
}

std::uint64_t used_extents(const Segment& segment) {
  return segment.header().committed_extents - segment.header().free_extents;
}

}  // namespace

TEST_CASE("a made object is found by its name with everything that was said of it") {
  test::TestSegment segment;
  ObjectId id = make(segment, dict_plan("stock"));
  REQUIRE(id.index != 0);
  REQUIRE(id.generation == 1);
  ObjectId found;
  REQUIRE(find_object(*segment, "stock", found) == Status::kOk);
  REQUIRE(found == id);
  ObjectInfo info;
  REQUIRE(object_info(*segment, id.index, info) == Status::kOk);
  REQUIRE(info.id == id);
  REQUIRE(info.kind == ObjectKind::kDict);
  REQUIRE(info.name == "stock");
  REQUIRE(info.signature == "dict<text,text>");
  REQUIRE(info.held_inside == 0);
  REQUIRE(info.created_ns > 1'600'000'000'000'000'000u);
  REQUIRE(info.control == object_control(*segment, id));
  REQUIRE(segment->holds(info.control, 64));
  REQUIRE(bytes_owned_by(*segment, id.index) > 0);
}

TEST_CASE("names and signatures fill their fields to the last byte and no further") {
  test::TestSegment segment;
  for (std::size_t size : {1u, 7u, 8u, 9u, 94u, 95u}) {
    std::string name(size, 'n');
    name.back() = 'x';
    ObjectId found, id = make(segment, dict_plan(name));
    REQUIRE(find_object(*segment, name, found) == Status::kOk);
    REQUIRE(found == id);
    REQUIRE(find_object(*segment, name.substr(0, size - 1), found) == Status::kNotFound);
  }
  ObjectPlan plan = dict_plan("signed");
  plan.signature = std::string(kMaxSignatureBytes, 's');
  ObjectInfo info;
  REQUIRE(object_info(*segment, make(segment, plan).index, info) == Status::kOk);
  REQUIRE(info.signature == plan.signature);

  ObjectId id;
  REQUIRE(create_object(segment.me(), dict_plan(std::string(96, 'n')), id) == Status::kTooLarge);
  plan.signature += 's';
  plan.name = "other";
  REQUIRE(create_object(segment.me(), plan, id) == Status::kTooLarge);
  plan = {static_cast<ObjectKind>(200), "other", "what<>", {}};
  REQUIRE(create_object(segment.me(), plan, id) == Status::kNotFound);
  REQUIRE(find_object(*segment, "other", id) == Status::kNotFound);
  REQUIRE(find_object(*segment, "", id) == Status::kNotFound);
}

TEST_CASE("a taken name is refused until it is taken off or its object destroyed") {
  test::TestSegment segment;
  ObjectId first = make(segment, dict_plan("a")), other;
  REQUIRE(create_object(segment.me(), dict_plan("a"), other) == Status::kExists);
  REQUIRE(unname_object(segment.me(), "a") == Status::kOk);
  REQUIRE(unname_object(segment.me(), "a") == Status::kNotFound);
  REQUIRE(object_control(*segment, first) != 0);  // lives on
  ObjectId second = make(segment, dict_plan("a"));
  REQUIRE(second != first);
  destroy_object(segment.me(), second);
  REQUIRE(object_control(*segment, second) == 0);
  make(segment, dict_plan("a"));
}

TEST_CASE("a destroyed object gives its memory back and its id names nothing ever after") {
  test::TestSegment segment;
  std::uint64_t before = used_extents(*segment);
  ObjectId id = make(segment, dict_plan(""));
  destroy_object(segment.me(), id);
  REQUIRE(used_extents(*segment) == before);
  ObjectId again = make(segment, dict_plan(""));
  REQUIRE(again.index == id.index);
  REQUIRE(again.generation == id.generation + 1);
  REQUIRE(object_control(*segment, id) == 0);
  REQUIRE(unname_object(segment.me(), id) == Status::kGone);
  destroy_object(segment.me(), id);  // of an earlier use: does nothing
  REQUIRE(object_control(*segment, again) != 0);
}

TEST_CASE("a table of thousands of objects agrees with a map, and a hint changes nothing but the speed") {
  test::TestSegment segment;
  std::mt19937 random(Catch::rngSeed());
  bool hinted = GENERATE(false, true);
  ObjectIndexHint hint;
  std::map<std::string, ObjectId> model;
  std::uint64_t before = used_extents(*segment);
  for (int step = 0; step < 2500; ++step) {
    std::string name = fmt::format("n{}", random() % 700);
    ObjectId id;
    if (random() % 3 != 0) {
      hint.name_is_free = model.count(name) == 0;
      ObjectPlan plan{ObjectKind::kLock, name, "lock", {}};
      Status status = create_object(segment.me(), plan, id, hinted ? &hint : nullptr);
      REQUIRE(status == (model.count(name) != 0 ? Status::kExists : Status::kOk));
      if (status == Status::kOk) model[name] = id;
    } else if (model.count(name) != 0) {
      destroy_object(segment.me(), model[name]);
      model.erase(name);
    }
    REQUIRE((find_object(*segment, name, id) == Status::kOk) == (model.count(name) != 0));
  }
  std::map<std::string, ObjectId> seen;
  for_each_object(*segment, [&](const ObjectInfo& info) { seen[info.name] = info.id; });
  REQUIRE(seen == model);
  for (auto& [name, id] : model) destroy_object(segment.me(), id);
  REQUIRE(used_extents(*segment) == before);
}

TEST_CASE("without memory an object is not made and nothing is lost") {
  test::TestSegment segment(8u << 20);
  std::vector<ObjectId> made;
  ObjectPlan large{ObjectKind::kArray, "", "array<int64>", {100'000, 8}};
  ObjectId id;
  Status status;
  while ((status = create_object(segment.me(), large, id)) == Status::kOk) made.push_back(id);
  REQUIRE(status == Status::kOutOfMemory);
  REQUIRE(made.size() >= 8);
  for (ObjectId each : made) destroy_object(segment.me(), each);
  REQUIRE(used_extents(*segment) == 0);
  make(segment, large);
}

TEST_CASE("a maker that is killed at any moment leaves no memory that the next server does not give back") {
  test::TestSegment segment;
  std::mt19937 random(Catch::rngSeed());
  (void)segment.me();
  for (int round = 0; round < 60; ++round) {
    pid_t maker = test::spawn([&]() {
      std::vector<ObjectId> own;
      for (;;) {
        ObjectId id;
        if (create_object(segment.me(), dict_plan(""), id) == Status::kOk) own.push_back(id);
        if (own.size() > 5) {
          destroy_object(segment.me(), own.front());
          own.erase(own.begin());
        }
      }
    });
    usleep(static_cast<useconds_t>(2000 + random() % 3000));
    kill(maker, SIGKILL);
    test::wait_for(maker);
    recover_all_dead(*segment, segment.me());
    finish_sweep(segment.me());
    // What was finished is whole; what was not has left nothing.
    std::uint64_t owned = 0;
    for_each_object(*segment, [&](const ObjectInfo& info) {
      ObjectAddress where{&*segment, info.id.index, info.control};
      REQUIRE(object_type(info.kind)->audit(segment.me(), where) == "");
      owned += bytes_owned_by(*segment, info.id.index);
    });
    REQUIRE((owned == 0) == (used_extents(*segment) == 0));
    REQUIRE(sweep_unreferred_objects(segment.me()) >= 0);
    REQUIRE(used_extents(*segment) == 0);
  }
}
