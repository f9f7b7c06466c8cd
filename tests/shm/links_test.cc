// Objects that contain other objects: what is kept, what is destroyed, and that nothing that can be reached ever is.
#include "shm/links.h"

#include <atomic>
#include <random>

#include "shm/idle_memory.h"
#include "shm/recovery.h"
#include "support/link_ground.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace commonhold::shm;

namespace {

ObjectId make_list(const TestSegment& segment, const std::string& name = "") {
  return make_object(segment, ObjectKind::kList, name, 1);
}
List list_at(const TestSegment& segment, ObjectId id) {
  return List(address_of(segment, id));
}
void push(const TestSegment& segment, ObjectId list, ObjectId item) {
  REQUIRE(list_at(segment, list).push_back(segment.me(), Link(item).item()) == Status::kOk);
}

}  // namespace

TEST_CASE("a chain of containers is kept by its name and goes as a whole when the name goes") {
  TestSegment segment;
  std::vector<ObjectId> chain{make_list(segment, "root")};
  for (int i = 0; i < 200; ++i) {
    chain.push_back(make_list(segment));
    push(segment, chain[chain.size() - 2], chain.back());
  }
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);
  REQUIRE(unname_object(segment.me(), "root") == Status::kOk);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 201);
  for (ObjectId id : chain) REQUIRE_FALSE(is_alive(segment, id));
  REQUIRE(segment->header().committed_extents == segment->header().free_extents);
}

TEST_CASE("objects that contain themselves or each other are destroyed when nothing else keeps them") {
  TestSegment segment;
  ObjectId self = make_list(segment), a = make_list(segment), b = make_list(segment), outside = make_list(segment, "o");
  push(segment, self, self);
  push(segment, a, b);
  push(segment, b, a);
  push(segment, outside, b);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 1);
  REQUIRE_FALSE(is_alive(segment, self));
  REQUIRE(list_at(segment, outside).clear(segment.me()) == Status::kOk);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 2);
}

TEST_CASE("a reference that takes another one's place keeps what it names") {
  const char* ways[] = {"put", "put_many", "compare_exchange", "erase and put"};
  for (int way = 0; way < 4; ++way) {
    INFO(ways[way]);
    TestSegment segment;
    auto& me = segment.me();
    Dict dict(address_of(segment, make_object(segment, ObjectKind::kDict, "dict")));
    ObjectId before = make_list(segment), after = make_list(segment);
    Offset cell = 0;  // references as proxies have them; that to the first one stays
    REQUIRE(add_reference(*segment, before) == Status::kOk);
    REQUIRE(add_reference(*segment, after, &cell) == Status::kOk);
    REQUIRE(dict.put(me, text("k"), Link(before).item()) == Status::kOk);
    Link old(before), link(after);
    DictPair pair{text("k"), link.item()};
    Status status = way == 0   ? dict.put(me, text("k"), link.item())
                    : way == 1 ? dict.put_many(me, std::span(&pair, 1))
                    : way == 2 ? dict.compare_exchange(me, text("k"), old.item(), link.item())
                               : dict.erase(me, text("k"));
    REQUIRE(status == Status::kOk);
    if (way == 3) REQUIRE(dict.put(me, text("k"), link.item()) == Status::kOk);
    drop_reference(*segment, after, cell);
    CHECK(sweep_unreferred_objects(me) == 0);
    CHECK(is_alive(segment, before));
    CHECK(is_alive(segment, after));
  }
}

TEST_CASE("an item with several links keeps each of them") {
  TestSegment segment;
  ObjectId dict = make_object(segment, ObjectKind::kDict, "dict"), a = make_list(segment), b = make_list(segment);
  REQUIRE(Dict(address_of(segment, dict)).put(segment.me(), text("k"), Links({a, b}).item()) == Status::kOk);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 0);
  REQUIRE(Dict(address_of(segment, dict)).put(segment.me(), text("k"), Links({b}).item()) == Status::kOk);
  REQUIRE(sweep_unreferred_objects(segment.me()) == 1);
  REQUIRE(is_alive(segment, b));
}

TEST_CASE("links to an object are counted for people") {
  TestSegment segment;
  ObjectId a = make_list(segment, "a"), b = make_list(segment, "b");
  push(segment, a, b);
  push(segment, a, b);
  push(segment, b, b);
  count_links(segment.me());
  REQUIRE(object_record(*segment, b.index).held_inside == 3);
  REQUIRE(object_record(*segment, a.index).held_inside == 0);
}

TEST_CASE("while a live process keeps a container's lock, nothing is destroyed that it may contain") {
  TestSegment segment;
  ObjectId root = make_list(segment, "root"), child = make_list(segment), plain = make_list(segment);
  push(segment, root, child);
  Shared<std::atomic<int>> step;
  auto* control = segment->at<ListControl>(address_of(segment, root).control);
  pid_t holder = spawn([&] {
    (void)lock(segment.me(), control->writing);
    *step = 1;
    while (true) usleep(1000);
  });
  while (*step == 0) usleep(100);
  bool unfinished = false;
  REQUIRE(sweep_unreferred_objects(segment.me(), {}, &unfinished) == 0);
  REQUIRE(unfinished);
  REQUIRE(is_alive(segment, child));
  kill(holder, SIGKILL);
  REQUIRE(wait_for(holder) == -SIGKILL);
  REQUIRE(recover_all_dead(*segment, segment.me()) == 1);
  REQUIRE(sweep_unreferred_objects(segment.me(), {}, &unfinished) == 1);
  REQUIRE_FALSE(unfinished);
  REQUIRE_FALSE(is_alive(segment, plain));
  REQUIRE(is_alive(segment, child));
}

TEST_CASE("a sweep that may have come too early for the end of a hold is unfinished, and its waiters wait on") {
  TestSegment segment;
  const auto& header = segment->header();
  ObjectId named = make_list(segment, "named"), other = make_list(segment);
  const ObjectId held[] = {named, other}, only_named[] = {named};
  segment->note_garbage();
  bool unfinished = false;
  REQUIRE(sweep_unreferred_objects(segment.me(), {held, {}}, &unfinished) == 0);
  REQUIRE(unfinished);
  REQUIRE(header.garbage_swept < header.garbage_noted);
  // One whose hold lasts, as of a client that is stopped, keeps nobody waiting; nor does one that something else keeps.
  REQUIRE(sweep_unreferred_objects(segment.me(), {{}, held}, &unfinished) == 0);
  REQUIRE_FALSE(unfinished);
  REQUIRE(header.garbage_swept == header.garbage_noted);
  REQUIRE(add_reference(*segment, other) == Status::kOk);
  REQUIRE(sweep_unreferred_objects(segment.me(), {held, {}}, &unfinished) == 0);
  REQUIRE_FALSE(unfinished);
  // What else was destroyed is a reason to try again.
  (void)make_list(segment);
  drop_reference(*segment, other);
  REQUIRE(sweep_unreferred_objects(segment.me(), {held, {}}, &unfinished) == 1);
  REQUIRE_FALSE(unfinished);
  REQUIRE(is_alive(segment, other));
  REQUIRE(sweep_unreferred_objects(segment.me(), {only_named, {}}, &unfinished) == 1);
  REQUIRE_FALSE(is_alive(segment, other));
}

TEST_CASE("a call that finds no memory tries again when a sweep has ended since another one was refused") {
  TestSegment segment;
  auto& header = segment->header();
  const auto tries_again = [&] { return SweepWaits(segment.me()).worth_another(Status::kOutOfMemory); };
  CHECK_FALSE(tries_again());
  header.garbage_noted = header.garbage_swept = 5;
  CHECK(tries_again());
  CHECK_FALSE(tries_again());
  CHECK_FALSE(SweepWaits(segment.me()).worth_another(Status::kOk));
  // One that may not wait is refused, and takes the news from nobody.
  header.garbage_noted = header.garbage_swept = 6;
  CHECK_FALSE(SweepWaits(segment.me(), Deadline::already()).worth_another(Status::kOutOfMemory));
  CHECK(tries_again());
}

TEST_CASE("random graphs lose exactly what cannot be reached") {
  INFO("seed " << Catch::rngSeed());
  std::mt19937 random(Catch::rngSeed());
  TestSegment segment;
  auto& me = segment.me();
  std::vector<ObjectId> roots, all;
  for (int i = 0; i < 3; ++i) roots.push_back(make_list(segment, "root" + std::to_string(i)));
  all = roots;
  for (int round = 0; round < 60; ++round) {
    for (int step = 0; step < 40; ++step) {
      std::erase_if(all, [&](ObjectId id) { return !is_alive(segment, id); });
      if (all.size() < 60 || random() % 4 == 0) {
        bool dict = random() % 2 == 0;
        all.push_back(make_object(segment, dict ? ObjectKind::kDict : ObjectKind::kList, "", dict ? 2 : 1));
      }
      ObjectId from = all[random() % all.size()], to = all[random() % all.size()], other = all[random() % all.size()];
      ObjectInfo info;
      REQUIRE(object_info(*segment, from.index, info) == Status::kOk);
      std::string key = std::to_string(random() % 6);
      if (info.kind == ObjectKind::kDict) {
        Dict dict(address_of(segment, from));
        switch (random() % 5) {
          case 0:
            (void)dict.erase(me, text(key));
            break;
          case 1:
            (void)dict.clear(me);
            break;
          case 2:
            REQUIRE(dict.put(me, text(key), Links({to, other}).item()) == Status::kOk);
            break;
          default:
            REQUIRE(dict.put(me, text(key), Link(to).item()) == Status::kOk);
        }
      } else {
        List list(address_of(segment, from));
        std::string popped;
        switch (random() % 7) {
          case 0:
            (void)list.pop_back(me, popped);
            break;
          case 1:
            (void)list.pop_front(me, popped);
            break;
          case 2:
            (void)list.reverse(me);
            break;
          case 3:
            (void)list.set(me, 0, Links({other}).item());
            break;
          case 4:
            if (list.size() > 12) (void)list.clear(me);
            break;
          default:
            REQUIRE(list.push_back(me, Link(to).item()) == Status::kOk);
        }
      }
    }
    REQUIRE(wrong_after_sweep(segment) == "");
  }
}

// Processes take links out of containers and put them into others, whole containers among them, while the server sweeps
// without a pause. Each root list holds tokens; a token is never without a keeper, so none may ever go.
TEST_CASE("objects that wander between containers and processes are never destroyed by the sweep") {
  INFO("seed " << Catch::rngSeed());
  TestSegment segment;
  constexpr int kHomes = 6, kTokens = 40;
  std::vector<ObjectId> homes;
  for (int i = 0; i < kHomes; ++i) homes.push_back(make_list(segment, "home" + std::to_string(i)));
  for (int i = 0; i < kTokens; ++i) {
    ObjectId token = make_list(segment), inside = make_list(segment);
    push(segment, token, inside);
    push(segment, homes[i % kHomes], token);
  }
  struct Board {
    std::atomic<bool> end{false};
    std::atomic<long> moves{0}, losses{0};
  };
  Shared<Board> board;
  std::vector<pid_t> movers;
  for (unsigned m = 0; m < 3; ++m) {
    movers.push_back(spawn([&, seed = Catch::rngSeed() + m] {
      std::mt19937 random(seed);
      auto& me = segment.me();
      std::vector<ObjectId> own;
      auto read = [&](List& list, std::uint64_t index, Word& word) {
        return list.get_fixed(index, &word, 8) == Status::kOk;
      };
      while (!board->end) {
        if (own.size() < 4) {
          List home = list_at(segment, homes[random() % kHomes]);
          Word word = 0;
          if (!read(home, random() % (home.size() + 1), word)) continue;
          ObjectId id = ObjectId::from_word(word);
          if (add_reference(*segment, id) != Status::kOk) {
            // Others may have taken it out meanwhile, but somebody keeps it: it is never gone.
            ++board->losses;
            continue;
          }
          // Ours only if it was still there.
          Item expected{ItemKind::kReference, &word, 8};
          bool taken = false;
          for (std::uint64_t i = 0; i < home.size() && !taken; ++i) {
            taken = home.erase_if_equal(me, i, expected) == Status::kOk;
          }
          if (taken) {
            own.push_back(id);
          } else {
            drop_reference(*segment, id);
          }
        } else {
          ObjectId id = own.back();
          own.pop_back();
          // Its inner list wanders to another token of ours.
          List token = list_at(segment, id), other = list_at(segment, own[random() % own.size()]);
          Word word = 0;
          if (read(token, 0, word) && add_reference(*segment, ObjectId::from_word(word)) == Status::kOk) {
            Item inner{ItemKind::kReference, &word, 8};
            if (token.erase_if_equal(me, 0, inner) == Status::kOk) (void)other.push_back(me, inner);
            drop_reference(*segment, ObjectId::from_word(word));
          } else if (word != 0) {
            ++board->losses;
          }
          (void)list_at(segment, homes[random() % kHomes]).push_back(me, Link(id).item());
          drop_reference(*segment, id);
          ++board->moves;
        }
      }
      for (ObjectId id : own) {
        (void)list_at(segment, homes[0]).push_back(me, Link(id).item());
        drop_reference(*segment, id);
      }
    }));
  }
  long destroyed = 0, sweeps = 0;
  while (board->moves < 40'000 && board->losses == 0 && destroyed == 0) {
    destroyed += sweep_unreferred_objects(segment.me());
    ++sweeps;
  }
  board->end = true;
  for (pid_t mover : movers) REQUIRE(wait_for(mover) == 0);
  INFO(sweeps << " sweeps, " << board->moves << " moves");
  REQUIRE(destroyed == 0);
  REQUIRE(board->losses == 0);
  REQUIRE(wrong_after_sweep(segment) == "");
  std::set<std::uint32_t> tokens;
  std::size_t inside = 0;
  for (ObjectId home : homes) {
    for (ObjectId token : links_of(segment, home)) {
      REQUIRE(tokens.insert(token.index).second);
      inside += links_of(segment, token).size();
    }
  }
  REQUIRE(tokens.size() == kTokens);
  REQUIRE(inside == kTokens);
}
