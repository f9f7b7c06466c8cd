// What keeps an object between its sender and its receiver, killed at every instruction.
#include "shm/in_flight.h"

#include <string>
#include <vector>

#include "shm/references.h"
#include "support/link_ground.h"
#include "support/structure_kill.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace commonhold::shm;

namespace {

struct Stage {
  Stage() : object(make_object(segment, ObjectKind::kLock)) { REQUIRE(add_reference(*segment, object) == Status::kOk); }

  std::vector<InFlightCell*> cells() const {
    std::vector<InFlightCell*> found;
    Offset page = flight_page(*segment);
    for (int pages = 0; page != 0 && pages < 100; ++pages) {
      auto* first = segment->at<InFlightCell>(page + sizeof(Word));
      for (std::uint32_t i = 0; i < kInFlightPerPage; ++i) found.push_back(first + i);
      page = segment->at<ReferencePage>(page)->next;
    }
    return found;
  }
  // How many keep the object.
  std::string state() const {
    int keep = 0;
    for (const InFlightCell* cell : cells()) keep += cell->id == object.word() ? 1 : 0;
    return std::to_string(keep);
  }
  // Each cell that keeps something expires, and then it can serve again.
  std::string wrong() const {
    if (!is_alive(segment, object)) return "the object is lost";
    std::vector<std::pair<Word, Word>> before;
    for (InFlightCell* cell : cells()) {
      if (cell->id != 0 && cell->expires == 0) return "a cell keeps an object for ever";
      before.emplace_back(cell->expires, cell->id);
      if (cell->expires != 0) cell->expires = 1;
    }
    free_expired_flights(*segment);
    std::size_t i = 0;
    for (InFlightCell* cell : cells()) {
      if (cell->expires != 0 || cell->id != 0) return "a cell is lost";
      cell->expires = before[i].first;
      cell->id = before[i++].second;
    }
    return "";
  }
  void kill(const std::string& name, std::function<void()> op) {
    INFO(name);
    KillCase one{name, std::move(op), [this] { return state(); }, [this] { return wrong(); }};
    one.extents_watched = 4;
    one.kills_of_recovery = 1;
    kill_everywhere_in(segment, one);
  }

  TestSegment segment{8u << 20};
  ObjectId object;
};

}  // namespace

TEST_CASE("a sender or receiver of an object killed anywhere leaves it in flight until it expires, or not", "[kill]") {
  Stage stage;
  InFlight flight;
  const auto begin = [&] { (void)begin_flight(*stage.segment, stage.object, flight); };
  stage.kill("begin_flight", begin);
  begin();
  stage.kill("end_flight", [&] { end_flight(*stage.segment, stage.object, flight); });
  for (InFlightCell* cell : stage.cells()) {
    if (cell->id != 0) cell->expires = 1;
  }
  stage.kill("free_expired_flights", [&] { free_expired_flights(*stage.segment); });
  while (stage.cells().size() == kInFlightPerPage && stage.cells().back()->expires == 0) begin();
  stage.kill("begin_flight in a new page", begin);
}
