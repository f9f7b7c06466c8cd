#include "support/damage_client.h"

#include <commonhold/commonhold.h>
#include <time.h>

#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <sstream>
#include <utility>
#include <vector>

#include "support/damage_objects.h"

namespace commonhold::test {

namespace {

using namespace std::chrono_literals;
using namespace damaged;
using Call = std::pair<const char*, std::function<void()>>;

std::uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

class Client {
 public:
  Client(Survivor& self, Random& random) : self_(self), random_(random) {}

  void join(const char* name) {
    until_ = now_ns() + 2'000'000'000;
    guarded("connect", [&] { manager_.emplace(Manager::connect(name)); });
    if (!manager_) return;
    open_maps();
    open_sequences();
    open_locks();
    open_queues();
    const Manager m = *manager_;
    add("objects", [m] { (void)m.objects(); });
    add("make and drop", [m, this] {
      auto dict = m.dict<Text, Text>();
      dict.put("a", text());
      // Not kept: where garbage has put a lock into another object's memory, that object waits for it as for its own.
      const Lock lock = m.lock();
      lock.lock();
      lock.unlock();
    });
  }

  void call_some(int milliseconds) {
    const auto until = now_ns() + static_cast<std::uint64_t>(milliseconds) * 1'000'000;
    while (!calls_.empty() && now_ns() < until) {
      const Call& call = calls_[random_() % calls_.size()];
      guarded(call.first, call.second);
    }
  }

  void let_go() {
    guarded("let go", [&] {
      calls_.clear();
      manager_.reset();
    });
  }

 private:
  template <typename Body>
  void guarded(const char* name, Body&& body) {
    self_.begin(name);
    try {
      body();
    } catch (const Error&) {
      self_.refused.fetch_add(1, std::memory_order_relaxed);
    } catch (const std::exception& failure) {
      self_.complain(failure.what());
    }
    self_.calls.fetch_add(1, std::memory_order_relaxed);
    self_.end();
  }
  void add(const char* name, std::function<void()> body) { calls_.emplace_back(name, std::move(body)); }
  template <typename Open, typename Use>
  void open(const char* name, Open&& open, Use&& use) {
    // Where no server answers, each attempt takes as long as one is waited for.
    if (now_ns() < until_) guarded(name, [&] { use(open(*manager_)); });
  }

  std::int64_t number(int below) { return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(below)); }
  Text key() { return "key" + std::to_string(number(150)); }
  Text text() { return Text(static_cast<std::size_t>(number(20) == 0 ? number(9000) : number(200)), 'n'); }

  void open_maps() {
    open(
        "open texts", [](auto& m) { return m.template dict<Text, Text>(named("texts")); },
        [&](auto d) {
          add("dict put", [=, this] { d.put(key(), text()); });
          add("dict get", [=, this] { (void)d.find(key()); });
          add("dict erase", [=, this] { d.erase(key()); });
          add("dict pop", [=, this] { (void)d.try_pop(key()); });
          add("dict popitem", [=] { (void)d.popitem(); });
          add("dict items", [=] { (void)d.items(); });
          add("dict keys", [=] { (void)d.keys(); });
          add("dict size", [=] { (void)d.size(); });
          add("dict get_many", [=, this] { (void)d.get_many(std::vector<Text>{key(), key(), key()}); });
          add("dict put_many", [=, this] { d.put_many(std::map<Text, Text>{{key(), text()}, {key(), text()}}); });
          add("dict update fn", [=, this] { d.update(key(), Text(), [](const Text& t) { return t + "x"; }); });
          add("dict exchange", [=, this] { (void)d.exchange(key(), text()); });
          add("dict compare_exchange", [=, this] {
            Text expected = text();
            (void)d.compare_exchange(key(), expected, text());
          });
          add("dict pin", [=, this] {
            auto pinned = d.pin(key());
            (void)(*pinned).size();
          });
          add("dict clear", [=, this] { number(4) == 0 ? d.clear() : d.put(key(), text()); });
          add("dict assign", [=, this] {
            if (number(4) == 0) d.assign(std::map<Text, Text>{{key(), text()}, {key(), text()}});
          });
          add("dict watch", [=, this] {
            auto watch = d.watch(key());
            (void)watch.wait(1ms);
          });
          add("dict print", [=] { std::ostringstream() << d; });
        });
    open(
        "open numbers", [](auto& m) { return m.template dict<int, std::int64_t>(named("numbers")); },
        [&](auto d) {
          add("dict fetch_add", [=, this] { d.fetch_add(static_cast<int>(number(40)), 1); });
          add("dict number put", [=, this] { d.put(static_cast<int>(number(400)), 1); });
          add("dict number find", [=, this] { (void)d.find(static_cast<int>(number(400))); });
        });
    open(
        "open nested", [](auto& m) { return m.template dict<Text, Nested>(named("nested")); },
        [&](auto d) {
          add("nested put", [=, this] { d.put(key(), Nested(3, {{"a", 1}, {"b", 2}})); });
          add("nested items", [=] { (void)d.items(); });
        });
    open(
        "open lists", [](auto& m) { return m.template dict<Text, List<std::int64_t>>(named("lists")); },
        [&](auto d) {
          add("link read", [=, this] { (void)d.at("list" + std::to_string(number(4))).size(); });
          add("link put", [=, this] {
            auto made = manager_->list<std::int64_t>({1, 2, 3});
            d.put("list" + std::to_string(number(4)), made);
          });
          add("link erase", [=, this] { d.erase("list" + std::to_string(number(4))); });
          add("link items", [=] { (void)d.items(); });
        });
    open(
        "open set", [](auto& m) { return m.template set<Text>(named("set")); },
        [&](auto s) {
          add("set add", [=, this] { s.add(key()); });
          add("set discard", [=, this] { s.discard(key()); });
          add("set items", [=] { (void)s.items(); });
          add("set pop", [=] { (void)s.try_pop(); });
        });
    open(
        "open namespace", [](auto& m) { return m.ns(named("space")); },
        [&](auto n) {
          add("namespace set", [=, this] { n.set(key(), Any::list(1, "two", 3.0)); });
          add("namespace items", [=] { (void)n.items(); });
          add("namespace print", [=, this] { std::ostringstream() << n.at(key()); });
        });
  }

  template <typename T, typename Make>
  void open_list(const char* name, Make make) {
    open(
        name, [=](auto& m) { return m.template list<T>(named(name)); },
        [&](auto l) {
          add("list push_back", [=] { l.push_back(make()); });
          add("list pop_back", [=] { (void)l.try_pop_back(); });
          add("list push_front", [=] { l.push_front(make()); });
          add("list pop_front", [=] { (void)l.try_pop_front(); });
          add("list insert", [=, this] { l.insert(number(300), make()); });
          add("list erase", [=, this] { l.erase(number(300)); });
          add("list at", [=, this] { (void)l.at(number(300)); });
          add("list set", [=, this] { l.set(number(300), make()); });
          add("list slice", [=, this] { (void)l.slice(number(300), number(300)); });
          add("list set_slice", [=, this] {
            l.set_slice(number(300), number(300), std::vector<T>(static_cast<std::size_t>(number(200)), make()));
          });
          add("list extend", [=] { l.extend(std::vector<T>(130, make())); });
          add("list erase_slice", [=, this] { l.erase_slice(number(500), number(900)); });
          add("list reverse", [=] { l.reverse(); });
          add("list sort", [=] { l.sort(); });
          add("list find", [=] { (void)l.find(make()); });
          add("list size", [=] { (void)l.size(); });
          add("list clear", [=, this] {
            if (number(4) == 0) l.clear();
          });
        });
  }

  void open_sequences() {
    open_list<std::int64_t>("list of numbers", [this] { return number(1000); });
    open_list<Text>("list of texts", [this] { return text(); });
    open(
        "open value", [](auto& m) { return m.template value<std::int64_t>(named("value")); },
        [&](auto v) {
          add("value add", [=] { ++v; });
          add("value wait", [=] { (void)v.wait_for(v.load(), 1ms); });
          add("value with_lock", [=] { v.with_lock([](std::int64_t& n) { ++n; }); });
        });
    open(
        "open wide value", [](auto& m) { return m.template value<Wide>(named("wide value")); },
        [&](auto v) {
          add("wide value load", [=] { (void)v.load(); });
          add("wide value store", [=] { v.store(Wide{}); });
          add("wide value update", [=] { v.update([](const Wide& w) { return w; }); });
        });
    open(
        "open array", [](auto& m) { return m.template array<std::int64_t>(named("array"), 2000); },
        [&](auto a) {
          add("array at", [=, this] { (void)a.at(number(2000)); });
          add("array set", [=, this] { a.set(number(2000), 5); });
          add("array add", [=, this] { a.fetch_add(number(2000), 1); });
          add("array slice", [=, this] { (void)a.slice(number(2000), number(2000)); });
          add("array write", [=, this] { a.write(number(1900), std::vector<std::int64_t>(90, 1)); });
          add("array fill", [=] { a.fill(7); });
        });
    open(
        "open wide array", [](auto& m) { return m.template array<Wide>(named("wide array"), 100); },
        [&](auto a) {
          add("wide array at", [=, this] { (void)a.at(number(100)); });
          add("wide array set", [=, this] { a.set(number(100), Wide{}); });
          add("wide array fill", [=] { a.fill(Wide{}); });
        });
  }

  void open_locks() {
    open(
        "open lock", [](auto& m) { return m.lock(named("lock")); },
        [&](auto l) {
          add("lock", [=] {
            if (l.try_lock_for(2ms)) l.unlock();
          });
          add("lock unlock", [=] { l.unlock(); });
          add("lock reports", [=] { (void)l.holder(), (void)l.owner_died(), (void)l.locked(); });
        });
    open(
        "open rlock", [](auto& m) { return m.rlock(named("rlock")); },
        [&](auto l) {
          add("rlock", [=] {
            if (!l.try_lock_for(2ms)) return;
            l.lock();
            l.unlock();
            l.unlock();
          });
        });
    open(
        "open condition", [](auto& m) { return m.condition(named("condition")); },
        [&](auto c) {
          add("condition wait", [=] {
            if (!c.try_lock_for(2ms)) return;
            (void)c.wait(1ms);
            c.unlock();
          });
          add("condition notify", [=] {
            if (!c.try_lock_for(2ms)) return;
            c.notify_all();
            c.unlock();
          });
        });
    open(
        "open condition of a lock", [](auto& m) { return m.condition(named("condition of lock")); },
        [&](auto c) {
          add("condition of a lock wait", [=] {
            if (!c.try_lock_for(2ms)) return;
            (void)c.wait(1ms);
            c.unlock();
          });
          add("condition of a lock notify", [=] {
            if (!c.try_lock_for(2ms)) return;
            c.notify(2);
            c.unlock();
          });
        });
    open(
        "open event", [](auto& m) { return m.event(named("event")); },
        [&](auto e) {
          add("event set", [=] { e.set(); });
          add("event wait", [=] { (void)e.wait(1ms); });
          add("event clear", [=] { e.clear(); });
        });
    open(
        "open barrier", [](auto& m) { return m.barrier(named("barrier"), 2); },
        [&](auto b) {
          add("barrier wait", [=] { (void)b.wait(2ms); });
          add("barrier action", [=] { (void)b.wait(2ms, [] {}); });
          add("barrier reset", [=] { b.reset(); });
          add("barrier abort", [=, this] {
            if (number(3) == 0) b.abort();
          });
          add("barrier reports", [=] { (void)b.n_waiting(), (void)b.broken(), (void)b.parties(); });
        });
    open(
        "open semaphore", [](auto& m) { return m.semaphore(named("semaphore"), 2); },
        [&](auto s) {
          add("semaphore", [=] {
            if (s.try_acquire_for(1ms)) s.release();
          });
          add("semaphore keep", [=] { (void)s.try_acquire_for(1ms); });
          add("semaphore release", [=] { s.release(); });
        });
    open(
        "open rwlock", [](auto& m) { return m.rwlock(named("rwlock")); },
        [&](auto l) {
          add("rwlock write", [=] {
            if (l.try_lock_for(2ms)) l.unlock();
          });
          add("rwlock read", [=] {
            if (l.try_lock_shared_for(2ms)) l.unlock_shared();
          });
          add("rwlock reports", [=] { (void)l.holder(), (void)l.owner_died(); });
        });
  }

  template <typename Open, typename Make>
  void open_queue(const char* name, Open opened, Make make) {
    open(name, opened, [&](auto q) {
      add("queue put", [=] { (void)q.try_put_for(make(), 1ms); });
      add("queue get", [=] { (void)q.try_get_for(1ms); });
      add("queue put_many", [=] { (void)q.put_many(std::vector{make(), make(), make()}, 1ms); });
      add("queue get_many", [=] { (void)q.get_many(5, 1ms); });
      add("queue task_done", [=] { q.task_done(); });
      add("queue join", [=] { (void)q.join(1ms); });
      add("queue reports", [=] { (void)q.qsize(), (void)q.empty(), (void)q.full(); });
    });
  }

  void open_queues() {
    auto numbers = [this] { return number(1000); };
    auto texts = [this] { return text(); };
    open_queue(
        "queue of numbers", [](auto& m) { return m.template queue<std::int64_t>(named("queue")); }, numbers);
    open_queue(
        "queue of texts", [](auto& m) { return m.template queue<Text>(named("text queue"), {.maxsize = 60}); }, texts);
    open_queue(
        "lifo queue", [](auto& m) { return m.template lifo_queue<Text>(named("lifo"), {.maxsize = 60}); }, texts);
    open_queue(
        "redelivering queue",
        [](auto& m) { return m.template queue<Text>(named("redelivering"), {.maxsize = 60, .redeliver = true}); },
        texts);
    open(
        "priority queue", [](auto& m) { return m.template priority_queue<Text>(named("priority"), {.maxsize = 60}); },
        [&](auto q) {
          add("priority put", [=, this] { (void)q.try_put_for(number(9), text(), 1ms); });
          add("priority get", [=] { (void)q.try_get_for(1ms); });
        });
  }

  Survivor& self_;
  Random& random_;
  std::optional<Manager> manager_;
  std::uint64_t until_ = 0;  // objects are opened
  std::vector<Call> calls_;
};

}  // namespace

void Survivor::begin(const char* name) {
  std::strncpy(call, name, sizeof call - 1);
  began_ns.store(now_ns());
}

void Survivor::complain(const char* what) {
  std::snprintf(wrong, sizeof wrong, "%s: %s", call, what);
}

void use_damaged_objects(const char* manager, Survivor& self, Random& random, int milliseconds) {
  Client client(self, random);
  client.join(manager);
  client.call_some(milliseconds);
  client.let_go();
}

}  // namespace commonhold::test
