// Every object of the segment: its type, name, type signature and control block.
//
// INVARIANT: a record's `state` is the commit point. kLive is stored last when an object is made; kDestroying is
// stored first when it is destroyed; chunks owned by a record that is neither live nor condemned are given back
// when the server next adopts the segment.
//
// The server alone creates, names, removes and destroys (under its exclusive lock); anybody may read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shm/layout.h"
#include "shm/segment.h"

namespace commonhold::shm {

enum class ObjectKind : std::uint8_t {
  kNone = 0,
  kDict = 1,
  kList = 2,
  kValue = 3,
  kArray = 4,
  kLock = 5,
  kRLock = 6,
  kSemaphore = 7,
  kCondition = 8,
  kEvent = 9,
  kBarrier = 10,
  kRwLock = 11,
  kQueue = 12,
  kPriorityQueue = 13,
  kNamespace = 14,
  kSet = 15,
  kCustom = 16,
};

const char* to_string(ObjectKind kind);

enum class ObjectState : std::uint8_t {
  kFree = 0,
  kLive = 1,
  kDestroying = 2,  // its memory is being given back
  kCondemned = 3,   // live, but the sweep found nobody who refers to it and looks again (sweep.h)
};

inline constexpr unsigned kArguments = 4;  // of a plan

struct ObjectRecord {
  AtomicWord state;    // ObjectState in bits 0-7, ObjectKind in 8-15, generation in 32-63
  AtomicWord control;  // offset of the control block
  AtomicWord
      held_inside;  // links to it that the server's last count found in containers: for people, nothing relies on it
  AtomicWord created_ns;  // CLOCK_REALTIME
  AtomicWord refers;      // 1: its items may link to other objects. Set before the first such item, never cleared
  AtomicWord stored;      // 1: some container's item may link to it. Set before the first such item, never cleared
  Word unused[2];
  char name[kMaxNameBytes + 1];            // NUL-terminated; empty for anonymous. Words are written by write_words
  char signature[kMaxSignatureBytes + 1];  // "dict<text,int64>"
  AtomicWord arguments[kArguments];        // of its plan: who opens it by name compares options (object_options.h)
  char spare[64];
};
static_assert(sizeof(ObjectRecord) == 512);

inline ObjectRecord& object_record(const Segment& segment, std::uint32_t index) {
  return segment.at<ObjectRecord>(segment.tables().objects)[index];
}
constexpr ObjectState object_state(Word word) {
  return static_cast<ObjectState>(word & 0xff);
}
constexpr bool object_is_live(Word word) {
  return object_state(word) == ObjectState::kLive || object_state(word) == ObjectState::kCondemned;
}
constexpr ObjectKind object_kind(Word word) {
  return static_cast<ObjectKind>(word >> 8 & 0xff);
}
constexpr std::uint32_t object_generation(Word word) {
  return static_cast<std::uint32_t>(word >> 32);
}
constexpr Word object_state_word(ObjectState state, ObjectKind kind, std::uint32_t generation) {
  return static_cast<Word>(state) | static_cast<Word>(kind) << 8 | Word{generation} << 32;
}

// What each kind of object needs to be made.
struct ObjectPlan {
  ObjectKind kind = ObjectKind::kNone;
  std::string name;  // empty: anonymous
  std::string signature;
  // kDict: [0] shards (0 = default). kValue: [0] bytes, [1] initial word when bytes <= 8. kArray: [0] count,
  // [1] element bytes. kLock: [0] 1 = poison when the owner dies, [1] 1 = other threads unlock it.
  // kRLock: [0] as kLock.
  // kQueue, kPriorityQueue: [0] bytes of fixed items (0 = any size), [1] limit (0 = none), [2] 0 first in first out,
  // 2 last in first out, 3 by priority, [3] 1 = items are delivered again when their consumer dies.
  // kSemaphore: [0] start, [1] 1 = never above it, [2] 1 = what a dead process acquired does not come back. kRwLock:
  // none.
  std::uint64_t arguments[kArguments] = {};
};

// What a server that keeps an index knows, so that making an object takes the same time among a few and among many.
struct ObjectIndexHint {
  bool name_is_free = false;      // the caller looked the name up itself
  std::uint32_t search_from = 1;  // in: where to look for a free record; out: behind the one that was taken
};

// Makes an empty (zeroed) object. kExists: a live object has the name. kOutOfMemory, kTooMany, kTooLarge,
// kNotFound (a kind that this program does not know), kOutOfRange (arguments that the kind does not take).
// REQUIRES: only the server calls, one thread at a time (tests without a server likewise).
Status create_object(ThreadContext& me, const ObjectPlan& plan, ObjectId& created, ObjectIndexHint* hint = nullptr);

// Makes the object unreachable and gives its memory back. REQUIRES: as create_object; no session refers to it.
void destroy_object(ThreadContext& me, ObjectId id);

// Gives a live object its name, so that it lives until that is taken off. The name is there as a whole or not at all.
// kExists: it has a name, or had one; kGone; kTooLarge. REQUIRES: as create_object; no live object has the name.
Status name_object(ThreadContext& me, ObjectId id, std::string_view name);

// Takes the name off a live object, which then lives as long as it is referred to. REQUIRES: as create_object.
Status unname_object(ThreadContext& me, std::string_view name);
Status unname_object(ThreadContext& me, ObjectId id);

// Looks a name up; linear in the number of objects (the server keeps an index).
Status find_object(const Segment& segment, std::string_view name, ObjectId& found);

// The control block of a live object, and its kind; 0 when it is gone.
Offset object_control(const Segment& segment, ObjectId id, ObjectKind* kind = nullptr);

struct ObjectInfo {
  ObjectId id;
  ObjectKind kind = ObjectKind::kNone;
  std::string name, signature;
  Offset control = 0;
  std::uint64_t held_inside = 0, created_ns = 0;
  Word arguments[kArguments] = {};
};
// A copy of a record; kGone when it is not live, kCorrupt when its control block is not where it says.
Status object_info(const Segment& segment, std::uint32_t index, ObjectInfo& info);

// Calls visit(const ObjectInfo&) for each live object.
template <typename Visit>
void for_each_object(const Segment& segment, Visit&& visit) {
  const std::uint32_t count = segment.committed_objects();
  for (std::uint32_t index = 1; index < count; ++index) {
    ObjectInfo info;
    if (object_info(segment, index, info) == Status::kOk) visit(info);
  }
}

// Gives back all chunks of the objects whose index is marked, in one look at the tables. REQUIRES: nobody uses them.
void give_objects(ThreadContext& me, const std::vector<bool>& ending);

}  // namespace commonhold::shm
