// Each two operations of a list, a value and an array, one interrupted anywhere by the other.
#include "interleave/pair_fixture.h"
#include "shm/array.h"
#include "shm/list.h"
#include "shm/value.h"
#include "support/list_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;
using shm::ThreadContext;

namespace {

std::string all_of(const shm::List& list, ThreadContext& me) {
  std::vector<std::string> values;
  const Status status = list.snapshot(me, 0, ~std::uint64_t{0}, values);
  std::string seen = word_of(status);
  for (const std::string& value : values) seen += " " + shown(value);
  return seen;
}

}  // namespace

TEST_CASE("two operations of a list, one of them interrupted anywhere, are done one after the other") {
  for (const bool boxed : {false, true}) {
    KillStage stage;
    shm::List list(make_list(stage.segment, boxed));
    const std::string first = boxed ? "first" : word_text(1), second = boxed ? "second" : word_text(2),
                      added = boxed ? std::string(40, 'a') : word_text(3);
    const auto item = [&](const std::string& value) {
      return boxed ? text(value) : shm::Item{shm::ItemKind::kInt64, value.data(), 8};
    };
    for (const std::string* value : {&first, &second, &first}) (void)list.push_back(stage.me(), item(*value));
    const std::vector<Operation> operations{
        {"push_back", [&](ThreadContext& me) { return word_of(list.push_back(me, item(added))); }},
        {"push_front", [&](ThreadContext& me) { return word_of(list.push_front(me, item(added))); }},
        {"pop_back",
         [&](ThreadContext& me) {
           std::string popped;
           const Status status = list.pop_back(me, popped);
           return word_of(status) + shown(popped);
         }},
        {"pop_front",
         [&](ThreadContext& me) {
           std::string popped;
           const Status status = list.pop_front(me, popped);
           return word_of(status) + shown(popped);
         }},
        {"set", [&](ThreadContext& me) { return word_of(list.set(me, 1, item(added))); }},
        {"insert", [&](ThreadContext& me) { return word_of(list.insert(me, 1, item(added))); }},
        {"erase", [&](ThreadContext& me) { return word_of(list.erase(me, 0)); }},
        {"reverse", [&](ThreadContext& me) { return word_of(list.reverse(me)); }},
        {"clear", [&](ThreadContext& me) { return word_of(list.clear(me)); }},
        {"get",
         [&](ThreadContext&) {
           const auto value = get(list, 1);
           return value ? shown(*value) : "out of range";
         },
         kReaderWaits},
        {"size", [&](ThreadContext&) { return std::to_string(list.size()); }, kReaderWaits},
        {"copy of all", [&](ThreadContext& me) { return all_of(list, me); }, kReaderWaits},
        {"extend",
         [&](ThreadContext& me) {
           const shm::Item items[] = {item(added), item(second)};
           return word_of(list.extend(me, items));
         }},
    };
    explore_all_pairs(stage, boxed ? "list of texts" : "list of words", operations,
                      {[&] { return all_of(list, stage.me()); }, [&] { return list.audit(stage.me()).error; }});
  }
}

TEST_CASE("two operations of a value, one of them interrupted anywhere, are done one after the other") {
  for (const std::size_t size : {8u, 24u}) {
    KillStage stage;
    const shm::Value value(stage.segment.make({shm::ObjectKind::kValue, "", "value", {size}}));
    const auto load = [&value, size](ThreadContext& me) {
      std::string bytes(size, '\0');
      const Status status = value.load(me, bytes.data());
      return word_of(status) + " " + shown(bytes);
    };
    const std::string a(size, 'a'), b(size, 'b'), zero(size, '\0');
    const std::vector<Operation> operations{
        {"load", load, kReaderWaits},
        {"store", [&](ThreadContext& me) { return word_of(value.store(me, a.data())); }},
        {"exchange",
         [&](ThreadContext& me) {
           std::string before(size, '\0');
           const Status status = value.exchange(me, b.data(), before.data());
           return word_of(status) + " " + shown(before);
         }},
        {"compare and exchange",
         [&](ThreadContext& me) {
           std::string expected = zero;
           const Status status = value.compare_exchange(me, expected.data(), a.data());
           return word_of(status) + " " + shown(expected);
         }},
    };
    explore_all_pairs(stage, fmt::format("value of {} bytes", size), operations,
                      {[&] { return load(stage.me()); }, [] { return std::string(); }});
  }
}

TEST_CASE("two operations of an array, one of them interrupted anywhere, are done one after the other") {
  for (const std::size_t size : {4u, 24u}) {
    KillStage stage;
    constexpr std::uint64_t kCount = 6;
    const shm::Array array(stage.segment.make({shm::ObjectKind::kArray, "", "array", {kCount, size}}));
    const auto read = [&array, size](ThreadContext& me) {
      std::string bytes(size * kCount, '\0');
      const Status status = array.read(me, 0, kCount, bytes.data());
      return word_of(status) + " " + shown(bytes);
    };
    const std::string a(size * kCount, 'a'), b(size * kCount, 'b'), one(size, 'o');
    const std::vector<Operation> operations{
        {"load",
         [&](ThreadContext& me) {
           std::string bytes(size, '\0');
           const Status status = array.load(me, 2, bytes.data());
           return word_of(status) + " " + shown(bytes);
         },
         kReaderWaits},
        {"store", [&](ThreadContext& me) { return word_of(array.store(me, 2, one.data())); }},
        {"read", read, kReaderWaits},
        {"write", [&](ThreadContext& me) { return word_of(array.write(me, 1, 4, a.data())); }},
        {"fill", [&](ThreadContext& me) { return word_of(array.fill(me, 0, kCount, b.data())); }},
    };
    explore_all_pairs(stage, fmt::format("array of {} bytes", size), operations,
                      {[&] { return read(stage.me()); }, [] { return std::string(); }});
  }
}
