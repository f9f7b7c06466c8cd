// Every mutating operation of a queue, killed at every instruction.
#include "shm/queue.h"

#include "support/queue_fixture.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;

namespace {

void ignore(Status) {}

// A queue of a few items, and operations on it. The sizes: fixed, any, and large ones with a chunk of their own.
struct Stage {
  explicit Stage(std::uint64_t item_bytes, std::uint64_t limit = 0)
      : bytes(item_bytes), where(make_queue(segment, item_bytes, limit)), queue(where) {}

  void put(const std::string& item) {
    std::string value = sized(item, bytes);
    ignore(queue.put(segment.me(), text(value), Deadline::already()));
  }
  std::string get() {
    std::string item;
    ignore(queue.get(segment.me(), item, Deadline::already()));
    return item;
  }
  // Up to where the next put needs another chunk.
  void fill_chunk() {
    for (std::uint64_t room; (room = room_in_chunk()) != 0;)
      put(bytes == 0 && room > 1100 ? std::string(1000, 'f') : "fill");
  }
  std::uint64_t room_in_chunk() {
    auto& control = *segment->at<shm::QueueControl>(where.control);
    std::uint64_t usable = control.chunk_bytes - sizeof(shm::ChunkTrailer);
    if (bytes != 0) usable -= usable % bytes;
    return usable - shm::cursor_at(control.put_cursor) % control.chunk_bytes;
  }
  void kill(const std::string& name, std::function<void()> op, int kills_of_recovery = 2) {
    INFO(name << ", items of " << bytes << " bytes");
    KillCase one{name, std::move(op), [this] { return state_of(queue); }, [this] { return wrong(); }};
    one.kills_of_recovery = kills_of_recovery;
    one.extents_watched = 2;
    kill_everywhere_in(segment, one);
  }
  // Sound, and of use: the next item comes out behind all others.
  std::string wrong() {
    if (std::string what = what_is_wrong(segment, queue); !what.empty()) return what;
    auto& control = *segment->at<shm::QueueControl>(where.control);
    return control.putting.state.load() != 0 || control.getting.state.load() != 0 ? "a lock stayed locked" : "";
  }

  TestSegment segment{8u << 20};
  std::uint64_t bytes;
  shm::ObjectAddress where;
  shm::Queue queue;
};

}  // namespace

TEST_CASE("a producer or consumer of a queue killed anywhere leaves the item put or not put, taken or not taken",
          "[kill]") {
  for (std::uint64_t bytes : {8, 40, 0}) {
    Stage stage(bytes, 100);
    for (int i = 0; i < 3; ++i) stage.put("item" + std::to_string(i));
    stage.kill("put", [&] { stage.put("new"); });
    stage.kill("get", [&] { (void)stage.get(); });
    stage.kill("task_done", [&] { ignore(stage.queue.task_done(stage.segment.me())); });
    stage.kill("shut_down", [&] { ignore(stage.queue.shut_down(stage.segment.me(), false)); });
    stage.kill("shut_down at once", [&] { ignore(stage.queue.shut_down(stage.segment.me(), true)); });
  }
}

TEST_CASE("a bulk put or get killed anywhere has happened as a whole or not at all", "[kill]") {
  for (std::uint64_t bytes : {8, 24, 0}) {
    Stage stage(bytes);
    for (int i = 0; i < 3; ++i) stage.put("item" + std::to_string(i));
    std::vector<std::string> values;
    for (int i = 0; i < 5; ++i) values.push_back(sized("new" + std::to_string(i), bytes));
    std::vector<shm::Item> items;
    for (auto& value : values) items.push_back(text(value));
    stage.kill("put_many", [&] {
      std::uint64_t done;
      ignore(stage.queue.put_many(stage.segment.me(), items, Deadline::already(), done));
    });
    stage.kill("get_many", [&] {
      std::vector<std::string> got;
      ignore(stage.queue.get_many(stage.segment.me(), 2, got, Deadline::already()));
    });
    const auto take_seen = [&] {
      shm::CopiedItems seen;
      ignore(stage.queue.peek_many(stage.segment.me(), 2, seen, Deadline::already()));
      std::uint64_t count = seen.count();
      ignore(stage.queue.take_seen(stage.segment.me(), seen.numbers, count));
    };
    if (bytes == 0) stage.kill("peek_many and take_seen", take_seen, 1);  // as items that are decoded first are stored
    if (bytes == 0) continue;
    std::string run(5 * bytes, 'r');
    stage.kill("put_fixed", [&] {
      std::uint64_t done;
      ignore(stage.queue.put_fixed(stage.segment.me(), run.data(), 5, bytes, Deadline::already(), done));
    });
    stage.kill("get_many_fixed", [&] {
      std::string got(3 * bytes, '\0');
      std::uint64_t count;
      ignore(stage.queue.get_many_fixed(stage.segment.me(), got.data(), bytes, 3, bytes, Deadline::already(), count));
    });
  }
}

TEST_CASE("a producer killed anywhere while the queue grows loses no chunk and no item", "[kill]") {
  for (std::uint64_t bytes : {400, 0}) {
    Stage stage(bytes);
    stage.put("first");
    stage.fill_chunk();
    stage.kill("put into a new chunk", [&] { stage.put("new"); });
    // With chunks that consumers have left behind: one to use again, then some to give back.
    for (int i = 0; i < 2; ++i) {
      stage.put("next chunk");
      stage.fill_chunk();
    }
    while (stage.queue.size() > 2) (void)stage.get();
    stage.kill("put into a used chunk", [&] { stage.put("new"); });
    for (int i = 0; i < 5; ++i) {
      stage.put("next chunk");
      stage.fill_chunk();
    }
    while (stage.queue.size() > 2) (void)stage.get();
    stage.kill("put that gives chunks back", [&] { stage.put("new"); });
  }
}

TEST_CASE("a consumer killed anywhere on the way to the next chunk leaves the items as they were", "[kill]") {
  for (std::uint64_t bytes : {400, 0}) {
    Stage stage(bytes);
    stage.put("first");
    stage.fill_chunk();
    std::uint64_t filled = stage.queue.size();
    stage.put("in the next chunk");
    stage.put("and another");
    for (std::uint64_t i = 0; i < filled; ++i) (void)stage.get();
    stage.kill("get from the next chunk", [&] { (void)stage.get(); });
    stage.kill("get_many over the end of a chunk", [&] {
      std::vector<std::string> got;
      ignore(stage.queue.get_many(stage.segment.me(), 2, got, Deadline::already()));
    });
  }
}

TEST_CASE("items with a chunk of their own are neither lost nor leaked by a death", "[kill]") {
  Stage stage(0);
  std::string big(5000, 'b'), bigger(70'000, 'B');
  stage.put(big);
  stage.put("small");
  stage.put(big);
  stage.kill("put of a large item", [&] { stage.put(big); });
  stage.kill(
      "put of a very large item", [&] { stage.put(bigger); }, 1);
  stage.kill("get of a large item, and its memory given back", [&] { (void)stage.get(); });
  std::vector<shm::Item> items{text(big), text("small"), text(big)};
  stage.kill("put_many of large items", [&] {
    std::uint64_t done;
    ignore(stage.queue.put_many(stage.segment.me(), items, Deadline::already(), done));
  });
  stage.kill("get_many of large items", [&] {
    std::vector<std::string> got;
    ignore(stage.queue.get_many(stage.segment.me(), 3, got, Deadline::already()));
  });
}

TEST_CASE("a producer or consumer that dies when it is about to wake somebody leaves the queue sound", "[kill]") {
  Stage stage(8, 4);
  auto& control = *stage.segment->at<shm::QueueControl>(stage.where.control);
  stage.put("a");
  stage.put("b");
  for (shm::Gate* gate : {&control.items, &control.room, &control.all_done}) gate->wanted.store(1);
  stage.kill("put with a sleeper", [&] { stage.put("new"); });
  stage.kill("get with a sleeper", [&] { (void)stage.get(); });
  ignore(stage.queue.task_done(stage.segment.me()));
  stage.kill("task_done with a sleeper", [&] { ignore(stage.queue.task_done(stage.segment.me())); });
}
