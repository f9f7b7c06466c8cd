// Bulk, fixed and large items, looking before taking, joining and ending of every kind of queue: each two of these
// operations, and each with a put or a get, one interrupted anywhere by the other.
#include "interleave/queue_pair_fixture.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

constexpr std::size_t kFewPairs = 3;

template <typename Queue>
std::vector<Operation> bulk_operations(QueuePairs<Queue>& pairs) {
  return {pairs.put_many({"many", "more"}), pairs.get_many(2),    pairs.get_many_in_time(3), pairs.peek_and_take(),
          pairs.peek_and_take_many(2),      pairs.get_and_done(), pairs.join_in_time(),      pairs.shut_down(true)};
}

template <typename Queue>
std::vector<Operation> single_operations(QueuePairs<Queue>& pairs) {
  return {pairs.put("new"), pairs.get(), pairs.size(), pairs.shut_down(false), pairs.task_done()};
}

template <typename Queue>
void explore_bulk(const QueueKind& kind, const std::vector<std::string>& items, const char* state) {
  QueuePairs<Queue> pairs(kind);
  pairs.fill(items);
  explore_pairs_with(pairs.stage, fmt::format("{}, {}", kind.name, state), bulk_operations(pairs),
                     single_operations(pairs), pairs.observation(), kFewPairs);
}

}  // namespace

TEST_CASE("bulk operations of a queue, and others, are done one after the other") {
  const NoLookingByItself nobody_looks;
  for (const std::uint64_t limit : {0, 2}) {
    QueueKind kind;
    kind.name = limit == 0 ? "queue, bulk" : "queue of two items, bulk";
    kind.limit = limit;
    explore_bulk<shm::Queue>(kind, {}, "empty");
    explore_bulk<shm::Queue>(kind, {"a", "bb"}, "with two");
  }
}

TEST_CASE("bulk operations of an ordered queue, and others, are done one after the other") {
  const NoLookingByItself nobody_looks;
  for (QueueKind kind : {kByPriority, kLastInFirstOut, kRedelivering}) {
    const std::string name = std::string(kind.name) + ", bulk";
    kind.name = name.c_str();
    explore_bulk<shm::OrderedQueue>(kind, {}, "empty");
    kind.limit = 2;
    explore_bulk<shm::OrderedQueue>(kind, {"a", "bb"}, "full");
  }
}

TEST_CASE("operations of a queue of items of one size, and others, are done one after the other") {
  const NoLookingByItself nobody_looks;
  for (const std::uint64_t bytes : {8, 40}) {
    for (const bool full : {false, true}) {
      QueueKind kind;
      kind.item_bytes = bytes;
      kind.limit = full ? 2 : 0;
      QueuePairs<shm::Queue> pairs(kind);
      if (full) pairs.fill({"a", "b"});
      explore_pairs_with(pairs.stage, fmt::format("queue of {} bytes, {}", bytes, full ? "full" : "empty"),
                         {pairs.put("new"), pairs.put_fixed({"run1", "run2"}), pairs.get_fixed(),
                          pairs.get_many_fixed(2), pairs.put_in_time("soon")},
                         {pairs.put_many({"many", "more"}), pairs.get_many(2), pairs.peek_and_take_many(2),
                          pairs.get_in_time(), pairs.size(), pairs.shut_down(true)},
                         pairs.observation(), kFewPairs);
    }
  }
}

TEST_CASE("puts and gets at the end of a queue's chunk, and others, are done one after the other") {
  const NoLookingByItself nobody_looks;
  const std::string item(400, 'i');  // two of them fill a chunk
  struct State {
    const char* name;
    int put, taken;
  };
  for (const State& state : {State{"before a new chunk", 2, 0}, State{"at its end", 3, 2},
                             State{"with a chunk to use again", 6, 4}, State{"with chunks to give back", 14, 12}}) {
    QueueKind kind;
    kind.item_bytes = item.size();
    QueuePairs<shm::Queue> pairs(kind);
    pairs.fill(std::vector<std::string>(static_cast<std::size_t>(state.put), item));
    pairs.take(static_cast<std::size_t>(state.taken));
    const std::string other(400, 'o');
    explore_pairs_with(pairs.stage, fmt::format("queue, {}", state.name),
                       {pairs.put(other), pairs.get(), pairs.put_many({other, other, other}), pairs.get_many(3)},
                       {pairs.peek_and_take(), pairs.size(), pairs.shut_down(true), pairs.task_done()},
                       pairs.observation(), kFewPairs);
  }
}

TEST_CASE("puts and gets of large items, and others, are done one after the other") {
  const NoLookingByItself nobody_looks;
  const std::string large(3'000, 'l'), other(4'000, 'o'), larger(40'000, 'L');
  const auto explore = [&](auto& pairs, const std::string& what) {
    pairs.fill({large, "small"});
    explore_pairs_with(pairs.stage, what,
                       {pairs.put(other), pairs.get(), pairs.put_many({other, "small", other}), pairs.get_many(3),
                        pairs.peek_and_take()},
                       {pairs.put("new"), pairs.size(), pairs.shut_down(true), pairs.get_and_done()},
                       pairs.observation(), kFewPairs);
  };
  QueuePairs<shm::Queue> ring{QueueKind{}};
  explore(ring, "queue of large items");
  QueuePairs<shm::OrderedQueue> by_priority(kByPriority);
  explore(by_priority, "queue by priority of large items");
  QueuePairs<shm::OrderedQueue> redelivering(kRedelivering);
  explore(redelivering, "queue of large items that redelivers");
  // The first chunk ends with a large item, which is the first one left; the last chunk is full.
  QueueKind small_chunks;
  small_chunks.limit = 20;
  QueuePairs<shm::Queue> at_end(small_chunks);
  const std::string small(480, 's'), large_here(600, 'l');
  std::vector<std::string> items(17, small);
  items[8] = large_here;
  at_end.fill(items);
  at_end.take(8);
  explore_pairs_with(at_end.stage, "queue of large items, at the end of a chunk",
                     {at_end.put(small), at_end.put_many({large_here, small})},
                     {at_end.get_many(2), at_end.get(), at_end.get_many(9)}, at_end.observation(), kFewPairs);
  // Items of a whole extent.
  QueuePairs<shm::Queue> extents{QueueKind{}};
  extents.fill({larger});
  explore_pairs_with(extents.stage, "queue of items of extents", {extents.put(larger), extents.get()},
                     {extents.get_many(2), extents.size(), extents.shut_down(true)}, extents.observation(), 2);
}

TEST_CASE("operations of a queue with items in flight, joining ones too, are done one after the other") {
  const NoLookingByItself nobody_looks;
  const auto explore = [&](auto& pairs, const std::string& what, std::size_t in_flight) {
    pairs.fill(std::vector<std::string>(in_flight, "taken"));
    pairs.take(in_flight);
    explore_pairs_with(pairs.stage, what,
                       {pairs.join(), pairs.join_in_time(), pairs.task_done(), pairs.get_and_done(),
                        pairs.shut_down(true), pairs.shut_down(false)},
                       {pairs.put("new"), pairs.get(), pairs.get_many(2), pairs.size()}, pairs.observation(),
                       kFewPairs);
  };
  QueuePairs<shm::Queue> ring{QueueKind{}};
  explore(ring, "queue, one taken", 1);
  QueuePairs<shm::OrderedQueue> by_priority(kByPriority);
  explore(by_priority, "queue by priority, one taken", 1);
  QueuePairs<shm::OrderedQueue> one(kRedelivering);
  explore(one, "queue that redelivers, one taken", 1);
  // The next one that is taken needs another page of flights.
  QueuePairs<shm::OrderedQueue> page(kRedelivering);
  page.fill({"first", "second"});
  explore(page, "queue that redelivers, a page of flights taken", shm::kFlightsPerPage);
}
