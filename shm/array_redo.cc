#include "shm/array_redo.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "shm/array_bytes.h"
#include "shm/barrier_everywhere.h"
#include "shm/liveness.h"
#include "shm/segment.h"
#include "shm/spin.h"
#include "shm/thread_context.h"

namespace commonhold::shm {
namespace {

constexpr std::size_t kPiece = 512;
constexpr int kSpins = 1000;
constexpr std::chrono::microseconds kNap{50};
constexpr std::chrono::milliseconds kDeathCheck{20};

// Where this process may not make barriers for others: for so long no processor keeps a store from the others.
constexpr std::chrono::milliseconds kStoresArrive{1};

}  // namespace

Status ArrayRedo::read(const Segment& segment, const ArrayControl& control, Word word, std::uint64_t data_bytes,
                       ArrayRedo& redo) {
  const Offset scratch = word & ~kRedoKind;
  redo.kind = word & kRedoKind;
  redo.at = load_word(&control.redo_at), redo.bytes = load_word(&control.redo_bytes);
  redo.element = load_word(&control.redo_element);
  if (redo.kind != kRedoCopy && redo.kind != kRedoFill) return Status::kCorrupt;
  const std::uint64_t needs = redo.kind == kRedoFill ? redo.element : redo.bytes;
  if (redo.at > data_bytes || redo.bytes > data_bytes - redo.at || redo.element == 0) return Status::kCorrupt;
  if (redo.element > redo.bytes || scratch % 8 != 0) return Status::kCorrupt;
  if (!segment.holds(scratch, round_up(needs, 8))) return Status::kCorrupt;
  redo.from = segment.at<std::byte>(scratch);
  return Status::kOk;
}

void ArrayRedo::put_over(std::byte* out, std::uint64_t first, std::uint64_t size) const {
  const std::uint64_t begin = std::max(first, at), end = std::min(first + size, at + bytes);
  if (begin >= end) return;
  if (kind == kRedoCopy) {
    get_bytes(out + (begin - first), from + (begin - at), end - begin);
  } else {
    get_repeated(out + (begin - first), from, element, begin - at, end - begin);
  }
}

void ArrayRedo::apply(std::byte* data) const {
  std::byte piece[kPiece];
  const std::uint64_t last = at + bytes, whole = element > kPiece ? kPiece : kPiece - kPiece % element;
  const bool same = kind == kRedoFill && element <= kPiece;  // each piece
  if (same) put_over(piece, at, std::min(whole, bytes));
  for (std::uint64_t first = at; first < last;) {
    const std::uint64_t now = std::min(last - first, whole);
    if (!same) put_over(piece, first, now);
    put_bytes(data + first, piece, now);
    first += now;
  }
}

Status wait_for_element_changes(ThreadContext& me, Offset from, Offset to, Deadline deadline, std::uint32_t& thread) {
  if (!barrier_everywhere()) std::this_thread::sleep_for(kStoresArrive);  // SYNC POINT: element stores
  Segment& segment = me.segment();
  const std::uint32_t threads = segment.threads_used();
  for (std::uint32_t i = 0; i < threads; ++i) {
    const ThreadRecord& record = segment.thread(i);
    const auto busy = [&] {
      const Word at = record.storing.load(std::memory_order_seq_cst);
      return at >= from && at < to;
    };
    Deadline check = Deadline::after(kDeathCheck);
    for (int spins = 0; busy() && i != me.index(); ++spins) {
      if (looks_again(spins, kSpins)) {
        relax();
        continue;
      }
      if (check.passed()) {
        // A slot that is nobody's is damaged; a dead thread stores no more.
        const Word claim = record.claim.load(std::memory_order_acquire);
        if ((claim & 0xffff'ffff) == 0) break;
        if (owner_is_dead(segment, lock_owner(i, static_cast<std::uint32_t>(claim >> 32)))) break;
        check = Deadline::after(kDeathCheck);
      }
      if (deadline.passed()) {
        thread = i;
        return Status::kTimedOut;
      }
      std::this_thread::sleep_for(kNap);
    }
  }
  return Status::kOk;
}

}  // namespace commonhold::shm
