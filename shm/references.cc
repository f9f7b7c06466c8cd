#include "shm/references.h"

#include <errno.h>
#include <fcntl.h>

#include <cstddef>

#include "shm/extents.h"
#include "shm/in_flight.h"
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
  if (page == own_page(segment, session)) return true;
  return page % sizeof(ReferencePage) == 0 && segment.holds(page, sizeof(ReferencePage)) &&
         chunk_owner(segment, page) == reference_owner(session);
}

// Calls visit(page offset, page) for a session's own page and along its chain until it returns true; true when it did.
// Ends at a page that is no longer the session's (it ended meanwhile), and where a cycle would have led it round.
template <typename Visit>
bool visit_pages(const Segment& segment, SessionIndex session, Visit&& visit) {
  const Offset own = own_page(segment, session);
  if (visit(own, *segment.at<ReferencePage>(own))) return true;
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
  const std::uint32_t used = segment.sessions_used();
  for (std::uint32_t index = 0; index < used; ++index) {
    Word state = segment.session(index).state.load(std::memory_order_acquire);
    if (session_state(state) != SessionState::kFree) visit(SessionIndex{index});
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

// REQUIRES: the page belongs to the session and is not linked.
void link_page(Segment& segment, SessionIndex session, Offset page_at) {
  AtomicWord& references = segment.session(index_of(session)).references;
  auto& page = *segment.at<ReferencePage>(page_at);
  for (auto& cell : page.cells) cell.store(0, std::memory_order_relaxed);
  Word first = references.load(std::memory_order_relaxed);
  do {
    page.next.store(first_page_of(first), std::memory_order_relaxed);
  } while (!references.compare_exchange_weak(first, page_at | kMayOwnPages));
}

// False: the session's pages are full.
bool store_cell(const Segment& segment, SessionIndex session, Word id, Offset& cell) {
  if (last_page != 0 && is_page_of(segment, session, last_page)) {
    cell = take_cell(*segment.at<ReferencePage>(last_page), last_page, id);
    if (cell != 0) return true;
  }
  return visit_pages(segment, session, [&](Offset page_at, ReferencePage& page) {
    cell = take_cell(page, page_at, id);
    if (cell != 0) last_page = page_at;
    return cell != 0;
  });
}

// A page of `pages` that still is the session's: they went if the session dropped all that it had.
bool take_spare(const Segment& segment, SessionIndex session, std::vector<Offset>& pages, Offset& page) {
  while (!pages.empty()) {
    page = pages.back();
    pages.pop_back();
    if (is_page_of(segment, session, page)) return true;
  }
  return false;
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
  if (id.index == 0 || id.index >= segment.committed_objects()) return false;
  const Word state = object_record(segment, id.index).state.load(std::memory_order_seq_cst);
  return object_is_live(state) && object_generation(state) == id.generation;
}

}  // namespace

// Each further round needs another step of the sweep: nobody waits here for a server that was stopped or died. See
// sweep.h.
bool confirm_reference(const Segment& segment, ObjectId id) {
  if (!is_there(segment, id)) return false;
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

bool back_references(const Segment& segment, SessionIndex session) {
  if (index_of(session) + 1 < kPagesBackedAtFirst) return true;
  const Offset page = own_page(segment, session) / kPage * kPage;
  int error;
  do {
    error = posix_fallocate(segment.memory_fd(), static_cast<off_t>(page), kPage);
  } while (error == EINTR);
  return error == 0;
}

bool has_references(const Segment& segment, SessionIndex session) {
  return visit_pages(segment, session, [](Offset, ReferencePage& page) {
    for (auto& cell : page.cells) {
      if (cell.load(std::memory_order_relaxed) != 0) return true;
    }
    return false;
  });
}

std::size_t pages_for_copy(const Segment& segment, SessionIndex session) {
  if (segment.session(index_of(session)).references.load(std::memory_order_relaxed) == 0) return 0;
  std::size_t count = 0;
  visit_references(segment, session, [&](ObjectId) { ++count; });
  return count <= kCellsPerPage ? 0 : (count - 1) / kCellsPerPage;
}

Status take_reference_page(ThreadContext& me, Deadline deadline, Offset& page) {
  const SessionIndex session = me.segment().session_index();
  // Before the page is taken: a death in between leaves pages to look for.
  me.segment().session(index_of(session)).references.fetch_or(kMayOwnPages);
  return take_chunk_in_time(me, reference_owner(session), sizeof(ReferencePage), deadline, page);
}

bool copy_references(Segment& segment, SessionIndex from, SessionIndex to, std::vector<Offset>& pages) {
  Offset page_at = own_page(segment, to);
  std::uint32_t used = 0;
  bool fits = true;
  visit_references(segment, from, [&](ObjectId id) {
    if (used == kCellsPerPage && fits) {
      fits = take_spare(segment, from, pages, page_at);
      if (!fits) return;
      segment.session(index_of(to)).references.fetch_or(kMayOwnPages);
      pass_chunk(segment, page_at, reference_owner(to));
      link_page(segment, to, page_at);
      used = 0;
    }
    if (fits) segment.at<ReferencePage>(page_at)->cells[used++].store(id.word(), std::memory_order_seq_cst);
  });
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // SYNC POINT: epoch: a sweep that begins later sees the copies.
  if (sweep_phase(segment.header().sweep.load(std::memory_order_seq_cst)) == SweepPhase::kIdle) return fits;
  visit_references(segment, to, [&](ObjectId id) { (void)confirm_reference(segment, id); });
  return fits;
}

void clear_references(Segment& segment, SessionIndex session) {
  for (auto& cell : segment.at<ReferencePage>(own_page(segment, session))->cells) {
    cell.store(0, std::memory_order_relaxed);
  }
  segment.session(index_of(session)).references.store(0, std::memory_order_relaxed);
}

Status try_add_reference(Segment& segment, ObjectId id, Offset* cell) {
  if (!segment.joined()) return segment.join_failure();
  if (!is_there(segment, id)) return Status::kGone;
  Offset at = 0;
  if (!store_cell(segment, segment.session_index(), id.word(), at)) return Status::kRetry;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!confirm_reference(segment, id)) {
    segment.at<AtomicWord>(at)->store(0);
    return Status::kGone;
  }
  if (cell != nullptr) *cell = at;
  return Status::kOk;
}

Status add_reference_page(Segment& segment) {
  ThreadContext* me = segment.here();
  if (me == nullptr) return segment.join_failure();
  Offset page = 0;
  const Status status = take_reference_page(*me, Deadline::never(), page);
  if (status != Status::kOk) return status;
  link_page(segment, segment.session_index(), page);
  last_page = page;
  return Status::kOk;
}

Status add_reference(Segment& segment, ObjectId id, Offset* cell) {
  if (segment.here() == nullptr) return segment.join_failure();
  for (;;) {
    Status status = try_add_reference(segment, id, cell);
    if (status != Status::kRetry) return status;
    status = add_reference_page(segment);  // which others may fill at once
    if (status != Status::kOk) return status;
  }
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
  if ((load_word(record.name) & 0xff) == 0) segment.note_garbage();
}

void mark_referred(const Segment& segment, std::vector<bool>& referred) {
  const std::uint32_t count = segment.committed_objects();
  if (referred.size() < count) referred.resize(count);
  mark_in_flight(segment, referred);
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
  const std::uint32_t count = segment.committed_objects();
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
  for (auto& cell : segment.at<ReferencePage>(own_page(segment, session))->cells) {
    if (cell.load(std::memory_order_relaxed) != 0) cell.store(0, std::memory_order_release);
  }
  const bool has_pages = references.load(std::memory_order_acquire) != 0;
  // Unlinked first, so that nobody walks pages that are being given back; the mark goes when all are back.
  if (has_pages) references.store(kMayOwnPages, std::memory_order_release);
  // Whether it had any or not: who was at this before may have died here.
  segment.note_garbage();
  if (!has_pages) return;
  give_object(me, reference_owner(session).object());
  references.store(0, std::memory_order_release);
}

}  // namespace commonhold::shm
