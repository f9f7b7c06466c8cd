#include "support/damage_objects.h"

#include <commonhold/commonhold.h>

#include <chrono>

namespace commonhold::test {

using namespace damaged;
using namespace std::chrono_literals;

void make_objects_to_damage(const char* manager) {
  const Manager m = Manager::connect(manager);
  auto texts = m.dict<Text, Text>(named("texts"));
  auto numbers = m.dict<int, std::int64_t>(named("numbers"));
  auto nested = m.dict<Text, Nested>(named("nested"));
  auto lists = m.dict<Text, List<std::int64_t>>(named("lists"));
  auto set = m.set<Text>(named("set"));
  auto space = m.ns(named("space"));
  auto list = m.list<std::int64_t>(named("list of numbers"));
  auto boxed = m.list<Text>(named("list of texts"));
  for (int i = 0; i < 120; ++i) {
    const Text key = "key" + std::to_string(i);
    texts.put(key, Text(static_cast<std::size_t>(i) % 90, 't'));
    numbers.put(i * 3, i);
    if (i % 4 == 0) nested.put(key, Nested(2, {{"x", i}}));
    if (i % 2 == 0) set.add(key);
    if (i % 5 == 0) space.set(key, i % 2 == 0 ? Any(i) : Any::list(i, "text", Any::map({{"k", i}})));
    boxed.push_back(key);
  }
  texts.put("chunk", Text(5000, 'c'));
  for (int i = 0; i < 400; ++i) list.push_back(i);
  for (int i = 0; i < 3; ++i) lists.put("list" + std::to_string(i), m.list<std::int64_t>({1, 2, 3}));
  (void)m.value<std::int64_t>(named("value"), 5);
  (void)m.value<Wide>(named("wide value"));
  (void)m.array<std::int64_t>(named("array"), 2000);
  (void)m.array<Wide>(named("wide array"), 100);
  auto lock = m.lock(named("lock"));
  (void)m.rlock(named("rlock"));
  (void)m.condition(named("condition"));
  (void)m.condition(named("condition of lock"), lock);
  (void)m.event(named("event"));
  (void)m.barrier(named("barrier"), 2);
  (void)m.semaphore(named("semaphore"), 2);
  (void)m.rwlock(named("rwlock"));
  auto queue = m.queue<std::int64_t>(named("queue"));
  auto text_queue = m.queue<Text>(named("text queue"), {.maxsize = 60});
  auto lifo = m.lifo_queue<Text>(named("lifo"), {.maxsize = 60});
  auto redelivering = m.queue<Text>(named("redelivering"), {.maxsize = 60, .redeliver = true});
  auto priority = m.priority_queue<Text>(named("priority"), {.maxsize = 60});
  for (int i = 0; i < 20; ++i) {
    const Text item(static_cast<std::size_t>(i) * 20, 'q');
    queue.put(i);
    text_queue.put(item);
    lifo.put(item);
    redelivering.put(item);
    priority.put(i % 3, item);
  }
}

}  // namespace commonhold::test
