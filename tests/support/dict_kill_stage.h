// A dict for kill tests: what must be true of it after a death, wherever the death was.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "shm/dict.h"
#include "shm/words.h"
#include "support/fixed_seed.h"
#include "support/kill_stage.h"

namespace commonhold::test {

struct DictCase {
  std::string name;
  std::uint64_t shards = 1;  // 0: one, and more when it is crowded
  std::function<void(shm::Dict& dict, shm::ThreadContext& me)> setup;
  std::function<void(shm::Dict& dict, shm::ThreadContext& me)> op;
  bool changes = true;         // the op must change what the dict holds
  std::uint64_t extents = 24;  // backed by memory; 16 of them committed
  bool renews = false;         // keys that are there before and after get new places in the order
  // Leaves that many free extents, so that the op commits more.
  std::optional<std::uint64_t> free_extents = {};
  std::uint32_t waits = 0;  // of writers, before the op
  std::uint64_t memory_limit = 64u << 20;
};

class DictKillStage {
 public:
  // Makes the dict, sets it up, and does the op once to learn the state after it.
  explicit DictKillStage(const DictCase& dict_case);

  // After the death and the recovery: says what is wrong, "" when nothing is. Kill points must rise from call to call:
  // what took effect once does so at every later kill.
  std::string check();
  // Whether the op had taken effect at the last check().
  bool took_effect() const { return took_effect_; }

  // Every instruction, with checks; prints a line.
  test::KillReport kill_everywhere();

  test::KillPlan plan() {
    return stage.plan(case_.name, [this](shm::ThreadContext& me) { case_.op(*dict, me); });
  }

  KillStage stage;
  shm::ObjectAddress where;
  std::optional<shm::Dict> dict;

 private:
  using State = std::vector<shm::DictEntryCopy>;
  std::string look(State& state) const;
  std::string check_readers(const State& state) const;
  std::string check_next_operation();

  DictCase case_;
  State before_, after_;
  bool took_effect_ = false;
};

inline std::string key_number(std::size_t i) {
  return "key/" + std::to_string(i);
}

// Puts keys `from` to `to` - 1 with small integers.
void fill(shm::Dict& dict, shm::ThreadContext& me, std::size_t from, std::size_t to);

// How a dict of one shard that is filled by fill() looks before the key whose insertion does something.
struct DictShape {
  shm::Word root = 0;
  std::vector<shm::Word> directory;
  std::uint64_t bytes = 0;
  std::size_t tables() const;
};
std::size_t keys_before(const std::function<bool(const DictShape& before, const DictShape& after)>& happens);

}  // namespace commonhold::test
