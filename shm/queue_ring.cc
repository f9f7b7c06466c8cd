#include "shm/queue_ring.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "shm/control_block.h"
#include "shm/extents.h"
#include "shm/links.h"
#include "shm/words.h"

namespace commonhold::shm {

namespace {

constexpr std::uint64_t kSmallChunk = kGranule, kUsualChunk = 16 * kGranule, kLargeChunk = 64 * kGranule;
constexpr std::uint64_t kMostFixed = 2048;  // larger ones have a header, and a chunk of their own
constexpr Word kSpareChunks = 2;            // left behind and kept for use
constexpr int kGivenAtOnce = 4;

// Small for queues that cannot hold much.
std::uint64_t chunk_bytes_for(std::uint64_t item_bytes, std::uint64_t limit) {
  std::uint64_t usual = item_bytes > 128 ? kLargeChunk : kUsualChunk;
  std::uint64_t least = item_bytes == 0 ? 4 * kGranule : kSmallChunk;
  std::uint64_t one = item_bytes == 0 ? 128 : round_up(item_bytes, 8);
  if (limit >= usual / one) return usual;
  return std::clamp(std::bit_ceil(limit * one + sizeof(ChunkTrailer)), least, usual);
}

}  // namespace

QueueRing::QueueRing(const ObjectAddress& where)
    : where_(where),
      control_(where.segment->at<QueueControl>(where.control)),
      item_bytes_(load_word(&control_->item_bytes)),
      stride_(round_up(item_bytes_, 8)),
      limit_(load_word(&control_->limit)),
      chunk_bytes_(load_word(&control_->chunk_bytes)) {
  sound_ = std::has_single_bit(chunk_bytes_) && chunk_bytes_ >= kSmallChunk && chunk_bytes_ <= kLargeChunk &&
           item_bytes_ <= kMostFixed && stride_ <= chunk_bytes_ - sizeof(ChunkTrailer);
  if (!sound_) return;
  usable_ = chunk_bytes_ - sizeof(ChunkTrailer);
  if (stride_ != 0) usable_ = usable_ / stride_ * stride_;
}

Offset QueueRing::next_of(Offset at) const {
  Offset next = trailer(chunk_of(at)).next.load(std::memory_order_acquire);
  return next != 0 && next % chunk_bytes_ == 0 && segment().holds(next, chunk_bytes_) ? next : 0;
}

Status QueueRing::find_item(Offset at, ItemPlace& item) const {
  if (!is_position(at)) return Status::kCorrupt;
  if (at == end_of(at) || (stride_ == 0 && load_word(segment().at<Word>(at)) == kSkipRest)) {
    at = next_of(at);
    if (at == 0) return Status::kCorrupt;
  }
  if (stride_ != 0) {
    item = {at, at + stride_, item_bytes_, ItemKind::kNull, false};
    return Status::kOk;
  }
  Word header = load_word(segment().at<Word>(at));
  item.size = item_size(header);
  item.kind = static_cast<ItemKind>(header >> 56);
  item.large = (header & kLargeItem) != 0;
  std::uint64_t bytes = item.large ? sizeof(Word) : round_up(item.size, 8);
  if (header == kSkipRest || bytes > usable_ || at + sizeof(Word) + bytes > end_of(at)) return Status::kCorrupt;
  item.after = at + sizeof(Word) + bytes;
  item.at = at + sizeof(Word);
  if (!item.large) return Status::kOk;
  item.at = load_word(segment().at<Word>(item.at));
  return item.at % 8 == 0 && item.size <= kMaxItemBytes && segment().holds(item.at, round_up(item.size, 8))
             ? Status::kOk
             : Status::kCorrupt;
}

// ---- chunks

Status QueueRing::take_ring_chunk(ThreadContext& me, Word taken, Offset& chunk) const {
  Offset oldest = control_->oldest.load(std::memory_order_relaxed);
  if (oldest % chunk_bytes_ != 0 || !segment().holds(oldest, chunk_bytes_)) return Status::kCorrupt;
  if (oldest != chunk_of(cursor_at(taken))) {
    Offset second = next_of(oldest);
    if (second == 0) return Status::kCorrupt;
    control_->oldest.store(second, std::memory_order_release);
    chunk = oldest;
    return Status::kOk;
  }
  return take_chunk(me, ChunkOwner(where_.object, kRingArena), chunk_bytes_, chunk);
}

Status QueueRing::next_chunk(ThreadContext& me, Offset& at) const {
  Offset now = chunk_of(at);
  Offset next = trailer(now).next.load(std::memory_order_relaxed);
  if (next == 0) {
    Word taken = reclaim(me);
    Status status = take_ring_chunk(me, taken, next);
    if (status != Status::kOk) return status;
    trailer(next).next.store(0, std::memory_order_relaxed);
    trailer(next).ordinal.store(trailer(now).ordinal.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    trailer(now).next.store(next, std::memory_order_release);
  } else if ((next = next_of(at)) == 0) {
    return Status::kCorrupt;
  }
  at = next;
  return Status::kOk;
}

Status QueueRing::append(ThreadContext& me, Offset& at, const Item& item) const {
  if (item.size > kMaxItemBytes) return Status::kTooLarge;
  if (stride_ == 0) note_links(segment(), where_.object, item);
  bool large = stride_ == 0 && item.size > inline_limit();
  std::uint64_t bytes = stride_ != 0 ? stride_ : sizeof(Word) + (large ? sizeof(Word) : round_up(item.size, 8));
  if (stride_ != 0 && item.size != item_bytes_) return Status::kMismatch;
  if (at + bytes > end_of(at)) {
    if (stride_ == 0 && at != end_of(at)) store_word(segment().at<Word>(at), kSkipRest);
    Status status = next_chunk(me, at);
    if (status != Status::kOk) return status;
  }
  fetch_ahead(at);
  if (stride_ != 0) {
    write_words(segment().at<std::byte>(at), item.data, item.size);
  } else if (!large) {
    store_word(segment().at<Word>(at), item_header(static_cast<std::uint8_t>(item.kind), item.size));
    write_words(segment().at<std::byte>(at + sizeof(Word)), item.data, item.size);
  } else {
    control_->has_large.store(1, std::memory_order_relaxed);
    Offset chunk = 0;
    const ChunkOwner owner(where_.object, kLargeArena);
    // Items are read under the consumers' lock, and given back behind the cursor that moves under it.
    Status status = take_chunk(me, owner, item.size, chunk, LateReaders::kNone);
    if (status == Status::kOutOfMemory) {
      (void)reclaim(me);  // what consumers have left may be what is missing
      status = take_chunk(me, owner, item.size, chunk, LateReaders::kNone);
    }
    if (status != Status::kOk) return status;
    write_words(segment().at<std::byte>(chunk), item.data, item.size);
    store_word(segment().at<Word>(at), item_header(static_cast<std::uint8_t>(item.kind), item.size) | kLargeItem);
    store_word(segment().at<Word>(at) + 1, chunk);
  }
  at += bytes;
  return Status::kOk;
}

void QueueRing::reclaim_large(ThreadContext& me, Word taken) const {
  Word from = control_->reclaim_cursor.load(std::memory_order_relaxed);
  if (control_->has_large.load(std::memory_order_relaxed) != 0) {
    (void)each_item(cursor_at(from), cursor_at(taken), [&](const ItemPlace& item) {
      if (item.large) give_chunk(me, item.at, item.size);
      // Item by item: a death leaves at most one that is given back already, and repair knows who owns what.
      control_->reclaim_cursor.store(cursor_word(item.after, 0), std::memory_order_release);
    });
  } else {
    control_->reclaim_cursor.store(taken, std::memory_order_release);
  }
}

Word QueueRing::reclaim(ThreadContext& me) const {
  // SYNC POINT: chunk left: consumers are past it, and never come back. Read once, so that reclaim_cursor never stays
  // in a chunk that is used again.
  Word taken = control_->get_cursor.load(std::memory_order_acquire);
  Offset reading = chunk_of(cursor_at(taken));
  if (!segment().holds(reading, chunk_bytes_)) return taken;
  if (stride_ == 0) reclaim_large(me, taken);
  Word place = trailer(reading).ordinal.load(std::memory_order_relaxed);
  for (int given = 0; given < kGivenAtOnce; ++given) {
    Offset oldest = control_->oldest.load(std::memory_order_relaxed);
    if (oldest == reading || !segment().holds(oldest, chunk_bytes_)) break;
    if (place - trailer(oldest).ordinal.load(std::memory_order_relaxed) <= kSpareChunks) break;
    Offset second = next_of(oldest);
    if (second == 0) break;
    control_->oldest.store(second, std::memory_order_release);
    give_chunk(me, oldest, chunk_bytes_);
  }
  return taken;
}

// By count and not up to where the append that failed came: it may have gone on to a chunk that is used again and
// holds the headers of old items.
void QueueRing::undo_append(ThreadContext& me, Offset from, std::uint64_t count) const {
  if (stride_ != 0 || control_->has_large.load(std::memory_order_relaxed) == 0) return;
  for (ItemPlace item{0, from, 0, ItemKind::kNull, false}; count != 0; --count) {
    if (find_item(item.after, item) != Status::kOk) return;
    if (item.large) give_chunk(me, item.at, item.size);
  }
}

bool QueueRing::has_left_much() const {
  Offset reading = chunk_of(cursor_at(control_->get_cursor.load(std::memory_order_relaxed)));
  Offset oldest = control_->oldest.load(std::memory_order_relaxed);
  if (!segment().holds(oldest, chunk_bytes_) || !segment().holds(reading, chunk_bytes_)) return false;
  return trailer(reading).ordinal.load(std::memory_order_relaxed) -
             trailer(oldest).ordinal.load(std::memory_order_relaxed) >
         kSpareChunks + kGivenAtOnce;
}

// ---- after a death

Word QueueRing::caught_up(Word cursor, Word count) const {
  Offset at = cursor_at(cursor);
  for (Word behind = (count - cursor_count(cursor)) & kCursorCount; behind != 0; --behind) {
    ItemPlace item;
    if (find_item(at, item) != Status::kOk) return cursor;
    at = item.after;
  }
  return cursor_word(at, count);
}

void QueueRing::repair_getting() const {
  QueueControl& control = *control_;
  Word head = control.head.load(std::memory_order_acquire);
  Word cursor = control.get_cursor.load(std::memory_order_acquire);
  if (cursor_count(cursor) != (head & kCursorCount)) {
    control.get_cursor.store(caught_up(cursor, head), std::memory_order_release);
  }
}

void QueueRing::repair_putting(ThreadContext& me) const {
  QueueControl& control = *control_;
  Word tail = control.tail.load(std::memory_order_acquire);
  Word cursor = control.put_cursor.load(std::memory_order_acquire);
  if (cursor_count(cursor) != (tail & kCursorCount)) {
    cursor = caught_up(cursor, tail);
    control.put_cursor.store(cursor, std::memory_order_release);
  }
  Word taken = control.get_cursor.load(std::memory_order_acquire);
  std::vector<Owned> lost;
  if (!find_lost(taken, cursor, lost)) return;
  control.reclaim_cursor.store(taken, std::memory_order_release);
  for (auto& chunk : lost) give_chunk(me, chunk.at, chunk.bytes);
}

bool QueueRing::find_lost(Word taken, Word put, std::vector<Owned>& lost) const {
  std::vector<Offset> chain;
  Offset oldest = control_->oldest.load(std::memory_order_acquire);
  if (oldest % chunk_bytes_ != 0 || !segment().holds(oldest, chunk_bytes_)) return false;
  std::uint64_t most = segment().committed_extents() * (kExtent / chunk_bytes_);
  for (Offset chunk = oldest; chunk != 0 && chain.size() <= most; chunk = next_of(chunk)) chain.push_back(chunk);
  std::vector<std::pair<Offset, Offset>> kept;
  bool whole = each_item(cursor_at(taken), cursor_at(put), [&](const ItemPlace& item) {
    if (item.large) kept.emplace_back(item.at, item.at + chunk_size(item.size));
  });
  if (!whole) return false;
  std::sort(chain.begin(), chain.end());
  std::sort(kept.begin(), kept.end());
  for_each_chunk(segment(), ChunkOwner(where_.object, kRingArena), [&](Offset chunk, std::uint64_t bytes) {
    if (!std::binary_search(chain.begin(), chain.end(), chunk)) lost.push_back({chunk, bytes});
  });
  for_each_chunk(segment(), ChunkOwner(where_.object, kLargeArena), [&](Offset chunk, std::uint64_t bytes) {
    auto after = std::upper_bound(kept.begin(), kept.end(), std::pair(chunk, ~Offset{0}));
    if (after == kept.begin() || std::prev(after)->second <= chunk) lost.push_back({chunk, bytes});
  });
  return true;
}

std::string QueueRing::check(Word head, Word tail, std::uint64_t& lost_chunks) const {
  Word put = control_->put_cursor.load(std::memory_order_acquire);
  Word taken = control_->get_cursor.load(std::memory_order_acquire);
  if (cursor_count(put) != (tail & kCursorCount)) return "the producers' cursor does not stand at the tail";
  if (cursor_count(taken) != (head & kCursorCount)) return "the consumers' cursor does not stand at the head";
  Word items = 0;
  if (!is_position(cursor_at(taken)) || !is_position(cursor_at(put))) return "a cursor stands outside of the chain";
  if (!each_item(cursor_at(taken), cursor_at(put), [&](const ItemPlace&) { ++items; })) return "the chain breaks off";
  if (items != tail - head) return "the chain holds another number of items than the counts say";
  // Items that were taken but not yet reclaimed keep their chunks.
  Word from = control_->has_large.load(std::memory_order_relaxed) != 0
                  ? control_->reclaim_cursor.load(std::memory_order_relaxed)
                  : taken;
  std::vector<Owned> lost;
  if (!is_position(cursor_at(from)) || !find_lost(from, put, lost)) return "the chain behind the head breaks off";
  lost_chunks = lost.size();
  return {};
}

// ---- making one

Status QueueRing::create(ThreadContext& me, std::uint32_t object, std::uint64_t item_bytes, std::uint64_t limit,
                         Offset& control) {
  if (item_bytes > kMostFixed) item_bytes = 0;
  if (limit == 0) limit = ~Word{0};
  std::uint64_t chunk_bytes = chunk_bytes_for(item_bytes, limit);
  Offset at = 0, chunk = 0;
  Status status = take_control_block(me, object, sizeof(QueueControl), at);
  if (status != Status::kOk) return status;
  status = take_chunk(me, ChunkOwner(object, kRingArena), chunk_bytes, chunk);
  if (status != Status::kOk) return status;  // the caller gives the object's chunks back
  zero_words(me.segment().at<std::byte>(chunk + chunk_bytes - sizeof(ChunkTrailer)), sizeof(ChunkTrailer));
  auto* made = me.segment().at<QueueControl>(at);
  store_word(&made->mode, static_cast<Word>(QueueMode::kRing));
  store_word(&made->item_bytes, item_bytes);
  store_word(&made->limit, limit);
  store_word(&made->chunk_bytes, chunk_bytes);
  made->oldest.store(chunk, std::memory_order_relaxed);
  for (AtomicWord* cursor : {&made->put_cursor, &made->get_cursor, &made->reclaim_cursor}) {
    cursor->store(cursor_word(chunk, 0), std::memory_order_release);
  }
  control = at;
  return Status::kOk;
}

}  // namespace commonhold::shm
