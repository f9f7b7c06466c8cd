#include "shm/in_flight.h"

#include <cstddef>

#include "shm/boot_clock.h"
#include "shm/extents.h"
#include "shm/object_table.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

namespace {

constexpr Word kLifetime = Word{3600} * 1'000'000'000;

constexpr ChunkOwner kFlightOwner(kSystemObject, 0);

bool is_flight_page(const Segment& segment, Offset page) {
  return page == flight_page(segment) ||
         (page % sizeof(ReferencePage) == 0 && segment.holds(page, sizeof(ReferencePage)) &&
          chunk_owner(segment, page) == kFlightOwner);
}

InFlightCell* cells_of(const Segment& segment, Offset page) {
  return segment.at<InFlightCell>(page + sizeof(Word));
}

// The cell that a message names, which may be anything: none unless it is one.
InFlightCell* named_cell(const Segment& segment, Offset cell) {
  const Offset first = flight_page(segment);
  const bool in_first = cell >= first && cell - first < sizeof(ReferencePage);
  const Offset page = in_first ? first : cell - cell % sizeof(ReferencePage);
  if (!is_flight_page(segment, page) || cell < page + sizeof(Word)) return nullptr;
  const Offset at = cell - page - sizeof(Word);
  const bool is_one = at % sizeof(InFlightCell) == 0 && at / sizeof(InFlightCell) < kInFlightPerPage;
  return is_one ? segment.at<InFlightCell>(cell) : nullptr;
}

// Calls visit(cell's offset, cell) until it returns true; true when it did.
template <typename Visit>
bool visit_flights(const Segment& segment, Visit&& visit) {
  Offset page = flight_page(segment);
  for (std::uint64_t steps = 0; page != 0 && steps < kMaxObjects && is_flight_page(segment, page); ++steps) {
    InFlightCell* cells = cells_of(segment, page);
    for (std::uint32_t i = 0; i < kInFlightPerPage; ++i) {
      if (visit(segment.offset_of(cells + i), cells[i])) return true;
    }
    page = segment.at<ReferencePage>(page)->next.load(std::memory_order_acquire);
  }
  return false;
}

// Another page behind the first one. A death before it is linked leaves a page that nobody uses.
Status add_page(ThreadContext& me) {
  Segment& segment = me.segment();
  Offset page_at = 0;
  const Status status = take_chunk(me, kFlightOwner, sizeof(ReferencePage), page_at);
  if (status != Status::kOk) return status;
  auto& page = *segment.at<ReferencePage>(page_at);
  for (auto& word : page.cells) word.store(0, std::memory_order_relaxed);
  AtomicWord& link = segment.at<ReferencePage>(flight_page(segment))->next;
  Word first = link.load(std::memory_order_relaxed);
  do {
    page.next.store(first, std::memory_order_relaxed);
  } while (!link.compare_exchange_weak(first, page_at));
  return Status::kOk;
}

}  // namespace

Status begin_flight(Segment& segment, ObjectId id, InFlight& begun) {
  ThreadContext* me = segment.here();
  if (me == nullptr) return segment.join_failure();
  for (;;) {
    const Word expires = boot_clock_ns() + kLifetime;
    const bool found = visit_flights(segment, [&](Offset at, InFlightCell& cell) {
      Word free = 0;
      if (cell.expires.load(std::memory_order_relaxed) != 0) return false;
      if (!cell.expires.compare_exchange_strong(free, expires)) return false;
      Word none = 0;  // not so when this thread was stopped here until its own cell had expired
      if (!cell.id.compare_exchange_strong(none, id.word())) return false;
      begun = {at, expires};
      return true;
    });
    if (found) break;
    const Status status = add_page(*me);
    if (status != Status::kOk) return status;
  }
  if (confirm_reference(segment, id)) return Status::kOk;
  end_flight(segment, id, begun);
  return Status::kGone;
}

void end_flight(Segment& segment, ObjectId id, const InFlight& flight) {
  InFlightCell* cell = named_cell(segment, flight.cell);
  if (cell == nullptr || cell->expires.load(std::memory_order_acquire) != flight.expires) return;
  Word word = id.word(), expires = flight.expires;
  if (cell->id.compare_exchange_strong(word, 0)) (void)cell->expires.compare_exchange_strong(expires, 0);
}

void mark_in_flight(const Segment& segment, std::vector<bool>& referred) {
  (void)visit_flights(segment, [&](Offset, InFlightCell& cell) {
    const ObjectId id = ObjectId::from_word(cell.id.load(std::memory_order_seq_cst));
    if (id.index == 0 || id.index >= referred.size()) return false;
    const Word state = object_record(segment, id.index).state.load(std::memory_order_relaxed);
    if (object_generation(state) == id.generation) referred[id.index] = true;
    return false;
  });
}

void free_expired_flights(const Segment& segment) {
  const Word now = boot_clock_ns();
  (void)visit_flights(segment, [&](Offset, InFlightCell& cell) {
    Word expires = cell.expires.load(std::memory_order_acquire);
    if (expires == 0 || (expires > now && expires - now <= 2 * kLifetime)) return false;
    Word id = cell.id.load(std::memory_order_acquire);
    if (cell.id.compare_exchange_strong(id, 0)) (void)cell.expires.compare_exchange_strong(expires, 0);
    return false;
  });
}

}  // namespace commonhold::shm
