#include "shm/value.h"

#include <cstring>

#include "shm/control_block.h"
#include "shm/futex.h"
#include "shm/gate.h"
#include "shm/lock_word.h"
#include "shm/read_undisturbed.h"
#include "shm/segment.h"
#include "shm/sleep_notice.h"
#include "shm/watch.h"

namespace commonhold::shm {
namespace {

constexpr int kUndisturbedTries = 8;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 32;

Word word_of(const void* in, std::size_t size) {
  Word word = 0;
  std::memcpy(&word, in, size);
  return word;
}

// The buffer that `version` names, nullptr when the control block does not name one.
std::byte* buffer_of(const ObjectAddress& where, const ValueControl& control, std::size_t size, Word version) {
  const Offset at = load_word(&control.buffers[version & 1]);
  const bool sound = size != 0 && at % 8 == 0 && where.segment->holds(at, round_up(size, 8));
  return sound ? where.segment->at<std::byte>(at) : nullptr;
}

// Calls read(buffer in force). kRetry: a writer came between.
template <typename Read>
Status read_once(const ObjectAddress& where, ValueControl& control, std::size_t size, Read&& read) {
  Word version = control.version.load(std::memory_order_seq_cst);  // SYNC POINT: large value visible
  const std::byte* buffer = buffer_of(where, control, size, version);
  if (buffer == nullptr) return Status::kCorrupt;
  read(buffer);
  // The words were loaded with acquire: if one is of a later version, so is this.
  return control.version.load(std::memory_order_relaxed) == version ? Status::kOk : Status::kRetry;
}

// Calls read(buffer in force) until no writer came between.
template <typename Read>
Status read_large(ThreadContext& me, const ObjectAddress& where, ValueControl& control, std::size_t size, Read&& read) {
  return read_undisturbed(me, control.writing, kUndisturbedTries,
                          [&] { return read_once(where, control, size, read); });
}

// REQUIRES: `writing` is held.
Status commit_large(const ObjectAddress& where, ValueControl& control, std::size_t size, const void* in) {
  Word next = control.version.load(std::memory_order_relaxed) + 1;
  std::byte* buffer = buffer_of(where, control, size, next);
  if (buffer == nullptr) return Status::kCorrupt;
  write_words(buffer, in, size);
  control.version.store(next,
                        std::memory_order_seq_cst);  // SYNC POINT: large value visible; before looking at `watched`
  return Status::kOk;
}

}  // namespace

Value::Value(const ObjectAddress& where)
    : where_(where), control_(where.segment->at<ValueControl>(where.control)), size_(load_word(&control_->size)) {
  if (size_ > kMaxBytes) size_ = 0;
}

std::size_t Value::size() const {
  return size_;
}
AtomicWord& Value::word() const {
  return control_->word;
}
LockWord& Value::user_lock() const {
  return control_->user_lock;
}

void Value::changed() const {
  if (control_->watched.load(std::memory_order_seq_cst) == 0) [[likely]]
    return;  // SYNC POINT: watched
  tell_watching(*where_.segment->at<AtomicWord>(where_.segment->offset_of(&control_->watched)), control_->changes);
}

Status Value::load(ThreadContext& me, void* out) const {
  if (size_ <= 8) {
    Word word = control_->word.load(std::memory_order_seq_cst);
    std::memcpy(out, &word, size_);
    return Status::kOk;
  }
  return read_large(me, where_, *control_, size_, [&](const std::byte* buffer) { read_words(out, buffer, size_); });
}

Status Value::store(ThreadContext& me, const void* in) const {
  if (size_ <= 8) {
    control_->word.exchange(word_of(in, size_), std::memory_order_seq_cst);
  } else {
    HeldLock held(me, control_->writing);
    Status status = commit_large(where_, *control_, size_, in);
    if (status != Status::kOk) return status;
  }
  changed();
  return Status::kOk;
}

Status Value::exchange(ThreadContext& me, const void* in, void* out) const {
  if (size_ <= 8) {
    Word before = control_->word.exchange(word_of(in, size_), std::memory_order_seq_cst);
    std::memcpy(out, &before, size_);
  } else {
    HeldLock held(me, control_->writing);
    const std::byte* now = buffer_of(where_, *control_, size_, control_->version.load(std::memory_order_relaxed));
    if (now == nullptr) return Status::kCorrupt;
    read_words(out, now, size_);
    Status status = commit_large(where_, *control_, size_, in);
    if (status != Status::kOk) return status;
  }
  changed();
  return Status::kOk;
}

Status Value::compare_exchange(ThreadContext& me, void* expected, const void* desired) const {
  if (size_ <= 8) {
    Word before = word_of(expected, size_);
    if (!control_->word.compare_exchange_strong(before, word_of(desired, size_), std::memory_order_seq_cst)) {
      std::memcpy(expected, &before, size_);
      return Status::kMismatch;
    }
  } else {
    HeldLock held(me, control_->writing);
    const std::byte* now = buffer_of(where_, *control_, size_, control_->version.load(std::memory_order_relaxed));
    if (now == nullptr) return Status::kCorrupt;
    if (!equal_words(now, expected, size_)) {
      read_words(expected, now, size_);
      return Status::kMismatch;
    }
    Status status = commit_large(where_, *control_, size_, desired);
    if (status != Status::kOk) return status;
  }
  changed();
  return Status::kOk;
}

Status Value::wait_change(ThreadContext& me, const void* seen, Deadline deadline) const {
  const SleepNotice notice(me, control_->changes);  // for the death of a writer between the change and the wake-up
  for (;;) {
    std::uint32_t before = control_->changes.load(std::memory_order_seq_cst);
    control_->watched.store(1, std::memory_order_seq_cst);  // SYNC POINT: watched; before the look at the value
    bool same = false;
    if (size_ <= 8) {
      same = control_->word.load(std::memory_order_seq_cst) == word_of(seen, size_);
    } else {
      Status status = read_large(me, where_, *control_, size_,
                                 [&](const std::byte* buffer) { same = equal_words(buffer, seen, size_); });
      if (status != Status::kOk) return status;
    }
    if (!same) return Status::kOk;
    if (deadline.passed()) return Status::kTimedOut;
    (void)futex_wait(control_->changes, before, deadline.left_ns(longest_sleep_ns()));
  }
}

Status Value::create(ThreadContext& me, std::uint32_t object, std::uint64_t bytes, Word initial, Offset& control) {
  if (bytes == 0 || bytes > kMaxBytes) return Status::kTooLarge;
  std::uint64_t buffer_bytes = bytes <= 8 ? 0 : round_up(bytes, 64);
  Offset at = 0;
  std::uint64_t all = sizeof(ValueControl) + 2 * buffer_bytes;
  Status status = take_control_block(me, object, all, at);
  if (status != Status::kOk) return status;
  auto* made = me.segment().at<ValueControl>(at);
  store_word(&made->size, bytes);
  if (bytes <= 8) {
    Word mask = bytes == 8 ? ~Word{0} : (Word{1} << 8 * bytes) - 1;
    store_word(&made->word, initial & mask);
  } else {
    store_word(&made->buffers[0], at + sizeof(ValueControl));
    store_word(&made->buffers[1], at + sizeof(ValueControl) + buffer_bytes);
  }
  control = at;
  return Status::kOk;
}

void Value::repair(ThreadContext&, const ObjectAddress&, LockWord&) {
  // Nothing to do: the version alone says which buffer is in force, and the other one may hold anything.
}

void Value::each_lock(const ObjectAddress& where, void* context, void (*visit)(void* context, LockWord& word)) {
  auto* control = where.segment->at<ValueControl>(where.control);
  visit(context, control->writing);
  visit(context, control->user_lock);
}

}  // namespace commonhold::shm
