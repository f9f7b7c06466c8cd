#include "shm/object_table.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "shm/extents.h"
#include "shm/object_types.h"
#include "shm/thread_context.h"

namespace commonhold::shm {

namespace {

constexpr std::uint32_t kFirstObject = 1;  // 0 would make the chunk owner 0, which is nobody
constexpr std::uint32_t kRecordsPerStep = kExtent / sizeof(ObjectRecord);

// Backs more records with memory: fallocate first, then one store. An eighth more each time, so that the
// searches for a free record before it stay cheap on average.
Status commit_records(Segment& segment) {
  std::uint32_t committed = segment.committed_objects();
  if (committed >= kMaxObjects) return Status::kTooMany;
  std::uint32_t more = std::max(kRecordsPerStep, committed / 8 / kRecordsPerStep * kRecordsPerStep);
  std::uint32_t wanted = std::min(kMaxObjects, committed + more);
  std::uint64_t from = segment.tables().objects + committed * sizeof(ObjectRecord);
  int error;
  do {
    error = posix_fallocate(segment.memory_fd(), static_cast<off_t>(from),
                            static_cast<off_t>((wanted - committed) * sizeof(ObjectRecord)));
  } while (error == EINTR);
  if (error != 0) return error == EBADF ? Status::kNoFile : Status::kOutOfMemory;
  for (std::uint32_t i = committed; i < wanted; i += kPage / sizeof(ObjectRecord)) {
    object_record(segment, i).state.fetch_or(0, std::memory_order_relaxed);  // see Segment::is_backed
  }
  segment.header().objects_committed.store(wanted, std::memory_order_release);
  return Status::kOk;
}

// A free record at or behind `from`, else before it; 0 for none.
std::uint32_t free_record(const Segment& segment, std::uint32_t from) {
  std::uint32_t committed = segment.committed_objects();
  auto is_free = [&](std::uint32_t index) {
    return object_state(object_record(segment, index).state.load(std::memory_order_relaxed)) == ObjectState::kFree;
  };
  from = std::clamp(from, kFirstObject, std::max(kFirstObject, committed));
  for (std::uint32_t index = from; index < committed; ++index) {
    if (is_free(index)) return index;
  }
  for (std::uint32_t index = kFirstObject; index < from; ++index) {
    if (index < committed && is_free(index)) return index;
  }
  return 0;
}

Word real_time_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<Word>(now.tv_sec) * 1'000'000'000 + static_cast<Word>(now.tv_nsec);
}

// Text of a record with its NUL. The first word, with the first byte, is written last, so that nobody takes a
// part of a name for a name.
void write_text(char* field, std::string_view text, std::size_t field_bytes) {
  char padded[kMaxSignatureBytes + 1] = {};
  text.copy(padded, field_bytes - 1);
  write_words(field + 8, padded + 8, field_bytes - 8);
  write_words(field, padded, 8);
}

std::string read_text(const char* field, std::size_t field_bytes) {
  char copy[kMaxSignatureBytes + 1];
  read_words(copy, field, field_bytes);
  copy[field_bytes - 1] = '\0';
  return copy;
}

bool name_is(const ObjectRecord& record, std::string_view name) {
  char first = static_cast<char>(load_word(record.name) & 0xff);  // most records differ here
  return first == name.front() && read_text(record.name, sizeof record.name) == name;
}

// What a record says of its control block must be so.
bool is_control_of(const Segment& segment, std::uint32_t index, Offset control) {
  return control % 8 == 0 && chunk_owner(segment, control) == ChunkOwner(index, kControlArena);
}

void set_state(ObjectRecord& record, ObjectState state, Word now) {
  record.state.store(object_state_word(state, object_kind(now), object_generation(now)));
}

}  // namespace

const char* to_string(ObjectKind kind) {
  const ObjectType* type = object_type(kind);
  return type != nullptr ? type->name : kind == ObjectKind::kNone ? "none" : "unknown kind";
}

Status create_object(ThreadContext& me, const ObjectPlan& plan, ObjectId& created, ObjectIndexHint* hint) {
  Segment& segment = me.segment();
  if (plan.name.size() > kMaxNameBytes || plan.signature.size() > kMaxSignatureBytes) return Status::kTooLarge;
  const ObjectType* type = object_type(plan.kind);
  if (type == nullptr) return Status::kNotFound;
  ObjectId other;
  if (!plan.name.empty() && (hint == nullptr || !hint->name_is_free) &&
      find_object(segment, plan.name, other) == Status::kOk) {
    return Status::kExists;
  }
  std::uint32_t index = free_record(segment, hint != nullptr ? hint->search_from : kFirstObject);
  if (index == 0) {
    const std::uint32_t before = segment.committed_objects();
    Status status = commit_records(segment);
    if (status != Status::kOk) return status;
    // Free ones, unless the number of those before was garbage.
    if ((index = free_record(segment, before)) == 0) return Status::kCorrupt;
  }

  ObjectRecord& record = object_record(segment, index);
  Word free = record.state.load(std::memory_order_relaxed);
  write_text(record.name, plan.name, sizeof record.name);
  write_text(record.signature, plan.signature, sizeof record.signature);
  record.held_inside.store(0, std::memory_order_relaxed);
  record.refers.store(0, std::memory_order_relaxed);
  record.stored.store(0, std::memory_order_relaxed);
  record.created_ns.store(real_time_ns(), std::memory_order_relaxed);
  for (unsigned i = 0; i < kArguments; ++i) record.arguments[i].store(plan.arguments[i], std::memory_order_relaxed);
  Offset control = 0;
  Status status = type->create(me, index, plan, control);
  if (status != Status::kOk) {
    give_object(me, index);
    return status;
  }
  record.control.store(control, std::memory_order_relaxed);
  std::uint32_t generation = object_generation(free) + 1;
  if (generation == 0) generation = 1;
  record.state.store(object_state_word(ObjectState::kLive, plan.kind, generation), std::memory_order_release);
  created = {index, generation};
  if (hint != nullptr) hint->search_from = index + 1;
  return Status::kOk;
}

void destroy_object(ThreadContext& me, ObjectId id) {
  Segment& segment = me.segment();
  if (id.index < kFirstObject || id.index >= segment.committed_objects()) return;
  ObjectRecord& record = object_record(segment, id.index);
  Word now = record.state.load(std::memory_order_acquire);
  if (!object_is_live(now) || object_generation(now) != id.generation) return;
  set_state(record, ObjectState::kDestroying, now);
  give_object(me, id.index);
  set_state(record, ObjectState::kFree, now);
}

Status name_object(ThreadContext& me, ObjectId id, std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes) return Status::kTooLarge;
  if (object_control(me.segment(), id) == 0) return Status::kGone;
  ObjectRecord& record = object_record(me.segment(), id.index);
  if (load_word(record.name) != 0) return Status::kExists;
  // A reader may still be copying the bytes of a former name, and would get a part of each. The same bytes are what a
  // server wrote that died here.
  char padded[sizeof record.name] = {};
  name.copy(padded, sizeof padded - 1);
  for (std::size_t at = sizeof(Word); at < sizeof padded; at += sizeof(Word)) {
    if (load_word(record.name + at) != 0 && !equal_words(record.name + at, padded + at, sizeof(Word))) {
      return Status::kExists;
    }
  }
  // The commit point is the store of the first word: a name without a first byte is none.
  write_text(record.name, name, sizeof record.name);
  return Status::kOk;
}

Status unname_object(ThreadContext& me, std::string_view name) {
  ObjectId id;
  Status status = find_object(me.segment(), name, id);
  return status == Status::kOk ? unname_object(me, id) : status;
}

Status unname_object(ThreadContext& me, ObjectId id) {
  if (object_control(me.segment(), id) == 0) return Status::kGone;
  ObjectRecord& record = object_record(me.segment(), id.index);
  // The commit point: a name without a first byte is none.
  // SYNC POINT: unnamed: the sweep that follows sees dropped cells, or who drops a cell sees that the name is
  // gone.
  reinterpret_cast<AtomicWord*>(record.name)->store(0, std::memory_order_seq_cst);
  return Status::kOk;
}

Status find_object(const Segment& segment, std::string_view name, ObjectId& found) {
  if (name.empty()) return Status::kNotFound;
  std::uint32_t count = segment.committed_objects();
  for (std::uint32_t index = kFirstObject; index < count; ++index) {
    const ObjectRecord& record = object_record(segment, index);
    Word state = record.state.load(std::memory_order_acquire);
    if (!object_is_live(state) || !name_is(record, name)) continue;
    std::atomic_thread_fence(std::memory_order_acquire);
    Word still = record.state.load(std::memory_order_relaxed);
    if (!object_is_live(still) || object_generation(still) != object_generation(state)) continue;
    found = {index, object_generation(state)};
    return Status::kOk;
  }
  return Status::kNotFound;
}

Offset object_control(const Segment& segment, ObjectId id, ObjectKind* kind) {
  if (id.index < kFirstObject || id.index >= segment.committed_objects()) return 0;
  const ObjectRecord& record = object_record(segment, id.index);
  Word state = record.state.load(std::memory_order_acquire);
  if (!object_is_live(state) || object_generation(state) != id.generation) return 0;
  Offset control = record.control.load(std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_acquire);
  // The record may have been taken for another object while we looked.
  Word still = record.state.load(std::memory_order_relaxed);
  if (!object_is_live(still) || object_generation(still) != id.generation) return 0;
  if (kind != nullptr) *kind = object_kind(still);
  return is_control_of(segment, id.index, control) ? control : 0;
}

Status object_info(const Segment& segment, std::uint32_t index, ObjectInfo& info) {
  if (index < kFirstObject || index >= segment.committed_objects()) return Status::kGone;
  const ObjectRecord& record = object_record(segment, index);
  Word state = record.state.load(std::memory_order_acquire);
  if (!object_is_live(state)) return Status::kGone;
  info.id = {index, object_generation(state)};
  info.kind = object_kind(state);
  info.name = read_text(record.name, sizeof record.name);
  info.signature = read_text(record.signature, sizeof record.signature);
  info.control = record.control.load(std::memory_order_relaxed);
  info.held_inside = record.held_inside.load(std::memory_order_relaxed);
  info.created_ns = record.created_ns.load(std::memory_order_relaxed);
  for (unsigned i = 0; i < kArguments; ++i) info.arguments[i] = record.arguments[i].load(std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_acquire);
  Word still = record.state.load(std::memory_order_relaxed);
  if (!object_is_live(still) || object_generation(still) != object_generation(state)) return Status::kGone;
  return is_control_of(segment, index, info.control) ? Status::kOk : Status::kCorrupt;
}

void give_objects(ThreadContext& me, const std::vector<bool>& ending) {
  Segment& segment = me.segment();
  auto is_ending = [&](ChunkOwner owner) { return owner && owner.object() < ending.size() && ending[owner.object()]; };
  // What is ending belongs to nobody else, so its entries stay as they are while we look without the lock.
  std::vector<std::pair<Offset, std::uint64_t>> chunks;
  std::uint64_t committed = segment.committed_extents();
  for (std::uint64_t e = 0; e < committed; ++e) {
    Word word = extent_entry(segment, e).load(std::memory_order_acquire);
    if (extent_kind(word) == ExtentKind::kWhole && is_ending(extent_owner(word))) {
      chunks.emplace_back(extent_offset(segment, e), kExtent);
    }
    if (extent_kind(word) != ExtentKind::kSplit || extent_granules(word) == 0) continue;
    for (std::uint32_t g = 0; g < kGranulesPerExtent; g += extent_granules(word)) {
      if (is_ending(ChunkOwner(granule_entry(segment, e, g).load(std::memory_order_acquire)))) {
        chunks.emplace_back(extent_offset(segment, e) + g * kGranule, extent_granules(word) * kGranule);
      }
    }
  }
  for (auto& [offset, bytes] : chunks) give_chunk(me, offset, bytes);
}

}  // namespace commonhold::shm
