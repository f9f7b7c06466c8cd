// A list in a segment without a free byte: what takes elements away needs no memory, or the memory would never be free.
#include <random>

#include "support/list_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

// A list that fills its segment; its elements in `model`.
struct FullList {
  explicit FullList(bool boxed, std::size_t bytes) : where(make_list(segment, boxed)), list(where) {
    auto& me = segment.me();
    for (std::uint64_t i = 0;; ++i) {
      std::string value = boxed ? std::to_string(i) + std::string(bytes, 'x') : word_text(i);
      if (list.push_back(me, text(value)) != Status::kOk) break;
      model.push_back(value);
    }
    // The smaller blocks too.
    for (std::size_t size = 4096; size != 0; size /= 2) {
      std::string value(size, 'y');
      while (boxed && list.push_back(me, text(value)) == Status::kOk) model.push_back(value);
    }
  }
  TestSegment segment{256u << 10};
  shm::ObjectAddress where;
  shm::List list;
  std::vector<std::string> model;
};

void check_usable_again(FullList& full) {
  auto& me = full.segment.me();
  check_same(full.segment, full.list, full.model);
  REQUIRE(full.list.push_back(me, text(word_text(1))) == Status::kOk);
}

}  // namespace

TEST_CASE("a list that fills its segment can be emptied from the front, from the back and from the middle") {
  for (bool boxed : {false, true}) {
    for (int from : {0, 1, 2, 3}) {
      INFO((boxed ? "boxed" : "words") << ", from " << from);
      FullList full(boxed, 90);
      auto& me = full.segment.me();
      std::mt19937 random(Catch::rngSeed());
      while (!full.model.empty()) {
        std::string got;
        std::size_t at = 0;
        Status status;
        if (from == 0) {
          status = full.list.pop_front(me, got);
        } else if (from == 1) {
          at = full.model.size() - 1;
          status = full.list.pop_back(me, got);
        } else {
          at = from == 2 ? full.model.size() / 2 : random() % full.model.size();
          status = full.list.erase(me, at, &got);
        }
        INFO("element " << at << " of " << full.model.size() << ": " << shm::to_string(status));
        REQUIRE(status == Status::kOk);
        REQUIRE(got == full.model[at]);
        full.model.erase(full.model.begin() + static_cast<std::ptrdiff_t>(at));
      }
      check_usable_again(full);
    }
  }
}

TEST_CASE("slices of a list that fills its segment can be taken away, and all of it cleared") {
  for (bool boxed : {false, true}) {
    INFO((boxed ? "boxed" : "words"));
    FullList full(boxed, 300);
    auto& me = full.segment.me();
    std::uint64_t half = full.model.size() / 2;
    REQUIRE(full.list.replace(me, 3, half, {}) == Status::kOk);
    full.model.erase(full.model.begin() + 3, full.model.begin() + 3 + static_cast<std::ptrdiff_t>(half));
    check_usable_again(full);
    FullList other(boxed, 300);
    REQUIRE(other.list.clear(other.segment.me()) == Status::kOk);
    other.model.clear();
    check_usable_again(other);
  }
}
