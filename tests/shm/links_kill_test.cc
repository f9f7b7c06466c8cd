// Every operation that stores or removes links, killed at every instruction: no object that is linked to is lost, and
// after a sweep none lives that nothing keeps. And the sweep itself, killed everywhere.
#include <optional>

#include "shm/any_queue.h"
#include "shm/dict_layout.h"
#include "shm/extents_commit.h"
#include "support/link_ground.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Dict;
using shm::Item;
using shm::List;
using shm::ObjectId;
using shm::ObjectKind;
using shm::Status;
using shm::ThreadContext;

namespace {

void ignore(Status) {}

// A named dict {a: A, b: B, t: text, m: [A, C]} and a named list [A, B, C, text], A a list that links to I. The caller
// refers to N alone, which operations store.
class Ground {
 public:
  Ground() : segment(8u << 20) {
    (void)shm::commit_ahead(segment.me(), 8);
    dict_id = make_object(segment, ObjectKind::kDict, "dict", 2);
    list_id = make_object(segment, ObjectKind::kList, "list", 1);
    a = make_object(segment, ObjectKind::kList, "", 1);
    b = make_object(segment, ObjectKind::kLock);
    c = make_object(segment, ObjectKind::kLock);
    n = make_object(segment, ObjectKind::kLock);
    inner = make_object(segment, ObjectKind::kLock);
    // The same keys to the same shards in every run.
    segment->at<shm::DictControl>(address_of(segment, dict_id).control)->seed = 1;
    dict.emplace(address_of(segment, dict_id));
    list.emplace(address_of(segment, list_id));
    auto& me = segment.me();
    REQUIRE(List(address_of(segment, a)).push_back(me, Link(inner).item()) == Status::kOk);
    REQUIRE(dict->put(me, text("a"), Link(a).item()) == Status::kOk);
    REQUIRE(dict->put(me, text("b"), Link(b).item()) == Status::kOk);
    REQUIRE(dict->put(me, text("t"), text("text")) == Status::kOk);
    REQUIRE(dict->put(me, text("m"), Links({a, c}).item()) == Status::kOk);
    for (ObjectId id : {a, b, c}) REQUIRE(list->push_back(me, Link(id).item()) == Status::kOk);
    REQUIRE(list->push_back(me, text("text")) == Status::kOk);
    REQUIRE(add_reference(*segment, n) == Status::kOk);
    REQUIRE(wrong_after_sweep(segment) == "");
  }

  void kill(const std::string& name, const std::function<void(Ground&, ThreadContext&)>& op) {
    INFO(name);
    // Whoever stores an object refers to it.
    auto referred = [this, op] {
      if (add_reference(*segment, n) == Status::kOk) op(*this, segment.me());
    };
    kill_everywhere_in(segment, {name, referred, [this] { return observe(); }, [this] { return audit(); }, 64, 1});
  }

  std::string observe() {
    std::vector<shm::DictEntryCopy> entries;
    std::vector<std::string> values;
    std::vector<shm::ItemKind> kinds;
    if (dict->snapshot(segment.me(), entries) != Status::kOk) return "unreadable";
    if (list->snapshot(segment.me(), 0, ~0ull, values, nullptr, &kinds) != Status::kOk) return "unreadable";
    std::string all;
    for (auto& entry : entries) all += entry.bytes + static_cast<char>(entry.value_kind) + '|';
    for (std::size_t i = 0; i < values.size(); ++i) all += values[i] + static_cast<char>(kinds[i]) + '|';
    return all;
  }
  std::string audit() {
    for (auto where : {address_of(segment, dict_id)}) {
      if (std::string wrong = shm::object_type(ObjectKind::kDict)->audit(segment.me(), where); !wrong.empty())
        return wrong;
    }
    if (std::string wrong = shm::object_type(ObjectKind::kList)->audit(segment.me(), address_of(segment, list_id));
        !wrong.empty())
      return wrong;
    if (!is_alive(segment, n)) return "an object that is referred to was lost";
    return wrong_after_sweep(segment);
  }

  TestSegment segment;
  ObjectId dict_id, list_id, a, b, c, n, inner;
  std::optional<Dict> dict;
  std::optional<List> list;
};

}  // namespace

TEST_CASE("a dict's writer killed anywhere loses no object that is linked to, and leaks none", "[kill]") {
  Ground ground;
  ground.kill("put, first link ever of a dict",
              [](Ground& at, ThreadContext& me) { ignore(at.dict->put(me, text("new"), Link(at.n).item())); });
  ground.kill("put a link over a link",
              [](Ground& at, ThreadContext& me) { ignore(at.dict->put(me, text("b"), Link(at.n).item())); });
  ground.kill("put a link over a text",
              [](Ground& at, ThreadContext& me) { ignore(at.dict->put(me, text("t"), Link(at.n).item())); });
  ground.kill("put a text over a link",
              [](Ground& at, ThreadContext& me) { ignore(at.dict->put(me, text("a"), text("no link"))); });
  ground.kill("put many links in one item", [](Ground& at, ThreadContext& me) {
    ignore(at.dict->put(me, text("m"), Links({at.n, at.b}).item()));
  });
  ground.kill("erase a link", [](Ground& at, ThreadContext& me) { ignore(at.dict->erase(me, text("b"))); });
  ground.kill("erase a link that is the one expected", [](Ground& at, ThreadContext& me) {
    Link link(at.b);
    Item expected = link.item();
    ignore(at.dict->erase(me, text("b"), nullptr, &expected));
  });
  ground.kill("compare_exchange of links", [](Ground& at, ThreadContext& me) {
    ignore(at.dict->compare_exchange(me, text("a"), Link(at.a).item(), Link(at.n).item()));
  });
  ground.kill("put_many", [](Ground& at, ThreadContext& me) {
    Link link(at.n);
    Links links({at.n, at.c});
    shm::DictPair pairs[] = {{text("a"), link.item()}, {text("b"), links.item()}, {text("x"), link.item()}};
    ignore(at.dict->put_many(me, pairs));
  });
  ground.kill("assign", [](Ground& at, ThreadContext& me) {
    Link link(at.n);
    shm::DictPair pairs[] = {{text("x"), link.item()}, {text("y"), link.item()}};
    ignore(at.dict->assign(me, pairs));
  });
  ground.kill("clear", [](Ground& at, ThreadContext& me) { ignore(at.dict->clear(me)); });
  ground.kill("pop_last", [](Ground& at, ThreadContext& me) {
    shm::DictOrderCache cache;
    shm::DictEntryCopy popped;
    ignore(at.dict->pop_last(me, cache, popped));
  });
}

TEST_CASE("a list's writer killed anywhere loses no object that is linked to, and leaks none", "[kill]") {
  Ground ground;
  auto link = [](const Ground& at) { return Link(at.n); };
  ground.kill("push_back", [=](Ground& at, ThreadContext& me) { ignore(at.list->push_back(me, link(at).item())); });
  ground.kill("push_front", [=](Ground& at, ThreadContext& me) { ignore(at.list->push_front(me, link(at).item())); });
  ground.kill("insert", [=](Ground& at, ThreadContext& me) { ignore(at.list->insert(me, 1, link(at).item())); });
  ground.kill("set", [=](Ground& at, ThreadContext& me) { ignore(at.list->set(me, 1, link(at).item())); });
  ground.kill("set to many links", [=](Ground& at, ThreadContext& me) {
    ignore(at.list->set(me, 3, Links({at.n, at.n, at.b}).item()));
  });
  ground.kill("compare_exchange", [=](Ground& at, ThreadContext& me) {
    ignore(at.list->compare_exchange(me, 2, Link(at.c).item(), link(at).item()));
  });
  ground.kill("erase", [](Ground& at, ThreadContext& me) { ignore(at.list->erase(me, 2)); });
  ground.kill("pop_back", [](Ground& at, ThreadContext& me) {
    std::string popped;
    ignore(at.list->pop_back(me, popped));
  });
  ground.kill("pop_front", [](Ground& at, ThreadContext& me) {
    std::string popped;
    ignore(at.list->pop_front(me, popped));
  });
  ground.kill("erase_if_equal",
              [](Ground& at, ThreadContext& me) { ignore(at.list->erase_if_equal(me, 1, Link(at.b).item())); });
  ground.kill("pop_back_if_equal",
              [](Ground& at, ThreadContext& me) { ignore(at.list->pop_back_if_equal(me, text("text"))); });
  ground.kill("extend", [=](Ground& at, ThreadContext& me) {
    Link one = link(at);
    Item items[] = {one.item(), one.item()};
    ignore(at.list->extend(me, items));
  });
  ground.kill("replace", [=](Ground& at, ThreadContext& me) {
    Link one = link(at);
    Item items[] = {one.item(), text("x"), one.item()};
    ignore(at.list->replace(me, 1, 2, items));
  });
  ground.kill("assign", [=](Ground& at, ThreadContext& me) {
    Link one = link(at);
    Item items[] = {one.item()};
    ignore(at.list->replace(me, 0, ~0ull, items));
  });
  ground.kill("clear", [](Ground& at, ThreadContext& me) { ignore(at.list->clear(me)); });
  ground.kill("reverse", [](Ground& at, ThreadContext& me) { ignore(at.list->reverse(me)); });
}

TEST_CASE("a writer or taker of a queue killed anywhere loses no object that is linked to, and leaks none", "[kill]") {
  // A ring, a queue of the last in first out, and one that delivers again.
  for (std::uint64_t order : {0, 2, 3}) {
    Ground ground;
    auto& me = ground.segment.me();
    ObjectId id;
    REQUIRE(create_object(me, {ObjectKind::kQueue, "queue", "queue", {0, 0, order % 3, order == 3 ? 1u : 0u}}, id) ==
            Status::kOk);
    const shm::AnyQueue queue(address_of(ground.segment, id));
    auto put = [&](const Item& item) {
      queue.is_ring() ? ignore(queue.ring().put(ground.segment.me(), item, shm::Deadline::already()))
                      : ignore(queue.ordered().put(ground.segment.me(), item, 0, shm::Deadline::already()));
    };
    ObjectId in_queue = make_object(ground.segment, ObjectKind::kLock);
    put(Links({ground.c, in_queue}).item());
    put(text("plain"));
    put(Link(ground.b).item());
    REQUIRE(wrong_after_sweep(ground.segment) == "");
    REQUIRE(is_alive(ground.segment, in_queue));
    auto audit = [&]() -> std::string {
      auto found = queue.audit(ground.segment.me());
      if (!found.error.empty()) return found.error;
      if (!is_alive(ground.segment, ground.n)) return "an object that is referred to was lost";
      return wrong_after_sweep(ground.segment);
    };
    auto observe = [&] { return std::to_string(queue.visit([](auto& either) { return either.size(); })); };
    auto kill = [&](const std::string& name, const std::function<void()>& op) {
      INFO(name << ", order " << order);
      kill_everywhere_in(ground.segment, {name,
                                          [&] {
                                            if (add_reference(*ground.segment, ground.n) == Status::kOk) op();
                                          },
                                          observe, audit, 64, 1});
    };
    kill("put", [&] { put(Link(ground.n).item()); });
    kill("put of many links", [&] { put(Links({ground.n, ground.a}).item()); });
    // With redelivery what a dead one took comes back: then nothing changes, which is the state before.
    kill("get", [&] {
      std::string item;
      queue.is_ring() ? ignore(queue.ring().get(ground.segment.me(), item, shm::Deadline::already()))
                      : ignore(queue.ordered().get(ground.segment.me(), item, nullptr, shm::Deadline::already()));
    });
  }
}

TEST_CASE("a sweep killed anywhere destroys only what nothing keeps, and the next one destroys all of it", "[kill]") {
  Ground ground;
  auto& me = ground.segment.me();
  // A circle of two lists that nothing keeps, and a dict with links that lost its name.
  ObjectId first = make_object(ground.segment, ObjectKind::kList, "", 1);
  ObjectId second = make_object(ground.segment, ObjectKind::kList, "", 1);
  REQUIRE(List(address_of(ground.segment, first)).push_back(me, Link(second).item()) == Status::kOk);
  REQUIRE(List(address_of(ground.segment, second)).push_back(me, Link(first).item()) == Status::kOk);
  REQUIRE(List(address_of(ground.segment, second)).push_back(me, Link(ground.c).item()) == Status::kOk);
  REQUIRE(unname_object(me, "list") == Status::kOk);
  auto audit = [&]() -> std::string {
    finish_sweep(ground.segment.me());  // as a server does that takes over
    if (std::string wrong = wrong_after_sweep(ground.segment); !wrong.empty()) return wrong;
    if (is_alive(ground.segment, first) || is_alive(ground.segment, second)) return "a circle survived";
    for (ObjectId id : {ground.a, ground.b, ground.c, ground.inner}) {
      if (!is_alive(ground.segment, id)) return "an object was lost";
    }
    return is_alive(ground.segment, ground.list_id) ? "an unnamed list survived" : "";
  };
  kill_everywhere_in(ground.segment, {"sweep", [&] { (void)sweep_unreferred_objects(ground.segment.me()); },
                                      []() -> std::string { return ""; }, audit, 64, 1});
}
