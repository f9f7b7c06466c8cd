// Operations on single keys.
#include "support/dict_kill_cases.h"
#include "shm/dict_spread.h"

namespace commonhold::test {

using shm::Dict;
using shm::ItemKind;
using shm::PutMode;
using shm::ThreadContext;
using shm::Word;

namespace {

std::string letters(std::size_t size, char letter = 'v') {
  return std::string(size, letter);
}

// Operations as the cases name them. What they return is the model test's business.
auto put(std::string key, std::string value, PutMode mode = PutMode::kPut) {
  return [=](Dict& dict, ThreadContext& me) { (void)dict.put(me, text(key), text(value), mode); };
}
auto put_integer(std::string key, std::int64_t value) {
  return [=](Dict& dict, ThreadContext& me) { (void)dict.put(me, text(key), integer(value)); };
}
auto erase(std::string key) {
  return [=](Dict& dict, ThreadContext& me) { (void)dict.erase(me, text(key)); };
}
auto filled(std::size_t keys) {
  return [=](Dict& dict, ThreadContext& me) { fill(dict, me, 0, keys); };
}
auto filled_then_emptied(std::size_t keys, std::size_t kept) {
  return [=](Dict& dict, ThreadContext& me) {
    fill(dict, me, 0, keys);
    for (std::size_t i = keys; i-- > kept;) (void)dict.erase(me, text(key_number(i)));
  };
}
auto put_key(std::size_t number) {
  return put_integer(key_number(number), 7);
}
template <typename First, typename Second>
auto both(First first, Second second) {
  return [=](Dict& dict, ThreadContext& me) {
    first(dict, me);
    second(dict, me);
  };
}

// Of a small table; 0: there is a directory.
std::uint32_t buckets(const DictShape& shape) {
  return shm::root_is_directory(shape.root) ? 0 : shm::buckets_of_code(shape.root & 63);
}

}  // namespace

std::vector<DictCase> dict_insertions() {
  std::vector<DictCase> cases;
  cases.push_back({"put, first entry ever", 4, {}, put("a", "1")});
  cases.push_back({"put, another entry of a table", 1, filled(3), put("a", "1")});
  cases.push_back({"put, first entry of a shard", 4, put_integer(key_number(1), 1), put("a", "1")});
  cases.push_back({"put if absent", 1, filled(3), put("a", "1", PutMode::kInsertOnly)});
  cases.push_back({"put if absent, present", 1, put("a", "1"), put("a", "2", PutMode::kInsertOnly), false});
  cases.push_back({"put, a key in the overflow of its bucket", 1,
                   filled(keys_before([](auto&, auto& after) { return buckets(after) == 8; }) + 20), put("a", "1")});
  std::size_t slab =
      keys_before([](auto& before, auto& after) { return before.bytes > 5'000 && after.bytes > before.bytes; });
  cases.push_back({"put that takes a slab", 1, filled(slab), put_key(slab)});
  return cases;
}

std::vector<DictCase> dict_growth() {
  std::vector<DictCase> cases;
  std::size_t eight =
      keys_before([](auto& before, auto& after) { return buckets(before) == 2 && buckets(after) == 8; });
  cases.push_back({"put, 2 buckets to 8", 1, filled(eight), put_key(eight)});
  std::size_t sixty_four =
      keys_before([](auto& before, auto& after) { return buckets(before) == 8 && buckets(after) == 64; });
  cases.push_back({"put, 8 buckets to 64", 1, filled(sixty_four), put_key(sixty_four)});
  std::size_t directory =
      keys_before([](auto& before, auto& after) { return buckets(before) == 64 && buckets(after) == 0; });
  cases.push_back({"put, a directory made and its table split", 1, filled(directory), put_key(directory)});
  std::size_t split = keys_before(
      [](auto& before, auto& after) { return before.root == after.root && before.tables() < after.tables(); });
  cases.push_back({"put, a table split", 1, filled(split), put_key(split)});
  std::size_t doubled =
      keys_before([](auto& before, auto& after) { return buckets(before) == 0 && before.root != after.root; });
  cases.push_back({"put, the directory doubled", 1, filled(doubled), put_key(doubled)});
  return cases;
}

std::vector<DictCase> dict_spreading() {
  DictCase small{"put of a dict whose writers wait", 0, filled(8), put("a", "1")};
  DictCase emptied = small, full = small;
  small.waits = shm::kCrowdedWaits;
  emptied.name = "put of an emptied dict whose writers wait";
  emptied.setup = filled_then_emptied(40, 0);
  emptied.waits = shm::kCrowdedWaits;
  full.name = "put of a dict whose writers wait, without memory for more shards";
  full.waits = shm::kCrowdedWaits;
  full.free_extents = 0;
  full.setup = both(filled(8), put("b", letters(3'000)));  // there is room for one more such value, and not for shards
  full.extents = 16;
  full.memory_limit = 16 * shm::kExtent;
  DictCase many = small;
  many.name = "put_many of a dict whose writers wait";
  many.op = [](Dict& dict, ThreadContext& me) {
    (void)dict.put_many(me, std::vector<shm::DictPair>{{text("a"), text("1")}, {text("b"), text("2")}});
  };
  return {small, emptied, full, many};
}

std::vector<DictCase> dict_overwrites() {
  std::vector<DictCase> cases;
  cases.push_back({"put over a value", 1, put("a", "old"), put("a", letters(100))});
  cases.push_back({"put over an integer in place", 1, put_integer("a", 1), put_integer("a", 2)});
  cases.push_back({"put, an integer becomes a text", 1, put_integer("a", 1), put("a", "text")});
  cases.push_back({"put, a text becomes an integer", 1, put("a", "text"), put_integer("a", 1)});
  cases.push_back({"replace", 1, put("a", "old"), put("a", "new", PutMode::kReplaceOnly)});
  cases.push_back({"replace, absent", 1, put("b", "old"), put("a", "new", PutMode::kReplaceOnly), false});
  auto exchange = [](std::string expected) {
    return [=](Dict& dict, ThreadContext& me) {
      std::string actual;
      (void)dict.compare_exchange(me, text("a"), text(expected), text("desired"), &actual);
    };
  };
  cases.push_back({"compare_exchange", 1, put("a", "old"), exchange("old")});
  cases.push_back({"compare_exchange, mismatch", 1, put("a", "old"), exchange("other"), false});
  auto add = [](bool start) {
    return [=](Dict& dict, ThreadContext& me) {
      Word zero = 0, before;
      (void)dict.change_word(
          me, text("a"), ItemKind::kInt64, [](Word a, Word b) { return a + b; }, 5, start ? &zero : nullptr, &before);
    };
  };
  cases.push_back({"change_word", 1, put_integer("a", 1), add(false)});
  cases.push_back({"change_word, absent", 1, filled(3), add(true)});
  return cases;
}

std::vector<DictCase> dict_large_values() {
  std::vector<DictCase> cases;
  cases.push_back({"put a chunk", 1, filled(3), put("a", letters(3'000))});
  cases.push_back({"put over a chunk", 1, put("a", letters(3'000)), put("a", letters(5'000, 'w'))});
  cases.push_back({"put, a chunk becomes small", 1, put("a", letters(3'000)), put("a", "small")});
  cases.push_back({"erase a chunk", 1, put("a", letters(3'000)), erase("a")});
  cases.push_back({"put extents", 1, filled(3), put("a", letters(140'000))});
  cases.push_back({"put over extents", 1, put("a", letters(140'000)), put("a", letters(70'000, 'w'))});
  cases.push_back({"erase extents", 1, both(put("a", letters(140'000)), filled(3)), erase("a")});
  cases.push_back({"erase extents, last entry", 1, put("a", letters(140'000)), erase("a")});
  // "b" moves into the hole that "a" left.
  auto hole = [](Dict& dict, ThreadContext& me) {
    both(both(put("a", letters(33'000)), put("b", letters(34'000, 'w'))), erase("a"))(dict, me);
    dict.give_idle_memory(me);
  };
  auto compact = [](Dict& dict, ThreadContext& me) {
    if (!dict.compact(me)) throw std::runtime_error("nothing was moved");
  };
  cases.push_back({"compact", 1, hole, compact, false});
  DictCase more{"put that commits more extents", 1, filled(3), put("a", letters(70'000)), true, 40, 1};
  cases.push_back(more);
  return cases;
}

std::vector<DictCase> dict_erasures() {
  std::vector<DictCase> cases;
  cases.push_back({"erase", 1, both(filled(3), put("a", "1")), erase("a")});
  cases.push_back({"erase, absent", 1, filled(3), erase("a"), false});
  cases.push_back({"erase, last entry of a shard", 4, both(filled(3), put("a", "1")), erase("a")});
  cases.push_back({"erase, last entry", 1, put("a", "1"), erase("a")});
  cases.push_back({"erase that shrinks the table", 1, filled_then_emptied(300, 33), erase(key_number(5))});
  cases.push_back({"erase that shrinks a directory", 1, filled_then_emptied(700, 65), erase(key_number(5))});
  auto pop = [](Dict& dict, ThreadContext& me) {
    shm::DictOrderCache cache;
    shm::DictEntryCopy popped;
    (void)dict.pop_last(me, cache, popped);
  };
  cases.push_back({"pop_last", 2, filled(5), pop});
  cases.push_back({"pop_last, last entry", 1, filled(1), pop});
  cases.push_back({"pop_last, empty", 2, {}, pop, false});
  return cases;
}

}  // namespace commonhold::test
