// Each two operations of a dict, one interrupted anywhere by the other.
#include "interleave/pair_fixture.h"
#include "shm/dict.h"
#include "support/dict_kill_stage.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;
using shm::ThreadContext;

namespace {

struct DictFixture {
  DictFixture(std::uint64_t shards, std::size_t keys) : where(stage.segment.make_dict(shards)), dict(where) {
    fix_seed(where);
    fill(dict, stage.me(), 0, keys);
  }
  Observation observation() {
    return {[this] {
              std::vector<shm::DictEntryCopy> entries;
              const Status status = dict.snapshot(stage.me(), entries);
              if (status != Status::kOk) return word_of(status);
              std::string text;
              for (const auto& entry : entries) text += fmt::format("{}={} ", entry.key(), shown(entry.value()));
              return text + fmt::format("({})", dict.size());
            },
            [this] { return dict.audit(stage.me()).error; }};
  }
  std::vector<Operation> operations();

  KillStage stage;
  shm::ObjectAddress where;
  shm::Dict dict;
  const std::int64_t seven = 7;
  const std::string k0 = key_number(0), k1 = key_number(1), fresh = "new", other = "other";
};

std::vector<Operation> DictFixture::operations() {
  return {
      {"put of a new key", [this](ThreadContext& me) { return word_of(dict.put(me, text(fresh), text("v"))); }},
      {"put over a value", [this](ThreadContext& me) { return word_of(dict.put(me, text(k0), text("larger"))); }},
      {"put in place", [this](ThreadContext& me) { return word_of(dict.put(me, text(k0), integer(seven))); }},
      {"erase", [this](ThreadContext& me) { return word_of(dict.erase(me, text(k0))); }},
      {"get",
       [this](ThreadContext&) {
         std::string found;
         const Status got = dict.get(text(k0), {&found, [](void* to, shm::ItemKind, std::size_t size) -> void* {
                                                  static_cast<std::string*>(to)->resize(size);
                                                  return static_cast<std::string*>(to)->data();
                                                }});
         return word_of(got) + (got == Status::kOk ? shown(found) : "");
       },
       kReaderWaits},
      {"size", [this](ThreadContext&) { return std::to_string(dict.size()); }, kReaderWaits},
      {"clear", [this](ThreadContext& me) { return word_of(dict.clear(me)); }},
      {"put of many",
       [this](ThreadContext& me) {
         const shm::DictPair pairs[] = {{text(k0), text("a")}, {text(fresh), text("b")}, {text(other), integer(seven)}};
         return word_of(dict.put_many(me, pairs));
       }},
      {"get of many",
       [this](ThreadContext& me) {
         std::vector<std::string> values;
         std::vector<bool> found;
         const Status got = dict.get_many(me, std::vector<shm::Item>{text(k0), text(fresh)}, values, found);
         std::string seen = word_of(got);
         for (std::size_t i = 0; i < found.size(); ++i) seen += found[i] ? " " + shown(values[i]) : " -";
         return seen;
       },
       kReaderWaits},
      {"pop of the last",
       [this](ThreadContext& me) {
         shm::DictOrderCache cache;
         shm::DictEntryCopy popped;
         const Status got = dict.pop_last(me, cache, popped);
         return word_of(got) + (got == Status::kOk ? std::string(popped.key()) : "");
       }},
      {"count",
       [this](ThreadContext& me) {
         shm::Word before = 0;
         const Status status = dict.change_word(
             me, text(k1), shm::ItemKind::kInt64, [](shm::Word a, shm::Word b) { return a + b; }, 5, nullptr, &before);
         return word_of(status) + std::to_string(before);
       }},
  };
}

}  // namespace

TEST_CASE("two operations of a dict, one of them interrupted anywhere, are done one after the other") {
  DictFixture fixture(2, 5);
  explore_all_pairs(fixture.stage, "dict", fixture.operations(), fixture.observation());
}
