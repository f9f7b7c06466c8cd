#include "interleave/dict_pair_fixture.h"

#include <algorithm>
#include <memory>

#include "interleave/pair_fixture.h"
#include "shm/dict_lookup.h"
#include "shm/dict_overwrite.h"
#include "shm/dict_staging.h"
#include "support/further_operations.h"

namespace commonhold::test {

using shm::Dict;
using shm::Item;
using shm::PutMode;
using shm::Status;
using shm::ThreadContext;

namespace {

std::string all_of(const Dict& dict, ThreadContext& me, bool in_order) {
  std::vector<shm::DictEntryCopy> entries;
  if (const Status status = dict.snapshot(me, entries); status != Status::kOk) return word_of(status);
  if (!in_order) std::ranges::sort(entries, {}, [](const shm::DictEntryCopy& entry) { return entry.key(); });
  constexpr std::size_t kShownAsTheyAre = 16;
  std::string seen;
  std::uint64_t digest = 0;
  for (const auto& entry : entries) {
    if (entries.size() <= kShownAsTheyAre || &entry == &entries.back()) {
      seen += fmt::format("{}={} ", entry.key(), brief(entry.value()));
    }
    digest = digest * 31 + std::hash<std::string_view>()(entry.bytes);
  }
  return entries.size() <= kShownAsTheyAre ? seen : fmt::format("{} entries, {:x}, {}", entries.size(), digest, seen);
}

Status get_value(const Dict& dict, const std::string& key, std::string& value, shm::ItemKind& value_kind) {
  struct Found {
    std::string& value;
    shm::ItemKind& kind;
  } found{value, value_kind};
  return dict.get(text(key), {&found, [](void* to, shm::ItemKind kind, std::size_t size) -> void* {
                                auto& into = *static_cast<Found*>(to);
                                into.kind = kind;
                                into.value.resize(size);
                                return into.value.data();
                              }});
}

// As Entries have it; points to `value`.
Item item_of(const std::string& value) {
  static constexpr std::int64_t kNumber = 7;
  if (value == kNoValue) return {};
  return value.empty() ? integer(kNumber) : text(value);
}

// Points to the entries.
std::vector<shm::DictPair> pairs_of(const Entries& entries) {
  std::vector<shm::DictPair> pairs;
  for (const auto& [key, value] : entries) pairs.push_back({text(key), item_of(value)});
  return pairs;
}

std::string popped_from(Dict& dict, ThreadContext& me, shm::DictOrderCache& cache) {
  shm::DictEntryCopy popped;
  const Status status = dict.pop_last(me, cache, popped);
  return fmt::format("{} {}={}", word_of(status), popped.key(), brief(popped.value()));
}

// A batch of two keys is large, and one entry is written at a time.
template <typename Change>
std::string as_batch(bool staged, Change&& change) {
  if (!staged) return word_of(change());
  const shm::StagingForTest as_if_large(2, 1);
  return word_of(change());
}

}  // namespace

Observation DictPairs::observation() {
  return {[this] { return all_of(dict, stage.me(), in_order) + fmt::format("({})", dict.size()); },
          [this]() -> std::string {
            auto audit = dict.audit(stage.me());
            // Of a dead batch a shard keeps what it had listed where another process held that shard's lock during the
            // recovery: it is idle memory (dict_staging.h).
            if (audit.error.empty() && audit.left_staged != 0) {
              dict.give_idle_memory(stage.me());
              audit = dict.audit(stage.me());
            }
            if (!audit.error.empty()) return audit.error;
            return audit.left_staged != 0 ? "entries of a batch were left" : "";
          },
          [this] { return works(dict, stage.me()); }};
}

Operation DictPairs::reader(std::string name, Use use) {
  Operation operation = writer(std::move(name), std::move(use));
  operation.waits_at_most = kReaderWaits;
  return operation;
}

Operation DictPairs::writer(std::string name, Use use) {
  return {std::move(name), [this, use = std::move(use)](ThreadContext& me) { return use(dict, me); }};
}

// ---- reading

Operation DictPairs::get(std::string key) {
  return reader("get of " + key, [key](Dict& in, ThreadContext&) {
    std::string found;
    shm::ItemKind kind{};
    const Status status = get_value(in, key, found, kind);
    return result_of(status, found);
  });
}

Operation DictPairs::get_fixed(std::string key) {
  return reader("get of a number, " + key, [key](Dict& in, ThreadContext&) {
    std::int64_t number = 0;
    Status status = Status::kOk;
    if (!in.get_fixed_straight(text(key), &number, sizeof number)) {
      status = in.get_fixed_at_length(text(key), &number, sizeof number);
    }
    return result_of(status, std::to_string(number));
  });
}

Operation DictPairs::contains(std::string key) {
  return reader("contains " + key, [key](Dict& in, ThreadContext&) { return in.contains(text(key)) ? "yes" : "no"; });
}

Operation DictPairs::size() {
  return reader("size", [](Dict& in, ThreadContext&) { return std::to_string(in.size()); });
}

Operation DictPairs::get_many(std::vector<std::string> keys) {
  return reader("get of many", [keys](Dict& in, ThreadContext& me) {
    std::vector<Item> items;
    for (const std::string& key : keys) items.push_back(text(key));
    std::vector<std::string> values;
    std::vector<bool> found;
    std::string seen = word_of(in.get_many(me, items, values, found));
    for (std::size_t i = 0; i < found.size(); ++i) seen += fmt::format(" {}", found[i] ? brief(values[i]) : "-");
    return seen;
  });
}

Operation DictPairs::snapshot() {
  return reader("snapshot", [this](Dict& in, ThreadContext& me) { return all_of(in, me, in_order); });
}

Operation DictPairs::pin(std::string key) {
  // A pin waits for its shard's lock; where it does not get it, users are given a copy.
  constexpr std::int64_t kPinWaits = 120'000'000;
  Operation operation = reader("pin of " + key, [key](Dict& in, ThreadContext& me) {
    const void* data = nullptr;
    std::size_t size = 0;
    shm::ItemKind kind{};
    std::uint32_t slot = 0;
    Status status = in.pin(me, text(key), data, size, kind, slot);
    if (status == Status::kTooMany) {
      std::string copy;
      status = get_value(in, key, copy, kind);
      return result_of(status, copy);
    }
    if (status != Status::kOk) return word_of(status);
    const auto read = [&] {
      std::string bytes(size, '\0');
      shm::read_words(bytes.data(), static_cast<const std::byte*>(data), size);
      return bytes;
    };
    const std::string before = read(), after = read();
    Dict::unpin(me, slot);
    // A scalar alone is changed in its place.
    if (before == after || shm::is_scalar(kind)) return result_of(Status::kOk, before);
    return std::string("a pinned value changed");
  });
  operation.waits_at_most = kPinWaits;
  return operation;
}

// ---- one key

Operation DictPairs::put(std::string key, std::string value) {
  return writer("put of " + key, [key, value](Dict& in, ThreadContext& me) {
    bool replaced = false;
    const Status status = in.put(me, text(key), text(value), PutMode::kPut, nullptr, &replaced);
    return word_of(status) + (replaced ? ", replaced" : "");
  });
}

Operation DictPairs::put_number(std::string key) {
  return writer("put of a number, " + key, [key](Dict& in, ThreadContext& me) {
    const std::int64_t number = 70;
    return word_of(in.put(me, text(key), integer(number)));
  });
}

Operation DictPairs::put_if(std::string key, std::string value, PutMode mode) {
  const bool insert = mode == PutMode::kInsertOnly;
  return writer((insert ? "put if absent, " : "put if present, ") + key,
                [key, value, mode](Dict& in, ThreadContext& me) {
                  std::string before;
                  const Status status = in.put(me, text(key), item_of(value), mode, &before);
                  return fmt::format("{} {}", word_of(status), brief(before));
                });
}

Operation DictPairs::exchange(std::string key, std::string value) {
  return writer("exchange of " + key, [key, value](Dict& in, ThreadContext& me) {
    std::string before;
    bool replaced = false;
    const Status status = in.put(me, text(key), text(value), PutMode::kPut, &before, &replaced);
    return fmt::format("{} {}", word_of(status), replaced ? brief(before) : "-");
  });
}

Operation DictPairs::compare_exchange(std::string key, std::int64_t expected, std::string value) {
  return writer("compare and exchange of " + key, [key, expected, value](Dict& in, ThreadContext& me) {
    std::string actual;
    const Status status = in.compare_exchange(me, text(key), integer(expected), text(value), &actual);
    return fmt::format("{} {}", word_of(status), brief(actual));
  });
}

Operation DictPairs::update(std::string key, std::string value) {
  struct Seen {
    Status status = Status::kOk;
    std::string value;
    shm::ItemKind kind{};
  };
  const auto seen = std::make_shared<Seen>();
  return {"update of " + key,
          {[this, key, seen](ThreadContext&) {
             seen->status = get_value(dict, key, seen->value, seen->kind);
             return result_of(seen->status, seen->value);
           },
           [this, key, value, seen](ThreadContext& me) {
             if (seen->status != Status::kOk) return std::string("-");
             const Item expected{seen->kind, seen->value.data(), seen->value.size()};
             std::string actual;
             const Status status = dict.compare_exchange(me, text(key), expected, text(value), &actual);
             return fmt::format("{} {}", word_of(status), brief(actual));
           }}};
}

Operation DictPairs::add(std::string key, bool from_zero) {
  return writer((from_zero ? "add from zero, " : "add, ") + key, [key, from_zero](Dict& in, ThreadContext& me) {
    const shm::Word zero = 0;
    shm::Word before = 0;
    const Status status = in.change_word(
        me, text(key), shm::ItemKind::kInt64, [](shm::Word a, shm::Word b) { return a + b; }, 5,
        from_zero ? &zero : nullptr, &before);
    return word_of(status) + std::to_string(before);
  });
}

Operation DictPairs::erase(std::string key) {
  return writer("erase of " + key, [key](Dict& in, ThreadContext& me) {
    std::string before;
    const Status status = in.erase(me, text(key), &before);
    return result_of(status, before);
  });
}

Operation DictPairs::erase_if_equal(std::string key, std::int64_t expected) {
  return writer("erase if equal, " + key, [key, expected](Dict& in, ThreadContext& me) {
    const Item wanted = integer(expected);
    return word_of(in.erase(me, text(key), nullptr, &wanted));
  });
}

// ---- several

Operation DictPairs::put_many(Entries entries, bool staged) {
  return writer(staged ? "put of a large batch" : "put of many", [entries, staged](Dict& in, ThreadContext& me) {
    return as_batch(staged, [&] { return in.put_many(me, pairs_of(entries)); });
  });
}

Operation DictPairs::assign(Entries entries, bool staged) {
  return writer(staged ? "assign of a large batch" : "assign", [entries, staged](Dict& in, ThreadContext& me) {
    return as_batch(staged, [&] { return in.assign(me, pairs_of(entries)); });
  });
}

Operation DictPairs::pop_last() {
  return writer("pop of the last", [](Dict& in, ThreadContext& me) {
    shm::DictOrderCache cache;
    return popped_from(in, me, cache);
  });
}

Operation DictPairs::pop_twice() {
  const auto cache = std::make_shared<shm::DictOrderCache>();
  const Call pop = [this, cache](ThreadContext& me) { return popped_from(dict, me, *cache); };
  return {"pop of the last two", {pop, pop}};
}

Operation DictPairs::pop_last_if_equal() {
  struct Seen {
    Status status = Status::kOk;
    shm::DictOrderCache cache;
    shm::DictEntryCopy last;
  };
  const auto seen = std::make_shared<Seen>();
  return {"look at the last, then pop it",
          {[this, seen](ThreadContext& me) {
             const shm::DictEntryCopy nothing;
             seen->status = dict.pop_last(me, seen->cache, seen->last, &nothing);
             return fmt::format("{} {}", word_of(seen->status), seen->last.key());
           },
           [this, seen](ThreadContext& me) {
             if (seen->status != Status::kMismatch) return std::string("-");
             shm::DictEntryCopy popped;
             const Status status = dict.pop_last(me, seen->cache, popped, &seen->last);
             return fmt::format("{} {}", word_of(status), popped.key());
           }}};
}

Operation DictPairs::clear() {
  return writer("clear", [](Dict& in, ThreadContext& me) { return word_of(in.clear(me)); });
}

// What it found to move is not compared: others leave more holes, or fewer.
Operation DictPairs::compact() {
  return writer("compact", [](Dict& in, ThreadContext& me) {
    (void)in.compact(me);
    return std::string("compacted");
  });
}

Operation DictPairs::give_idle_memory() {
  return writer("give idle memory", [](Dict& in, ThreadContext& me) {
    in.give_idle_memory(me);
    return std::string("given");
  });
}

std::vector<Operation> DictPairs::readers(const std::string& present, const std::string& absent) {
  return {get(present), get(absent), get_fixed(present), contains(absent), size(), get_many({present, absent}),
          snapshot(),   pin(present)};
}

std::vector<Operation> DictPairs::writers(const std::string& present, const std::string& absent) {
  return {put(absent, "new"),
          put(present, "larger"),
          put_number(present),
          add(present, false),
          erase(present),
          put_many({{present, "many"}, {absent, ""}, {"third", "many"}}),
          assign({{absent, "assigned"}, {"third", ""}}),
          pop_last(),
          clear()};
}

}  // namespace commonhold::test
