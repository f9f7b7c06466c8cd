#include "shm/references.h"

#include <cstddef>

#include "shm/extents.h"
#include "shm/object_table.h"
#include "shm/sweep_word.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

namespace {

constexpr Word kMayOwnPages = 1;  // bit 0 of SessionRecord.references

constexpr Offset first_page_of(Word references) {
  return references & ~kMayOwnPages;
}

bool is_page_of(const Segment& segment, SessionIndex session, Offset page) {
  return page % sizeof(ReferencePage) == 0 && segment.holds(page, sizeof(ReferencePage)) &&
         chunk_owner(segment, page) == reference_owner(session);
}

// Calls visit(page offset, page) along a session's chain until it returns true; true when it did. Ends at a
// page that is no longer the session's (it ended meanwhile) and cannot be caught in a circle.
template <typename Visit>
bool visit_pages(const Segment& segment, SessionIndex session, Visit&& visit) {
  Offset page = first_page_of(segment.session(index_of(session)).references.load(std::memory_order_acquire));
  for (std::uint64_t steps = 0; page != 0 && steps < kMaxObjects; ++steps) {
    if (!is_page_of(segment, session, page)) return false;
    auto& at = *segment.at<ReferencePage>(page);
    if (visit(page, at)) return true;
    page = at.next.load(std::memory_order_acquire);
  }
  return false;
}

// Calls visit(ObjectId) for each reference of a session.
template <typename Visit>
void visit_references(const Segment& segment, SessionIndex session, Visit&& visit) {
  visit_pages(segment, session, [&](Offset, ReferencePage& page) {
    for (auto& cell : page.cells) {
      // SYNC POINT: reference: paired with the store of the cell in add_reference.
      if (Word id = cell.load(std::memory_order_seq_cst)) visit(ObjectId::from_word(id));
    }
    return false;
  });
}

// Calls visit(SessionIndex) for each session that may refer to objects. One under recovery still does: the
// locks it left may be waiting for their repair.
template <typename Visit>
void visit_sessions(const Segment& segment, Visit&& visit) {
  Word used = segment.header().sessions_used.load(std::memory_order_acquire);
  for (std::uint32_t index = 0; index < used && index < kMaxSessions; ++index) {
    Word state = segment.session(index).state.load(std::memory_order_acquire);
    if (static_cast<SessionState>(state & 0xff) != SessionState::kFree) visit(SessionIndex{index});
  }
}

// Where this thread added a reference last: free cells are likely to follow. Checked at each use.
thread_local Offset last_page = 0;

Offset take_cell(ReferencePage& page, Offset page_at, Word id) {
  for (auto& cell : page.cells) {
    Word free = 0;
    // SYNC POINT: reference: before the object's state is read.
    if (cell.load(std::memory_order_relaxed) == 0 && cell.compare_exchange_strong(free, id)) {
      return page_at + static_cast<Offset>(reinterpret_cast<std::byte*>(&cell) - reinterpret_cast<std::byte*>(&page));
    }
  }
  return 0;
}

// Takes a page, with the cell for `id` in it, and puts it first in the chain.
Status add_page(ThreadContext& me, SessionIndex session, Word id, Offset& cell) {
  Segment& segment = me.segment();
  AtomicWord& references = segment.session(index_of(session)).references;
  references.fetch_or(kMayOwnPages);  // before the page is taken: a death in between leaves pages to look for
  Offset page_at = 0;
  Status status = take_chunk(me, reference_owner(session), sizeof(ReferencePage), page_at);
  if (status != Status::kOk) return status;
  auto& page = *segment.at<ReferencePage>(page_at);
  for (auto& other : page.cells) other.store(0, std::memory_order_relaxed);
  page.cells[0].store(id, std::memory_order_relaxed);
  Word first = references.load(std::memory_order_relaxed);
  do {
    page.next.store(first_page_of(first), std::memory_order_relaxed);
  } while (!references.compare_exchange_weak(first, page_at | kMayOwnPages));
  last_page = page_at;
  cell = page_at + offsetof(ReferencePage, cells);
  return Status::kOk;
}

Status store_cell(ThreadContext& me, SessionIndex session, Word id, Offset& cell) {
  Segment& segment = me.segment();
  if (last_page != 0 && is_page_of(segment, session, last_page)) {
    cell = take_cell(*segment.at<ReferencePage>(last_page), last_page, id);
    if (cell != 0) return Status::kOk;
  }
  bool found = visit_pages(segment, session, [&](Offset page_at, ReferencePage& page) {
    cell = take_cell(page, page_at, id);
    if (cell != 0) last_page = page_at;
    return cell != 0;
  });
  return found ? Status::kOk : add_page(me, session, id, cell);
}

AtomicWord* find_cell(Segment& segment, SessionIndex session, Word id, Offset hint) {
  constexpr Offset kPageMask = ~Offset{sizeof(ReferencePage) - 1};
  if (hint % sizeof(Word) == 0 && (hint & kPageMask) != hint && is_page_of(segment, session, hint & kPageMask)) {
    auto* cell = segment.at<AtomicWord>(hint);
    if (cell->load(std::memory_order_relaxed) == id) return cell;
  }
  AtomicWord* found = nullptr;
  visit_pages(segment, session, [&](Offset, ReferencePage& page) {
    for (auto& cell : page.cells) {
      if (cell.load(std::memory_order_relaxed) == id) found = &cell;
    }
    return found != nullptr;
  });
  return found;
}

bool is_there(const Segment& segment, ObjectId id) {
  if (id.index == 0 || id.index >= segment.header().objects_committed.load(std::memory_order_acquire)) return false;
  const Word state = object_record(segment, id.index).state.load(std::memory_order_seq_cst);
  return object_is_live(state) && object_generation(state) == id.generation;
}

// True when the cell that this process has stored for the object counts; false when the object is gone. Each further
// round needs another step of the sweep: nobody waits here for a server that was stopped or died. See sweep.h.
// REQUIRES: is_there() was true; the cell was stored before.
bool reference_counts(const Segment& segment, ObjectId id) {
  AtomicWord& sweep = segment.header().sweep;
  const AtomicWord& state_word = object_record(segment, id.index).state;
  for (;;) {
    // SYNC POINT: condemned: paired with the store of kCondemned in the sweep.
    const Word state = state_word.load(std::memory_order_seq_cst);
    if (object_generation(state) != id.generation || !object_is_live(state)) return false;
    if (object_state(state) != ObjectState::kCondemned) return true;
    // SYNC POINT: epoch: paired with the sweep's opening and committing.
    Word seen = sweep.load(std::memory_order_seq_cst);
    switch (sweep_phase(seen)) {
      case SweepPhase::kOpen:
        if (!sweep.compare_exchange_strong(seen, sweep_word(sweep_epoch(seen), SweepPhase::kRescued, id.index)))
          continue;
        return is_there(segment, id);  // the epoch that condemned it may have been an earlier one
      case SweepPhase::kCommitted:
        // The state is older than the word: only when both are as they were does that epoch destroy this object.
        if (state_word.load(std::memory_order_seq_cst) != state || sweep.load(std::memory_order_seq_cst) != seen)
          continue;
        return false;
      default:
        return is_there(segment, id);  // later looks of the sweep see the cell
    }
  }
}

}  // namespace

Status add_reference(Segment& segment, ObjectId id, Offset* cell) {
  ThreadContext* me = segment.here();
  if (me == nullptr) return segment.join_failure();
  if (!is_there(segment, id)) return Status::kGone;
  Offset at = 0;
  Status status = store_cell(*me, segment.session_index(), id.word(), at);
  if (status != Status::kOk) return status;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!reference_counts(segment, id)) {
    segment.at<AtomicWord>(at)->store(0);
    return Status::kGone;
  }
  if (cell != nullptr) *cell = at;
  return Status::kOk;
}

void drop_reference(Segment& segment, ObjectId id, Offset cell) {
  if (!segment.joined()) return;
  for (;;) {
    AtomicWord* found = find_cell(segment, segment.session_index(), id.word(), cell);
    if (found == nullptr) return;
    Word expected = id.word();
    if (found->compare_exchange_strong(expected, 0)) break;  // another thread dropped this one: look for the next
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // What has a name stays anyhow. SYNC POINT: unnamed.
  const ObjectRecord& record = object_record(segment, id.index);
  if ((load_word(record.name) & 0xff) == 0) segment.ring_bell();
}

void mark_referred(const Segment& segment, std::vector<bool>& referred) {
  auto count = static_cast<std::uint32_t>(segment.header().objects_committed.load(std::memory_order_acquire));
  if (referred.size() < count) referred.resize(count);
  visit_sessions(segment, [&](SessionIndex session) {
    visit_references(segment, session, [&](ObjectId id) {
      if (id.index >= referred.size() || id.index >= count) return;
      Word state = object_record(segment, id.index).state.load(std::memory_order_relaxed);
      if (object_generation(state) == id.generation) referred[id.index] = true;
    });
  });
}

std::vector<ObjectId> references_of(const Segment& segment, SessionIndex session) {
  std::vector<ObjectId> all;
  visit_references(segment, session, [&](ObjectId id) { all.push_back(id); });
  return all;
}

std::uint32_t count_references(const Segment& segment, ObjectId id) {
  std::uint32_t sessions = 0;
  visit_sessions(segment, [&](SessionIndex session) {
    bool refers = false;
    visit_references(segment, session, [&](ObjectId other) { refers = refers || other == id; });
    if (refers) ++sessions;
  });
  return sessions;
}

std::vector<std::uint32_t> count_all_references(const Segment& segment) {
  auto count = static_cast<std::uint32_t>(segment.header().objects_committed.load(std::memory_order_acquire));
  std::vector<std::uint32_t> sessions(count), last_session(count);
  visit_sessions(segment, [&](SessionIndex session) {
    std::uint32_t mark = index_of(session) + 1;
    visit_references(segment, session, [&](ObjectId id) {
      if (id.index >= count || last_session[id.index] == mark) return;
      Word state = object_record(segment, id.index).state.load(std::memory_order_relaxed);
      if (object_generation(state) != id.generation) return;
      last_session[id.index] = mark;
      ++sessions[id.index];
    });
  });
  return sessions;
}

void drop_all_references(ThreadContext& me, SessionIndex session) {
  Segment& segment = me.segment();
  AtomicWord& references = segment.session(index_of(session)).references;
  if (references.load(std::memory_order_acquire) == 0) return;
  // Unlinked first, so that nobody walks pages that are being given back; the mark goes when all are back.
  references.store(kMayOwnPages, std::memory_order_release);
  give_object(me, reference_owner(session).object());
  references.store(0, std::memory_order_release);
}

}  // namespace commonhold::shm
