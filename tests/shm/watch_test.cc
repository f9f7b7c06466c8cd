// Waiting for changes: each is seen, none of another key is, and no wake-up is lost.
#include "shm/watch.h"

#include <signal.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "shm/dict.h"
#include "shm/dict_table.h"
#include "shm/list.h"
#include "shm/recovery.h"
#include "shm/sleep_notice.h"
#include "shm/value.h"
#include "support/process_shared.h"
#include "support/test_segment.h"
#include "support/watching.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;
using shm::Deadline;
using shm::Status;
using shm::Watcher;

namespace {

struct Stage {
  TestSegment segment;
  shm::ObjectAddress dict_at = segment.make_dict();
  shm::ObjectAddress list_at = segment.make({shm::ObjectKind::kList, "", "list<text>", {1}});
  shm::ObjectAddress word_at = segment.make({shm::ObjectKind::kValue, "", "value<int64>", {8, 7}});
  shm::ObjectAddress large_at = segment.make({shm::ObjectKind::kValue, "", "value<struct>", {40}});
  shm::Dict dict{dict_at};
  shm::List list{list_at};
  shm::Value word{word_at}, large{large_at};
  Status status = Status::kOk;

  std::unique_ptr<Watcher> watch_key(std::string_view key) {
    return shm::watch_dict_key(segment.me(), dict_at, text(key), status);
  }
};

}  // namespace

TEST_CASE("a watched key tells every kind of change, and none of another key") {
  Stage stage;
  auto& me = stage.segment.me();
  auto& dict = stage.dict;
  const std::int64_t one = 1, two = 2;
  auto watcher = stage.watch_key("k");
  auto other = stage.watch_key("another");
  auto all = shm::watch_dict(me, stage.dict_at, stage.status);
  shm::DictOrderCache cache;
  shm::DictEntryCopy popped;
  std::vector<shm::DictPair> pairs{{text("k"), integer(one)}, {text("x"), integer(two)}};
  std::vector<std::function<Status()>> changes{
      [&] { return dict.put(me, text("k"), integer(one)); },
      [&] { return dict.put(me, text("k"), integer(two)); },
      [&] { return dict.put(me, text("k"), text("words")); },
      [&] { return dict.compare_exchange(me, text("k"), text("words"), text("other words")); },
      [&] { return dict.put(me, text("k"), text("w"), shm::PutMode::kReplaceOnly); },
      [&] { return dict.erase(me, text("k")); },
      [&] { return dict.put(me, text("k"), integer(one), shm::PutMode::kInsertOnly); },
      [&] {
        auto add = [](shm::Word before, shm::Word operand) { return before + operand; };
        return dict.change_word(me, text("k"), shm::ItemKind::kInt64, add, 3, nullptr, nullptr);
      },
      [&] { return dict.put_many(me, pairs); },
      [&] { return dict.clear(me); },
      [&] { return dict.put(me, text("k"), integer(one)); },
      [&] { return dict.pop_last(me, cache, popped); },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    INFO("change " << i);
    REQUIRE_FALSE(changed(stage.segment, *watcher));
    require_ok(changes[i]());
    REQUIRE(changed(stage.segment, *watcher));
    REQUIRE(changed(stage.segment, *all));
    if (i != 9) REQUIRE_FALSE(changed(stage.segment, *other));  // clear changes all
    if (i == 9) REQUIRE(changed(stage.segment, *other));
  }
  require_ok(dict.assign(me, pairs));
  REQUIRE(changed(stage.segment, *watcher));
  REQUIRE(changed(stage.segment, *other));
  // What failed or only looked is no change.
  (void)changed(stage.segment, *all);
  REQUIRE(dict.put(me, text("k"), integer(one), shm::PutMode::kInsertOnly) == Status::kExists);
  REQUIRE(dict.erase(me, text("absent")) == Status::kNotFound);
  REQUIRE(dict.contains(text("k")));
  REQUIRE_FALSE(changed(stage.segment, *watcher));
  REQUIRE_FALSE(changed(stage.segment, *all));
}

TEST_CASE("many changes of other keys hide nothing and wake nobody") {
  Stage stage;
  auto& me = stage.segment.me();
  auto watcher = stage.watch_key("k");
  auto all = shm::watch_dict(me, stage.dict_at, stage.status);
  int needless = 0;
  for (std::int64_t i = 0; i < 5000; ++i) {
    require_ok(stage.dict.put(me, text(fmt::format("key {}", i)), integer(i)));
    REQUIRE(changed(stage.segment, *all));
    needless += changed(stage.segment, *watcher);
  }
  REQUIRE(needless == 0);
  require_ok(stage.dict.put(me, text("k"), text("v")));
  for (std::int64_t i = 0; i < 50; ++i) require_ok(stage.dict.put(me, text(fmt::format("key {}", i)), integer(i)));
  REQUIRE(changed(stage.segment, *watcher));
}

TEST_CASE("watched keys that share a flag hide none of each other's changes") {
  Stage stage;
  auto& me = stage.segment.me();
  auto where = stage.segment.make_dict(1);  // one shard: 300 keys on 63 flags
  shm::Dict dict(where);
  std::vector<std::unique_ptr<Watcher>> watchers;
  for (int i = 0; i < 300; ++i) {
    watchers.push_back(shm::watch_dict_key(me, where, text(fmt::format("key {}", i)), stage.status));
  }
  auto all = shm::watch_dict(me, where, stage.status);
  std::mt19937_64 random(Catch::rngSeed());
  for (std::int64_t round = 0; round < 300; ++round) {
    std::vector<std::size_t> due;
    for (std::uint64_t count = 1 + random() % 8; count != 0; --count) {
      due.push_back(random() % watchers.size());
      require_ok(dict.put(me, text(fmt::format("key {}", due.back())), integer(round)));
      std::size_t other = random() % watchers.size();  // looks in between, as they come
      if (random() % 4 == 0 && std::find(due.begin(), due.end(), other) == due.end()) {
        (void)changed(stage.segment, *watchers[other]);
      }
    }
    std::sort(due.begin(), due.end());
    due.erase(std::unique(due.begin(), due.end()), due.end());
    for (std::size_t i : due) REQUIRE(changed(stage.segment, *watchers[i]));
    REQUIRE(changed(stage.segment, *all));
    for (auto& watcher : watchers) (void)changed(stage.segment, *watcher);
  }
}

TEST_CASE("a watched list and a watched value tell their changes") {
  Stage stage;
  auto& me = stage.segment.me();
  auto list = shm::watch_list(me, stage.list_at, stage.status);
  std::string out;
  std::vector<std::function<Status()>> changes{
      [&] { return stage.list.push_back(me, text("a")); },
      [&] { return stage.list.push_front(me, text("b")); },
      [&] { return stage.list.set(me, 1, text("c")); },
      [&] { return stage.list.reverse(me); },
      [&] { return stage.list.pop_back(me, out); },
      [&] { return stage.list.insert(me, 0, text("d")); },
      [&] { return stage.list.erase(me, 0); },
      [&] { return stage.list.clear(me); },
  };
  for (auto& change : changes) {
    REQUIRE_FALSE(changed(stage.segment, *list));
    require_ok(change());
    REQUIRE(changed(stage.segment, *list));
  }
  auto word = shm::watch_value(me, stage.word_at, stage.status);
  std::int64_t number = 8;
  REQUIRE_FALSE(changed(stage.segment, *word));
  require_ok(stage.word.store(me, &number));
  number = 7;
  require_ok(stage.word.store(me, &number));  // there and back: changes all the same
  REQUIRE(changed(stage.segment, *word));
  REQUIRE_FALSE(changed(stage.segment, *word));
  auto large = shm::watch_value(me, stage.large_at, stage.status);
  char bytes[40] = "large";
  REQUIRE_FALSE(changed(stage.segment, *large));
  require_ok(stage.large.store(me, bytes));
  REQUIRE(changed(stage.segment, *large));
  REQUIRE_FALSE(changed(stage.segment, *large));
}

TEST_CASE("a wait ends with a change, also one before it, and else when the time passed") {
  Stage stage;
  auto& me = stage.segment.me();
  auto watcher = stage.watch_key("k");
  REQUIRE(shm::wait_for_change(me, *watcher, Deadline::already()) == Status::kTimedOut);
  REQUIRE(shm::wait_for_change(me, *watcher, Deadline::after(20ms)) == Status::kTimedOut);
  require_ok(stage.dict.put(me, text("k"), text("v")));
  require_ok(shm::wait_for_change(me, *watcher, Deadline::never()));
  std::thread writer([&] {
    std::this_thread::sleep_for(5ms);
    require_ok(stage.dict.put(stage.segment.me(), text("k"), text("w")));
  });
  require_ok(shm::wait_for_change(me, *watcher, Deadline::never()));
  writer.join();
}

TEST_CASE("a wait for a change looks no longer than until its deadline, and for the dead between its looks") {
  // One whose looks are held up, as by a lock that is held.
  struct HeldUp final : Watcher {
    HeldUp() { futex_ = &word; }
    Status look(shm::ThreadContext&, bool&, Deadline deadline) override {
      if (deadline.left_ns(std::chrono::nanoseconds(1h).count()) > std::chrono::nanoseconds(longest).count())
        ++too_long;
      return deaths == 3 ? Status::kOk : Status::kTimedOut;
    }
    void look_for_dead(shm::ThreadContext&) override { ++deaths; }
    std::atomic<std::uint32_t> word{0};
    std::chrono::milliseconds longest{shm::kLookTimeout};
    int deaths = 0, too_long = 0;
  };
  TestSegment segment;
  HeldUp long_wait, short_wait;
  short_wait.longest = 20ms;
  short_wait.deaths = 10;
  CHECK(shm::wait_for_change(segment.me(), short_wait, Deadline::after(20ms)) == Status::kTimedOut);
  CHECK(short_wait.deaths > 10);
  CHECK(shm::wait_for_change(segment.me(), long_wait, Deadline::after(100ms)) == Status::kTimedOut);
  CHECK(long_wait.deaths >= 3);
  CHECK(short_wait.too_long == 0);
  CHECK(long_wait.too_long == 0);
}

TEST_CASE("a wait for a change ends while whoever holds the lock is stopped, and finds the change when it is dead") {
  Stage stage;
  auto& me = stage.segment.me();
  auto other = stage.watch_key("other");  // from here on the dict has the shards that it keeps
  auto& shard = shm::dict_shard(*stage.segment->at<shm::DictControl>(stage.dict_at.control), 0);
  std::string key = "k";  // of that shard
  for (auto seed = stage.segment->at<shm::DictControl>(stage.dict_at.control)->seed;
       &shm::dict_shard(*stage.segment->at<shm::DictControl>(stage.dict_at.control),
                        shm::hash_shard(shm::hash_key(text(key), seed), shm::kDefaultShards)) != &shard;) {
    key += 'k';
  }
  struct Kind {
    std::string name;
    std::unique_ptr<Watcher> watcher;
    shm::LockWord& lock;
  };
  std::vector<Kind> kinds;
  kinds.push_back({"key", stage.watch_key(key), shard.writing});
  kinds.push_back({"dict", shm::watch_dict(me, stage.dict_at, stage.status), shard.writing});
  kinds.push_back({"list", shm::watch_list(me, stage.list_at, stage.status),
                   stage.segment->at<shm::ListControl>(stage.list_at.control)->writing});
  for (auto& [name, watcher, lock] : kinds) {
    INFO(name);
    require_ok(stage.dict.put(me, text(key), text("changed")));  // else a watcher of the whole dict needs no lock
    require_ok(stage.list.push_back(me, text("changed")));
    REQUIRE(changed(stage.segment, *watcher));
    require_ok(stage.dict.put(me, text(key), text("again")));
    require_ok(stage.list.push_back(me, text("again")));
    REQUIRE(changed(stage.segment, *watcher));
    const pid_t holder = spawn([&, &lock = lock] {
      if (shm::lock(stage.segment.me(), lock) == Status::kOk) kill(getpid(), SIGSTOP);
    });
    while (lock.state == 0) usleep(100);
    REQUIRE(shm::wait_for_change(me, *watcher, Deadline::after(20ms)) == Status::kTimedOut);
    kill(holder, SIGKILL);
    (void)wait_for(holder);
    // There is no server, and nobody else who waits.
    REQUIRE(shm::wait_for_change(me, *watcher, Deadline::after(10s)) == Status::kOk);
  }
}

TEST_CASE("no change is lost between a watch, its waits and other watchers") {
  shm::set_sleeper_check_for_test(3600'000'000'000);  // nothing but wake-ups
  Stage stage;
  constexpr std::int64_t kTurns = 4000;
  Shared<std::atomic<std::int64_t>> seen[4];
  Shared<std::atomic<bool>> stop;
  auto& me = stage.segment.me();
  std::int64_t zero = 0;
  require_ok(stage.dict.put(me, text("k"), integer(zero)));
  require_ok(stage.word.store(me, &zero));

  // Each follower reads, and waits when it has seen what it read before; the writer waits for all of them.
  auto follow = [&](int which, std::uint64_t seed) {
    auto& own = stage.segment.me();
    Status status = Status::kOk;
    auto watcher = which == 0   ? shm::watch_dict_key(own, stage.dict_at, text("k"), status)
                   : which == 1 ? shm::watch_dict(own, stage.dict_at, status)
                   : which == 2 ? shm::watch_list(own, stage.list_at, status)
                                : shm::watch_value(own, stage.word_at, status);
    std::mt19937_64 random(seed);
    for (std::int64_t last = 0; last < kTurns;) {
      std::int64_t now = 0;
      if (which < 2) require_ok(stage.dict.get_fixed(text("k"), &now, 8));
      if (which == 2) now = static_cast<std::int64_t>(stage.list.size());
      if (which == 3) require_ok(stage.word.load(own, &now));
      if (now != last) {
        last = now;
        seen[which]->store(now);
        if (random() % 2 == 0) continue;
      }
      if (last < kTurns) require_ok(shm::wait_for_change(own, *watcher, Deadline::never()));
    }
  };
  std::uint64_t seed = Catch::rngSeed();
  std::vector<pid_t> processes;
  std::vector<std::thread> threads;
  for (int which = 0; which < 4; ++which) {
    if (which % 2 == 0) {
      processes.push_back(spawn([&, which] {
        follow(which, seed + static_cast<std::uint64_t>(which));
        stage.segment->leave();
      }));
    } else {
      threads.emplace_back(follow, which, seed + static_cast<std::uint64_t>(which));
    }
  }
  pid_t noise = spawn([&] {
    auto& own = stage.segment.me();
    auto watcher = shm::watch_dict_key(own, stage.dict_at, text("noise 5"), stage.status);
    for (std::int64_t i = 0; !stop->load(); ++i) {
      require_ok(stage.dict.put(own, text(fmt::format("noise {}", i % 50)), integer(i)));
      (void)changed(stage.segment, *watcher);
      if (i % 16 == 0) std::this_thread::sleep_for(20us);
    }
    stage.segment->leave();
  });
  std::mt19937_64 random(seed + 99);
  for (std::int64_t turn = 1; turn <= kTurns; ++turn) {
    require_ok(stage.dict.put(me, text("k"), integer(turn)));
    require_ok(stage.list.push_back(me, text("x")));
    require_ok(stage.word.store(me, &turn));
    // Now and then a follower falls behind.
    if (random() % 4 == 0) continue;
    for (auto& follower : seen) {
      auto end = std::chrono::steady_clock::now() + 30s;
      while (follower->load() < turn) {
        if (std::chrono::steady_clock::now() > end) FAIL("a change was lost, turn " << turn);
        std::this_thread::yield();
      }
    }
  }
  for (auto& thread : threads) thread.join();
  for (pid_t process : processes) REQUIRE(wait_for(process) == 0);
  stop->store(true);
  REQUIRE(wait_for(noise) == 0);
  shm::set_sleeper_check_for_test(100'000'000);
}

TEST_CASE("watchers that were killed cost writers one needless look, and leave nothing") {
  Stage stage;
  auto& me = stage.segment.me();
  pid_t child = spawn([&] {
    auto watcher = stage.watch_key("k");
    auto all = shm::watch_dict(stage.segment.me(), stage.dict_at, stage.status);
    auto list = shm::watch_list(stage.segment.me(), stage.list_at, stage.status);
    kill(getpid(), SIGKILL);
  });
  REQUIRE(wait_for(child) == -SIGKILL);
  REQUIRE(shm::recover_all_dead(*stage.segment, me) == 1);
  auto* control = stage.segment->at<shm::ListControl>(stage.list_at.control);
  REQUIRE(control->watched == 1);
  require_ok(stage.list.push_back(me, text("a")));
  REQUIRE(control->watched == 0);
  std::uint32_t notes = control->notes;
  for (int i = 0; i < 10; ++i) require_ok(stage.list.push_back(me, text("a")));
  REQUIRE(control->notes == notes);
  auto other = stage.watch_key("other");
  for (int i = 0; i < 200; ++i) require_ok(stage.dict.put(me, text(fmt::format("k{}", i)), text("v")));
  REQUIRE_FALSE(changed(stage.segment, *other));
}
