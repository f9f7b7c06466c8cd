// Operations on several keys, recycling, pins, and readers that take locks.
#include "shm/dict_spread.h"
#include "shm/dict_staging.h"
#include "support/dict_kill_cases.h"
#include "support/tag_twins.h"

namespace commonhold::test {

using shm::Dict;
using shm::Item;
using shm::ThreadContext;

namespace {

auto filled(std::size_t keys) {
  return [=](Dict& dict, ThreadContext& me) { fill(dict, me, 0, keys); };
}

// Keys `from` to `to` - 1: of three in a row, an integer, a text and a chunk.
struct Batch {
  Batch(std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) keys.push_back(key_number(i));
    for (std::size_t i = 0; i < keys.size(); ++i) {
      shm::DictPair pair{text(keys[i]), text(small)};
      if (i % 3 == 0) pair.value = integer(number);
      if (i % 3 == 2) pair.value = text(large);
      pairs.push_back(pair);
    }
  }
  std::vector<std::string> keys;
  std::vector<shm::DictPair> pairs;
  std::int64_t number = -1;
  std::string small = "small", large = std::string(2'500, 'l');
};

auto put_many(std::size_t from, std::size_t to) {
  auto batch = std::make_shared<Batch>(from, to);
  return [=](Dict& dict, ThreadContext& me) { (void)dict.put_many(me, batch->pairs); };
}
auto assign(std::size_t from, std::size_t to) {
  auto batch = std::make_shared<Batch>(from, to);
  return [=](Dict& dict, ThreadContext& me) { (void)dict.assign(me, batch->pairs); };
}
// The same for batches that write their entries before they take their locks, two in one hold.
auto staged(std::function<void(Dict& dict, ThreadContext& me)> op) {
  return [=](Dict& dict, ThreadContext& me) {
    const shm::StagingForTest as_if_large(2, 2);
    op(dict, me);
  };
}
void clear(Dict& dict, ThreadContext& me) {
  (void)dict.clear(me);
}

void overwrite(Dict& dict, ThreadContext& me, std::size_t times, std::size_t size = 40) {
  for (std::size_t i = 0; i < times; ++i) {
    std::string value(size + i % 3, static_cast<char>('a' + i % 26));
    (void)dict.put(me, text("a"), text(value));
  }
}
auto overwritten(std::size_t times, std::size_t size = 40) {
  return [=](Dict& dict, ThreadContext& me) { overwrite(dict, me, times, size); };
}

std::uint32_t pin(Dict& dict, ThreadContext& me, std::string_view key) {
  const void* data;
  std::size_t size;
  shm::ItemKind kind;
  std::uint32_t slot = 0;
  (void)dict.pin(me, text(key), data, size, kind, slot);
  return slot;
}

}  // namespace

std::vector<DictCase> dict_batches() {
  std::vector<DictCase> cases;
  cases.push_back({"put_many, new keys in an empty dict", 4, {}, put_many(0, 3)});
  cases.push_back({"put_many, new and old keys, in place too", 4, filled(4), put_many(2, 8)});
  cases.push_back({"put_many, all in place", 4, filled(4), [](Dict& dict, ThreadContext& me) {
                     std::int64_t seven = 7;
                     std::string first = key_number(0), second = key_number(1);
                     shm::DictPair pairs[] = {{text(first), integer(seven)}, {text(second), integer(seven)}};
                     (void)dict.put_many(me, pairs);
                   }});
  cases.push_back({"put_many that grows tables", 2, filled(12), put_many(10, 30)});
  cases.push_back({"put_many of a large batch in an empty dict", 2, {}, staged(put_many(0, 5))});
  cases.push_back({"put_many of a large batch, new and old keys, in place too", 4, filled(4), staged(put_many(2, 9))});
  cases.push_back({"put_many of a large batch that grows tables", 1, filled(12), staged(put_many(10, 26))});
  cases.push_back({.name = "put_many of a large batch that spreads the dict",
                   .shards = 0,
                   .setup = filled(4),
                   .op = staged(put_many(2, 9)),
                   .waits = shm::kCrowdedWaits});
  cases.push_back({"put_many of one key twice", 2, filled(2), [](Dict& dict, ThreadContext& me) {
                     shm::DictPair pairs[] = {{text("a"), text("1")}, {text("a"), text("2")}};
                     (void)dict.put_many(me, pairs);
                   }});
  return cases;
}

std::vector<DictCase> dict_clearings() {
  std::vector<DictCase> cases;
  cases.push_back({"clear", 4, filled(20), clear});
  cases.push_back({"clear, empty", 2, {}, clear, false});
  cases.push_back({"clear, large values", 1, put_many(0, 6), clear});
  cases.push_back({.name = "assign", .shards = 2, .setup = filled(10), .op = assign(5, 12), .renews = true});
  cases.push_back({.name = "assign of a large batch",
                   .shards = 2,
                   .setup = filled(10),
                   .op = staged(assign(5, 12)),
                   .renews = true});
  cases.push_back({"assign to an empty dict", 2, {}, assign(0, 4)});
  cases.push_back({"assign nothing", 2, filled(4), assign(0, 0)});
  return cases;
}

std::vector<DictCase> dict_recycling() {
  std::vector<DictCase> cases;
  cases.push_back({"put that parks a block", 1, overwritten(5), overwritten(1)});
  cases.push_back({"put that recycles", 1, overwritten(15), overwritten(1)});
  cases.push_back({"put into a block at hand", 1, overwritten(17), overwritten(1)});
  auto twins = std::make_shared<std::pair<std::string, std::string>>(tag_twins(kFixedSeed));
  std::string value(34, 't');  // with a key as long as theirs as much as the blocks at hand hold
  cases.push_back({"put into a block at hand, the key second of two with one tag", 1,
                   [=](Dict& dict, ThreadContext& me) {
                     overwrite(dict, me, 20);
                     (void)dict.put(me, text(twins->first), text(value));
                     (void)dict.put(me, text(twins->second), text(value));
                   },
                   [=](Dict& dict, ThreadContext& me) { (void)dict.put(me, text(twins->second), text(value + "!")); }});
  cases.push_back({"put that recycles chunks", 1, overwritten(15, 2'500), overwritten(1, 2'500)});
  cases.push_back({"put that recycles beside a pin", 1,
                   [](Dict& dict, ThreadContext& me) {
                     (void)dict.put(me, text("a"), text("pinned"));
                     (void)pin(dict, me, "a");
                     overwrite(dict, me, 14);
                   },
                   overwritten(1)});
  return cases;
}

std::vector<DictCase> dict_pins() {
  std::vector<DictCase> cases;
  cases.push_back({"pin, unpin", 1, overwritten(1),
                   [](Dict& dict, ThreadContext& me) { Dict::unpin(me, pin(dict, me, "a")); }, false});
  cases.push_back({"pin, overwrite, unpin, overwrite", 1, overwritten(13), [](Dict& dict, ThreadContext& me) {
                     std::uint32_t slot = pin(dict, me, "a");
                     (void)dict.put(me, text("a"), text("first"));
                     Dict::unpin(me, slot);
                   }});
  cases.push_back({"clear with a pin", 1, overwritten(3), [](Dict& dict, ThreadContext& me) {
                     std::uint32_t slot = pin(dict, me, "a");
                     (void)dict.clear(me);
                     Dict::unpin(me, slot);
                   }});
  return cases;
}

std::vector<DictCase> dict_locking_reads() {
  std::vector<DictCase> cases;
  cases.push_back({"snapshot", 4, filled(6),
                   [](Dict& dict, ThreadContext& me) {
                     std::vector<shm::DictEntryCopy> entries;
                     (void)dict.snapshot(me, entries);
                   },
                   false});
  cases.push_back({"get_many", 4, filled(6),
                   [](Dict& dict, ThreadContext& me) {
                     std::string first = key_number(0), second = key_number(4), third = "absent";
                     Item keys[] = {text(first), text(second), text(third)};
                     std::vector<std::string> values;
                     std::vector<bool> found;
                     (void)dict.get_many(me, keys, values, found);
                   },
                   false});
  return cases;
}

}  // namespace commonhold::test
