// A SIGKILL at every instruction of a watched change, of watching, and of waiting.
#include "shm/watch.h"

#include <poll.h>
#include <sys/prctl.h>

#include "shm/any_queue.h"
#include "shm/array.h"
#include "shm/dict.h"
#include "shm/gate.h"
#include "shm/list.h"
#include "shm/references.h"
#include "shm/sleep_notice.h"
#include "shm/value.h"
#include "support/process_shared.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;
using shm::Watcher;

namespace {

void ignore(Status) {}

struct Stage : KillStage {
  Stage() : KillStage(24) {
    auto& own = me();
    std::int64_t one = 1;
    REQUIRE(dict.put(own, text("k"), integer(one)) == Status::kOk);
    REQUIRE(dict.put(own, text("t"), text("a text of some length")) == Status::kOk);
    REQUIRE(list.push_back(own, text("a")) == Status::kOk);
    for (auto* queue : {&ring, &full, &lifo, &safe}) put(*queue, own, "first");
    save();
  }
  shm::ObjectAddress dict_at = segment.make_dict(2);
  shm::ObjectAddress list_at = segment.make({shm::ObjectKind::kList, "", "list<text>", {1}});
  shm::ObjectAddress word_at = segment.make({shm::ObjectKind::kValue, "", "value<int64>", {8, 7}});
  shm::ObjectAddress large_at = segment.make({shm::ObjectKind::kValue, "", "value<struct>", {40}});
  shm::ObjectAddress array_at = segment.make({shm::ObjectKind::kArray, "", "array<int64>", {20, 8}});
  // The public kinds of queues, by bytes of items, limit, order, redelivery.
  shm::ObjectAddress ring_at = segment.make({shm::ObjectKind::kQueue, "", "queue<text>", {0}});
  shm::ObjectAddress full_at = segment.make({shm::ObjectKind::kQueue, "", "queue<text>", {0, 1}});
  shm::ObjectAddress lifo_at = segment.make({shm::ObjectKind::kQueue, "", "lifo_queue<text>", {0, 0, 2}});
  shm::ObjectAddress safe_at = segment.make({shm::ObjectKind::kQueue, "", "queue<text>", {0, 0, 0, 1}});
  shm::AnyQueue ring{ring_at}, full{full_at}, lifo{lifo_at}, safe{safe_at};
  shm::Array array{array_at};
  shm::Dict dict{dict_at};
  shm::List list{list_at};
  shm::Value word{word_at}, large{large_at};

  static void put(const shm::AnyQueue& queue, shm::ThreadContext& me, std::string_view item) {
    ignore(queue.is_ring() ? queue.ring().put(me, text(item), shm::Deadline::already())
                           : queue.ordered().put(me, text(item), 0, shm::Deadline::already()));
  }
  static void get(const shm::AnyQueue& queue, shm::ThreadContext& me) {
    std::string item;
    ignore(queue.is_ring() ? queue.ring().get(me, item, shm::Deadline::already())
                           : queue.ordered().get(me, item, nullptr, shm::Deadline::already()));
  }
  std::unique_ptr<Watcher> watch_queue(const shm::ObjectAddress& queue, shm::QueueSide side) {
    Status status = Status::kOk;
    return shm::watch_queue(me(), queue, side, status);
  }
  // As every process does that has a proxy of it.
  void refer_to(const shm::ObjectAddress& object) {
    shm::ObjectInfo info;
    ignore(shm::object_info(*segment, object.object, info));
    ignore(shm::add_reference(*segment, info.id));
  }

  // All that the watchers look at, as text.
  std::string contents(const std::string& what) {
    if (what == "array") {
      std::string bytes(20 * 8, '\0');
      ignore(array.read(me(), 0, 20, bytes.data()));
      return bytes;
    }
    for (auto [name, queue] : {std::pair{"ring", &ring}, {"full", &full}, {"lifo", &lifo}, {"safe", &safe}}) {
      if (what != name) continue;
      std::string all;
      for (auto& item : queue->visit([](auto& found) { return found.items_for_test(); })) all += item + "|";
      return all;
    }
    if (what == "value") {
      char bytes[48] = {};
      ignore(word.load(me(), bytes));
      ignore(large.load(me(), bytes + 8));
      return std::string(bytes, sizeof bytes);
    }
    std::string all;
    if (what == "list") {
      std::vector<std::string> values;
      ignore(list.snapshot(me(), 0, 1000, values));
      for (auto& value : values) all += value + "|";
      return all;
    }
    std::vector<shm::DictEntryCopy> entries;
    ignore(dict.snapshot(me(), entries));
    for (auto& entry : entries) all += entry.bytes + "|";
    return all;
  }
};

}  // namespace

TEST_CASE("a change that happened is told, wherever the one who made it was killed", "[kill]") {
  Stage stage;
  Status status = Status::kOk;
  const std::int64_t two = 2;
  char bytes[40] = "large";
  std::vector<shm::DictPair> pairs{{text("k"), integer(two)}, {text("new"), text("x")}};
  auto key = [&](const char* name) {
    return [&stage, &status, name] { return shm::watch_dict_key(stage.me(), stage.dict_at, text(name), status); };
  };
  auto whole = [&] { return shm::watch_dict(stage.me(), stage.dict_at, status); };
  using Side = shm::QueueSide;
  auto array = [&] { return shm::watch_array(stage.me(), stage.array_at, status); };
  auto queue = [&](const shm::ObjectAddress& where, Side side) {
    return [&stage, &where, side] { return stage.watch_queue(where, side); };
  };
  struct Case {
    const char* name;
    const char* what;
    std::function<std::unique_ptr<Watcher>()> watch;
    std::function<void(shm::ThreadContext&)> op;
  };
  std::vector<Case> cases{
      {"overwrite a word", "dict", key("k"), [&](auto& me) { ignore(stage.dict.put(me, text("k"), integer(two))); }},
      {"overwrite a text", "dict", key("t"), [&](auto& me) { ignore(stage.dict.put(me, text("t"), text("b"))); }},
      {"insert, whole dict watched", "dict", whole,
       [&](auto& me) { ignore(stage.dict.put(me, text("n"), text("b"))); }},
      {"erase", "dict", key("t"), [&](auto& me) { ignore(stage.dict.erase(me, text("t"))); }},
      {"put_many", "dict", key("k"), [&](auto& me) { ignore(stage.dict.put_many(me, pairs)); }},
      {"clear", "dict", key("t"), [&](auto& me) { ignore(stage.dict.clear(me)); }},
      {"push_back", "list", [&] { return shm::watch_list(stage.me(), stage.list_at, status); },
       [&](auto& me) { ignore(stage.list.push_back(me, text("b"))); }},
      {"set", "list", [&] { return shm::watch_list(stage.me(), stage.list_at, status); },
       [&](auto& me) { ignore(stage.list.set(me, 0, text("b"))); }},
      {"store a word", "value", [&] { return shm::watch_value(stage.me(), stage.word_at, status); },
       [&](auto& me) { ignore(stage.word.store(me, &two)); }},
      {"store a large value", "value", [&] { return shm::watch_value(stage.me(), stage.large_at, status); },
       [&](auto& me) { ignore(stage.large.store(me, bytes)); }},
      {"store an element", "array", array, [&](auto& me) { ignore(stage.array.store(me, 3, &two)); }},
      {"write a slice", "array", array, [&](auto& me) { ignore(stage.array.write(me, 3, 5, bytes)); }},
      {"fill", "array", array, [&](auto& me) { ignore(stage.array.fill(me, 0, 20, &two)); }},
      {"put", "ring", queue(stage.ring_at, Side::kItems), [&](auto& me) { stage.put(stage.ring, me, "new"); }},
      {"get", "ring", queue(stage.ring_at, Side::kBoth), [&](auto& me) { stage.get(stage.ring, me); }},
      {"get from a full queue", "full", queue(stage.full_at, Side::kRoom),
       [&](auto& me) { stage.get(stage.full, me); }},
      {"put on a stack", "lifo", queue(stage.lifo_at, Side::kItems),
       [&](auto& me) { stage.put(stage.lifo, me, "new"); }},
      {"get from a stack", "lifo", queue(stage.lifo_at, Side::kRoom), [&](auto& me) { stage.get(stage.lifo, me); }},
      {"get with redelivery", "safe", queue(stage.safe_at, Side::kRoom), [&](auto& me) { stage.get(stage.safe, me); }},
  };
  for (Case& one : cases) {
    stage.restore();
    std::string before = stage.contents(one.what);
    std::unique_ptr<Watcher> watcher;
    int told = 0, untold = 0;
    KillPlan plan = stage.plan(one.name, one.op);
    plan.sample = 500;
    plan.prepare = [&] {
      stage.restore();
      watcher = one.watch();
    };
    plan.enter = [&stage, join = plan.enter] {
      join();
      stage.refer_to(stage.array_at);
    };
    plan.verify = [&](pid_t, std::size_t) -> std::string {
      if (shm::recover_all_dead(*stage.segment, stage.me()) != 1) return "no death was found";
      bool changed = false;
      ignore(watcher->look(stage.me(), changed));
      ++(changed ? told : untold);
      if (stage.contents(one.what) != before && !changed) return "a change was not told";
      ignore(watcher->look(stage.me(), changed));
      if (changed) return "it is told twice";
      // The next change is told as well.
      std::int64_t three = 3;
      char later[40] = "later";
      ignore(stage.dict.put(stage.me(), text("k"), integer(three)));
      ignore(stage.dict.put(stage.me(), text("t"), text("c")));
      ignore(stage.list.push_back(stage.me(), text("c")));
      ignore(stage.word.store(stage.me(), &three));
      ignore(stage.large.store(stage.me(), later));
      ignore(stage.array.store(stage.me(), 5, &three));
      for (auto* each : {&stage.ring, &stage.full, &stage.lifo, &stage.safe}) {
        stage.get(*each, stage.me());
        stage.put(*each, stage.me(), "later");
        stage.get(*each, stage.me());
      }
      ignore(watcher->look(stage.me(), changed));
      return changed ? "" : "the next change is not told";
    };
    expect_clean(run_kill_plan(plan));
    CHECK(told > 0);
    // Killed before it changed anything. Every death is told to those who watch an array that the dead one used.
    CHECK((untold > 0 || one.what == std::string("array")));
    stage.restore();
  }
}

TEST_CASE("a watcher killed anywhere leaves structures that others watch and change", "[kill]") {
  Stage stage;
  Status status = Status::kOk;
  for (int which = 0; which < 7; ++which) {
    auto watch = [&](shm::ThreadContext& me) {
      if (which == 4) return shm::watch_array(me, stage.array_at, status);
      if (which == 5) return shm::watch_queue(me, stage.ring_at, shm::QueueSide::kBoth, status);
      if (which == 6) return shm::watch_queue(me, stage.safe_at, shm::QueueSide::kItems, status);
      return which == 0   ? shm::watch_dict_key(me, stage.dict_at, text("k"), status)
             : which == 1 ? shm::watch_dict(me, stage.dict_at, status)
             : which == 2 ? shm::watch_list(me, stage.list_at, status)
                          : shm::watch_value(me, stage.word_at, status);
    };
    KillPlan plan = stage.plan("watch, wait, number " + std::to_string(which), [&](shm::ThreadContext& me) {
      auto watcher = watch(me);
      if (watcher != nullptr) ignore(shm::wait_for_change(me, *watcher, shm::Deadline::already()));
    });
    plan.verify = [&](pid_t, std::size_t) -> std::string {
      if (std::string wrong = stage.recover(); !wrong.empty()) return wrong;
      auto watcher = watch(stage.me());
      std::int64_t two = 2;
      ignore(stage.dict.put(stage.me(), text("k"), integer(two)));
      ignore(stage.list.push_back(stage.me(), text("b")));
      ignore(stage.word.store(stage.me(), &two));
      ignore(stage.array.store(stage.me(), 5, &two));
      stage.put(stage.ring, stage.me(), "b");
      stage.put(stage.safe, stage.me(), "b");
      bool changed = false;
      ignore(watcher->look(stage.me(), changed));
      if (!changed) return "a change is not told";
      if (auto wrong = stage.dict.audit(stage.me()).error; !wrong.empty()) return wrong;
      return stage.list.audit(stage.me()).error;
    };
    expect_clean(run_kill_plan(plan));
  }
}

TEST_CASE("who sleeps for a change is woken, wherever the one who made it is killed", "[kill]") {
  Stage stage;
  shm::set_sleeper_check_for_test(3600'000'000'000);  // nothing but a wake-up helps
  shm::set_longest_sleep_for_test(3600'000'000'000);
  Status status = Status::kOk;
  pid_t waiter = 0;
  Shared<std::atomic<pid_t>> waiting;
  const std::int64_t two = 2;
  auto end_waiter = [&] {
    if (waiter == 0) return;
    kill(waiter, SIGKILL);
    (void)wait_for(std::exchange(waiter, 0));
  };
  for (std::string kind : {"dict", "value", "waited value", "array", "ring", "lifo"}) {
    const std::string what = kind == "waited value" ? "value" : kind;
    stage.restore();
    std::string before = stage.contents(what);
    KillPlan plan = stage.plan("a watched change of a " + kind + " with a watcher asleep", [&](shm::ThreadContext& me) {
      if (what == "dict") ignore(stage.dict.put(me, text("k"), integer(two)));
      if (what == "value") ignore(stage.word.store(me, &two));
      if (what == "array") ignore(stage.array.store(me, 3, &two));
      if (what == "ring") stage.put(stage.ring, me, "new");
      if (what == "lifo") stage.get(stage.lifo, me);
    });
    plan.prepare = [&] {
      end_waiter();
      stage.restore();
      waiting->store(0);
      waiter = spawn([&] {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(20);
        auto& me = stage.me();
        if (kind == "waited value") {
          std::int64_t seen = 0;
          if (stage.word.load(me, &seen) != Status::kOk) throw std::runtime_error("no");
          waiting->store(getpid());
          if (stage.word.wait_change(me, &seen, shm::Deadline::never()) != Status::kOk) throw std::runtime_error("no");
          return stage.segment->leave();
        }
        auto watcher = what == "dict"    ? shm::watch_dict_key(me, stage.dict_at, text("k"), status)
                       : what == "value" ? shm::watch_value(me, stage.word_at, status)
                       : what == "array" ? shm::watch_array(me, stage.array_at, status)
                       : what == "ring"  ? shm::watch_queue(me, stage.ring_at, shm::QueueSide::kItems, status)
                                         : shm::watch_queue(me, stage.lifo_at, shm::QueueSide::kRoom, status);
        waiting->store(getpid());
        if (shm::wait_for_change(me, *watcher, shm::Deadline::never()) != Status::kOk) throw std::runtime_error("no");
        stage.segment->leave();
      });
    };
    plan.enter = [&, join = plan.enter] {
      while (waiting->load() == 0) poll(nullptr, 0, 1);
      join();
      stage.refer_to(stage.array_at);
      for (int seen = 0; seen < 2; poll(nullptr, 0, 1)) seen = is_asleep(waiting->load()) ? seen + 1 : 0;
    };
    plan.verify = [&](pid_t, std::size_t) -> std::string {
      (void)shm::recover_all_dead(*stage.segment, stage.me());
      if (stage.contents(what) == before) {
        end_waiter();  // nothing to tell
        (void)shm::recover_all_dead(*stage.segment, stage.me());
        return stage.leftovers();
      }
      if (int ended = wait_for(std::exchange(waiter, 0)); ended != 0) return "the watcher was not woken";
      return stage.recover(0, 0);
    };
    expect_clean(run_kill_plan(plan));
    end_waiter();
  }
  shm::set_sleeper_check_for_test(100'000'000);
  shm::set_longest_sleep_for_test(1'000'000'000);
}
