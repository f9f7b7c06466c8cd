// A SIGKILL at every instruction of every operation that changes a dict, or holds its locks. After each: the operation
// took effect as a whole or not at all, every block is accounted for, nothing is locked, and the next operation works.
#include <catch2/catch.hpp>

#include "shm/dict_layout.h"
#include "tests/support/dict_kill_stage.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Dict;
using shm::ItemKind;
using shm::PutMode;
using shm::Status;
using shm::ThreadContext;
using shm::Word;

namespace {

void kill_everywhere(const DictCase& dict_case) {
  DictKillStage stage(dict_case);
  expect_clean(stage.kill_everywhere());
}

std::string letters(std::size_t size, char letter = 'v') { return std::string(size, letter); }

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
auto put_key(std::size_t number) { return put_integer(key_number(number), 7); }
template <typename First, typename Second>
auto both(First first, Second second) {
  return [=](Dict& dict, ThreadContext& me) {
    first(dict, me);
    second(dict, me);
  };
}

shm::Word code(const DictShape& shape) { return shm::root_is_directory(shape.root) ? 99 : shape.root & 63; }

}  // namespace

TEST_CASE("an insertion is there or not, wherever its writer is killed") {
  kill_everywhere({"put, first entry ever", 4, {}, put("a", "1")});
  kill_everywhere({"put, another entry of a table", 1, filled(3), put("a", "1")});
  kill_everywhere({"put, first entry of a shard", 4, put_integer(key_number(1), 1), put("a", "1")});
  kill_everywhere({"put if absent", 1, filled(3), put("a", "1", PutMode::kInsertOnly)});
  kill_everywhere({"put if absent, present", 1, put("a", "1"), put("a", "2", PutMode::kInsertOnly), false});
  kill_everywhere({"put, a key in the overflow of its bucket", 1,
                   filled(keys_before([](auto&, auto& after) { return code(after) == 2; }) + 20), put("a", "1")});
  std::size_t slab = keys_before([](auto& before, auto& after) { return before.bytes > 5'000 && after.bytes > before.bytes; });
  kill_everywhere({"put that takes a slab", 1, filled(slab), put_key(slab)});
}

TEST_CASE("a table that grows under a killed writer is the old or the new one") {
  std::size_t eight = keys_before([](auto& before, auto& after) { return code(before) == 1 && code(after) == 2; });
  kill_everywhere({"put, 1 bucket to 8", 1, filled(eight), put_key(eight)});
  std::size_t sixty_four = keys_before([](auto& before, auto& after) { return code(before) == 2 && code(after) == 3; });
  kill_everywhere({"put, 8 buckets to 64", 1, filled(sixty_four), put_key(sixty_four)});
  std::size_t directory = keys_before([](auto& before, auto& after) { return code(before) == 3 && code(after) == 99; });
  kill_everywhere({"put, a directory made and its table split", 1, filled(directory), put_key(directory)});
  std::size_t split = keys_before([](auto& before, auto& after) {
    return before.root == after.root && before.tables() < after.tables();
  });
  kill_everywhere({"put, a table split", 1, filled(split), put_key(split)});
  std::size_t doubled = keys_before([](auto& before, auto& after) {
    return code(before) == 99 && before.root != after.root;
  });
  kill_everywhere({"put, the directory doubled", 1, filled(doubled), put_key(doubled)});
}

TEST_CASE("an overwritten value is the old or the new one, wherever its writer is killed") {
  kill_everywhere({"put over a value", 1, put("a", "old"), put("a", letters(100))});
  kill_everywhere({"put over an integer in place", 1, put_integer("a", 1), put_integer("a", 2)});
  kill_everywhere({"put, an integer becomes a text", 1, put_integer("a", 1), put("a", "text")});
  kill_everywhere({"put, a text becomes an integer", 1, put("a", "text"), put_integer("a", 1)});
  kill_everywhere({"replace", 1, put("a", "old"), put("a", "new", PutMode::kReplaceOnly)});
  kill_everywhere({"replace, absent", 1, put("b", "old"), put("a", "new", PutMode::kReplaceOnly), false});
  auto exchange = [](std::string expected) {
    return [=](Dict& dict, ThreadContext& me) {
      std::string actual;
      (void)dict.compare_exchange(me, text("a"), text(expected), text("desired"), &actual);
    };
  };
  kill_everywhere({"compare_exchange", 1, put("a", "old"), exchange("old")});
  kill_everywhere({"compare_exchange, mismatch", 1, put("a", "old"), exchange("other"), false});
  auto add = [](bool start) {
    return [=](Dict& dict, ThreadContext& me) {
      Word zero = 0, before;
      (void)dict.change_word(me, text("a"), ItemKind::kInt64, [](Word a, Word b) { return a + b; }, 5,
                             start ? &zero : nullptr, &before);
    };
  };
  kill_everywhere({"change_word", 1, put_integer("a", 1), add(false)});
  kill_everywhere({"change_word, absent", 1, filled(3), add(true)});
}

TEST_CASE("large values are there as a whole or not at all") {
  kill_everywhere({"put a chunk", 1, filled(3), put("a", letters(3'000))});
  kill_everywhere({"put over a chunk", 1, put("a", letters(3'000)), put("a", letters(5'000, 'w'))});
  kill_everywhere({"put, a chunk becomes small", 1, put("a", letters(3'000)), put("a", "small")});
  kill_everywhere({"erase a chunk", 1, put("a", letters(3'000)), erase("a")});
  kill_everywhere({"put extents", 1, filled(3), put("a", letters(140'000))});
  kill_everywhere({"put over extents", 1, put("a", letters(140'000)), put("a", letters(70'000, 'w'))});
  kill_everywhere({"erase extents", 1, both(put("a", letters(140'000)), filled(3)), erase("a")});
  kill_everywhere({"erase extents, last entry", 1, put("a", letters(140'000)), erase("a")});
  DictCase more{"put that commits more extents", 1, filled(3), put("a", letters(70'000)), true, 40, 1};
  kill_everywhere(more);
}

TEST_CASE("an erased entry is gone or there, wherever its eraser is killed") {
  kill_everywhere({"erase", 1, both(filled(3), put("a", "1")), erase("a")});
  kill_everywhere({"erase, absent", 1, filled(3), erase("a"), false});
  kill_everywhere({"erase, last entry of a shard", 4, both(filled(3), put("a", "1")), erase("a")});
  kill_everywhere({"erase, last entry", 1, put("a", "1"), erase("a")});
  kill_everywhere({"erase that shrinks the table", 1, filled_then_emptied(300, 33), erase(key_number(5))});
  kill_everywhere({"erase that shrinks a directory", 1, filled_then_emptied(700, 65), erase(key_number(5))});
  auto pop = [](Dict& dict, ThreadContext& me) {
    shm::DictOrderCache cache;
    shm::DictEntryCopy popped;
    (void)dict.pop_last(me, cache, popped);
  };
  kill_everywhere({"pop_last", 2, filled(5), pop});
  kill_everywhere({"pop_last, last entry", 1, filled(1), pop});
  kill_everywhere({"pop_last, empty", 2, {}, pop, false});
}
