#include "support/dict_kill_stage.h"

#include <fmt/format.h>

#include <set>

#include "shm/dict_table.h"

namespace commonhold::test {

using shm::Status;

namespace {

shm::DictControl& control_of(const shm::ObjectAddress& where) {
  return *where.segment->at<shm::DictControl>(where.control);
}

void require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

bool equal(const std::vector<shm::DictEntryCopy>& a, const std::vector<shm::DictEntryCopy>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](auto& x, auto& y) {
    return x.sequence == y.sequence && x.key_kind == y.key_kind && x.value_kind == y.value_kind &&
           x.key_size == y.key_size && x.bytes == y.bytes;
  });
}

}  // namespace

void fill(shm::Dict& dict, shm::ThreadContext& me, std::size_t from, std::size_t to) {
  for (std::size_t i = from; i < to; ++i) {
    std::string key = key_number(i);
    auto value = static_cast<std::int64_t>(i);
    require(dict.put(me, text(key), integer(value)) == Status::kOk, "cannot put " + key);
  }
}

std::size_t DictShape::tables() const {
  std::set<shm::Offset> tables;
  for (shm::Word entry : directory) tables.insert(shm::entry_table(entry));
  return tables.size();
}

std::size_t keys_before(const std::function<bool(const DictShape&, const DictShape&)>& happens) {
  TestSegment segment(64u << 20);
  auto where = segment.make_dict(1);
  fix_seed(where);
  shm::Dict dict(where);
  auto shape = [&] {
    DictShape shape;
    shape.root = shm::dict_shard(control_of(where), 0).root.load();
    shape.bytes = shm::bytes_owned_by(*segment, where.object);
    if (shm::root_is_directory(shape.root)) {
      const auto* entries = segment->at<shm::Word>(shm::root_offset(shape.root));
      shape.directory.assign(entries, entries + (std::size_t{1} << shm::root_depth(shape.root)));
    }
    return shape;
  };
  DictShape before = shape();
  for (std::size_t i = 0; i < 20'000; ++i) {
    fill(dict, segment.me(), i, i + 1);
    DictShape after = shape();
    if (happens(before, after)) return i;
    before = std::move(after);
  }
  throw std::runtime_error("no insertion does that");
}

DictKillStage::DictKillStage(const DictCase& dict_case)
    : stage(dict_case.extents, 16, dict_case.memory_limit),
      where(stage.segment.make_dict(dict_case.shards)),
      case_(dict_case) {
  fix_seed(where);
  dict.emplace(where);
  auto& me = stage.me();
  if (case_.setup) case_.setup(*dict, me);
  if (case_.free_extents.has_value()) {
    auto ballast = stage.segment.make_dict(1);
    std::uint64_t free = stage.segment->header().free_extents.load();
    shm::Offset found;
    require(take_chunk(me, shm::ChunkOwner(ballast.object, shm::kControlArena),
                       (free - *case_.free_extents) * shm::kExtent, found) == Status::kOk,
            "cannot fill the segment");
  }
  control_of(where).waits = case_.waits;
  stage.save();
  require(look(before_).empty(), look(before_));
  case_.op(*dict, me);
  require(look(after_).empty(), look(after_));
  require(equal(before_, after_) != case_.changes, "the operation does not do what it is meant to");
  for (auto& old : before_) {
    for (auto& now : after_) {
      require(case_.renews || old.key() != now.key() || old.sequence == now.sequence, "the insertion order is lost");
    }
  }
  stage.restore();
}

std::string DictKillStage::look(State& state) const {
  std::uint32_t locked = 0;  // the rest would wait for it
  shm::Dict::each_lock(where, &locked, [](void* found, shm::LockWord& word) {
    if (word.state.load() != 0) *static_cast<std::uint32_t*>(found) = word.state.load();
  });
  if (locked != 0) return fmt::format("a lock is {:#x}", locked);
  auto audit = dict->audit(stage.me());
  if (!audit.error.empty()) return audit.error;
  if (audit.left_staged != 0) return "entries of a batch were left";
  Status status = dict->snapshot(stage.me(), state);
  return status == Status::kOk ? std::string() : fmt::format("snapshot: {}", to_string(status));
}

std::string DictKillStage::check_readers(const State& state) const {
  if (dict->size() != state.size()) return fmt::format("size() is {} of {}", dict->size(), state.size());
  for (auto& entry : state) {
    std::string value, key(entry.key());
    Status status = dict->get({entry.key_kind, key.data(), key.size()},
                              {&value, [](void* to, shm::ItemKind, std::size_t size) -> void* {
                                 static_cast<std::string*>(to)->resize(size);
                                 return static_cast<std::string*>(to)->data();
                               }});
    if (status != Status::kOk || value != entry.value()) {
      return fmt::format("get of {}: {}, {} bytes", key, to_string(status), value.size());
    }
  }
  return {};
}

// In every shard, and with a new key, a larger value and an erasure.
std::string DictKillStage::check_next_operation() {
  auto& me = stage.me();
  std::set<std::uint64_t> shards;
  std::vector<std::string> keys;
  const std::uint64_t count = dict_shards(control_of(where));
  for (int i = 0; shards.size() < count; ++i) {
    std::string key = fmt::format("next/{}", i);
    if (shards.insert(shm::hash_shard(shm::hash_key(text(key), kFixedSeed), count)).second) keys.push_back(key);
  }
  std::string large(3'000, 'n'), what;
  for (const std::string& key : keys) {
    for (Status status :
         {dict->put(me, text(key), text("small")), dict->put(me, text(key), text(large)), dict->erase(me, text(key))}) {
      if (status != Status::kOk) return fmt::format("the next operation, on {}: {}", key, to_string(status));
    }
  }
  auto audit = dict->audit(me);
  return audit.error.empty() ? what : "after the next operations: " + audit.error;
}

std::string DictKillStage::check() {
  State state;
  if (std::string wrong = look(state); !wrong.empty()) return wrong;
  bool is_before = equal(state, before_), is_after = equal(state, after_);
  if (!is_before && !is_after) {
    return fmt::format("the dict holds {} entries and is neither as before ({}) nor as after ({})", state.size(),
                       before_.size(), after_.size());
  }
  if (case_.changes && !is_after && took_effect_) return "an operation that had taken effect is undone";
  took_effect_ = took_effect_ || is_after;
  if (std::string wrong = check_readers(state); !wrong.empty()) return wrong;
  return check_next_operation();
}

test::KillReport DictKillStage::kill_everywhere() {
  test::KillPlan everywhere = plan();
  everywhere.sample = soaking() ? 20'000 : 300;
  std::size_t last = 0;
  everywhere.verify = [&](pid_t, std::size_t k) {
    last = k;
    std::string wrong = stage.recover();
    return wrong.empty() ? check() : wrong;
  };
  test::KillReport report = run_kill_plan(everywhere);
  if (report.ok() && (last != report.instructions || (case_.changes && !took_effect_))) {
    report.failures.push_back({last, 0, "the operation had ended, and is undone"});
  }
  return report;
}

}  // namespace commonhold::test
