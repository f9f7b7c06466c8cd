// The segment's fixed part: what a program finds at which offset. docs/segment_format.md is its prose.
//
//   0          4 KiB        sessions_at   threads_at                   objects_at      extents_at  granules_at  data_at
//   +----------+------------+-------------+-------------+--------------+---------------+-----------+------------+-----
//   | header   | (page)     | sessions    | threads     | reference    | object records| extent    | granule    | extents
//   |          |            | 128 B each  | 256 B each  | pages 1 KiB  | 512 B each    | table 8 B | table 4 B  | 64 KiB
//   +----------+------------+-------------+-------------+--------------+---------------+-----------+------------+-----
//                                                        committed as used -->           committed with the extents they
//                                                                                        describe
//
// Everything is little-endian with 64-bit words. A change of anything here changes kFormatVersion.
#pragma once

#include <cstdint>

#include "shm/ids.h"
#include "shm/lock_word.h"
#include "shm/words.h"

namespace commonhold::shm {

inline constexpr Word kMagic = 0x31444C4F484D4F43;  // "COMHOLD1" in memory order
inline constexpr std::uint32_t kFormatVersion = 10;

inline constexpr std::uint64_t kPage = 4096;
inline constexpr std::uint64_t kGranule = 1024;  // the smallest chunk
inline constexpr std::uint64_t kExtent = 65536;  // the unit of committing
inline constexpr std::uint64_t kGranulesPerExtent = kExtent / kGranule;

inline constexpr std::uint32_t kMaxSessions = 2048;
inline constexpr std::uint32_t kMaxThreads = 4096;
// Of these, the first are not for everybody: session 0 and its thread slots are the server's. Each of the others has one
// slot, for a process that recovers the dead because they fill the rest of the tables (reserved_session.h).
inline constexpr std::uint32_t kReservedSessions = 4;
inline constexpr std::uint32_t kServerThreads = 8;
inline constexpr std::uint32_t kReservedThreads = kServerThreads + kReservedSessions - 1;
inline constexpr std::uint32_t kMaxObjects = 1u << 20;
inline constexpr std::size_t kMaxNameBytes = 95;
inline constexpr std::size_t kMaxSignatureBytes = 255;
inline constexpr std::size_t kAnnouncements = 16;

// The reference pages of the sessions (references.h) lie before the object records; the first is of what is in flight
// (in_flight.h), that of session i is the one behind it and i more. Those of the first sessions are backed from the
// start, the others by whoever takes the session's record first.
inline constexpr std::uint64_t kReferencePageBytes = 1024;
inline constexpr std::uint64_t kReferencePagesBytes =
    round_up((kMaxSessions + 1) * kReferencePageBytes, std::uint64_t{4096});
inline constexpr std::uint32_t kPagesBackedAtFirst = 256;

struct SegmentHeader {
  // Written once by the creator, before the file gets its name; read by everybody.
  Word magic;
  std::uint32_t format_version;
  std::uint32_t layout_hash;  // of sizes, offsets, byte order and word size: see layout_hash()
  char boot_id[40];           // a segment does not outlive its boot
  Word total_bytes;           // length of the file and of every mapping
  Word max_extents;           // the memory limit
  Word sessions_at, threads_at, objects_at, extents_at, granules_at, data_at;
  Word nonce;  // random; tells two segments of one name apart
  char name[kMaxNameBytes + 1];

  // Guarded by extents_lock. free_extents, unbacked_extents and the hints are derived from the extent table after a death.
  alignas(64) LockWord extents_lock;
  AtomicWord committed_extents;  // extents below were backed by memory; written after fallocate, never shrinks
  AtomicWord free_extents;       // backed extents that nobody owns
  AtomicWord lowest_free;        // no free backed extent lies below
  AtomicWord partial_hint[7];    // per chunk size 1..64 KiB: an extent that may have a free chunk
  AtomicWord unbacked_extents;   // below committed_extents, free, and given back to the system (extents_release.h)
  // Raised before extents become kUnbacked, which may also have been so before: for those who back some without the
  // lock.
  AtomicWord releases;

  // Written by the server alone.
  alignas(64) AtomicWord server_session;  // session index + 1 of the running server, 0 when it left
  AtomicWord objects_committed;           // object records below are backed by memory
  AtomicWord server_starts;               // how often a server adopted this segment
  AtomicWord shutting_down;               // 1 once the server was asked to end; new sessions are refused
  // Raised by whoever dropped a reference, a link or a name, so that something may be destroyed; what of it the sweep had
  // seen when it last came to its end; 1 when somebody waits for that, short of memory. Whoever finds the first two
  // equal rings the bell. A death leaves them behind what is so, which costs a sweep or a wait.
  AtomicWord garbage_noted, garbage_swept, memory_wanted;
  AtomicWord sweep;  // the sweep's epoch and phase; who refers to a condemned object may change it (sweep_word.h)

  // Highest thread slot ever used + 1: bounds scans. Raised by whoever claims a slot.
  alignas(64) AtomicWord threads_used;
  AtomicWord sessions_used;
  AtomicWord pins_used;  // 1 once any thread pinned a block
  // How many threads without a slot read a large block (large_read.h). A death leaves it too high: then no memory goes
  // back to the system any more. They are few: processes that found the tables full.
  AtomicWord unslotted_large_reads;
};
static_assert(sizeof(SegmentHeader) <= kPage);

// A client process. The process holds the fcntl lock of byte kSessionByte + index of the lock file as long as it lives.
//
// INVARIANT: only the process that holds the byte writes the record, except `state`, which recovery claims by
// compare-and-swap. A death before `state` became live leaves a free record; after it, one that recovery finds. A
// reserved record that the dead left may be taken over by whoever holds its byte: the generation rises, and what the
// predecessor left is recovered under the new one (reserved_session.h).
struct SessionRecord {
  AtomicWord state;       // see session_state() and those below it
  AtomicWord pid;         // as the process saw itself; 0: its parent made the record, and it has not run yet
  AtomicWord pid_space;   // inode of its pid namespace: a pid means nothing in another
  AtomicWord joined_ns;   // CLOCK_BOOTTIME at joining: a process born later is another one
  AtomicWord references;  // reference pages beyond its own one (see references.h), 0 for none
  char title[32];         // the program's name, for people
  // Control blocks of semaphores of which the process may hold permits, noted before the first permit. Bit 0 of the
  // second: it may hold some of others too. Written by the process's threads by compare-and-swap; read after its death.
  AtomicWord semaphores[2];
  Word unused[5];
};
static_assert(sizeof(SessionRecord) == 128);

enum class SessionState : std::uint8_t { kFree = 0, kLive = 1, kRecovering = 2 };

// SessionRecord::state: SessionState in bits 0-7; of one that is recovered, its recoverer: session index + 1 in bits
// 8-19, the low bits of that session's generation in 20-31; generation in 32-63.
//
// The recoverer's generation tells it from the next user of its record, which may be reserved and so be the recoverer
// of the same session again: whoever has the proof that the former one died fails to claim what the latter is at.
constexpr SessionState session_state(Word state) {
  return static_cast<SessionState>(state & 0xff);
}
constexpr std::uint32_t session_generation(Word state) {
  return static_cast<std::uint32_t>(state >> 32);
}
constexpr Word session_free_after(Word state) {
  return state >> 32 << 32 | static_cast<Word>(SessionState::kFree);
}
constexpr Word session_live_after(Word state) {
  return ((state >> 32) + 1) << 32 | static_cast<Word>(SessionState::kLive);
}
// The session index + 1 of the recoverer, 0 for none. Garbage may say more than there are.
constexpr std::uint32_t recoverer_of(Word state) {
  return static_cast<std::uint32_t>(state >> 8 & 0xfff);
}
constexpr Word recovering_by(Word state, SessionIndex recoverer, Word recoverers_state) {
  return state >> 32 << 32 | (recoverers_state >> 32 & 0xfff) << 20 | Word{index_of(recoverer) + 1} << 8 |
         static_cast<Word>(SessionState::kRecovering);
}
// Whether the session with that state may be the one that `state` names, and not a later user of its record.
constexpr bool is_recoverers_generation(Word state, Word recoverers_state) {
  return (state >> 20 & 0xfff) == (recoverers_state >> 32 & 0xfff);
}
static_assert(kMaxSessions <= 0xfff);

// A thread of a session: an owner of locks.
//
// INVARIANT: only its thread writes it while the session lives. `claim` is the commit point of taking the slot.
struct ThreadRecord {
  AtomicWord claim;                      // session index + 1 in bits 0-31, generation in 32-63; low half 0 = free
  AtomicWord redo;                       // a committed multi-word change that may not be applied yet (redo.h); 0 none
  AtomicWord overflow;                   // not 0: more locks were held than announced; recovery scans every object
  AtomicWord announced[kAnnouncements];  // lock words about to be taken, held, or being freed; kind in bits 0-2
  AtomicWord pinned[4];                  // blocks that must not be reused while they are read in place
  AtomicWord kernel_id;                  // gettid, for people
  AtomicWord waits_on;                   // the condition or barrier that it waits in, 0 for none (waiting.h)
  AtomicWord wait_state;                 // whether it was told; others change it, its low half is a futex
  AtomicWord wait_turn;                  // which turn of that it waits for
  // Offset of an array element that the thread is in the middle of changing (array_redo.h), 0 none. A death leaves it; it
  // goes with the slot.
  AtomicWord storing;
  AtomicWord sleeps_at;  // offset of the futex that the thread sleeps on, or is about to; 0 none (see sleep_notice.h)
  Word unused_after[1];
  AtomicWord took_items;   // 1: it may have items in flight, which are delivered again when it ends (queue_flights.h)
  AtomicWord reads_large;  // 1 while it may be reading a large block without a lock (large_read.h)
};
static_assert(sizeof(ThreadRecord) == 256);

// What an announcement's low bits say of its word.
enum class Announced : std::uint8_t {
  kWord = 1,    // one lock word
  kObject = 2,  // every lock word of the object whose control block is at this offset
  kFutex = 3,   // no lock: a futex whose sleepers the thread is about to wake
  kShared = 6,  // held by this thread and any number of others: the readers-writer lock with this control block
};

// Who owns a chunk: the object and one of its arenas (a shard's heap). 0 is nobody.
struct ChunkOwner {
  std::uint32_t value = 0;
  constexpr ChunkOwner() = default;
  constexpr explicit ChunkOwner(std::uint32_t raw) : value(raw) {}
  constexpr ChunkOwner(std::uint32_t object, std::uint32_t arena) : value(object << 8 | arena) {}
  constexpr std::uint32_t object() const { return value >> 8; }
  constexpr std::uint32_t arena() const { return value & 0xff; }
  constexpr bool operator==(const ChunkOwner&) const = default;
  constexpr explicit operator bool() const { return value != 0; }
};
// Of the chunks that hold the object's control block, and a dict's shards.
inline constexpr std::uint32_t kControlArena = 255;
inline constexpr std::uint32_t kSystemObject = (1u << 24) - 1;  // reference pages and the like
inline constexpr std::uint32_t kReleaseArena = 254;             // of the system: extents on their way to the system

// Byte ranges of the lock file (fcntl locks).
inline constexpr std::uint64_t kServerByte = 0;  // held by the one server
// + session index. Of the lock file: held by the session's process. Of the memory file, while a process forks: of the
// child's session (fork_session.cc).
inline constexpr std::uint64_t kSessionByte = 1024;

std::uint32_t layout_hash();

}  // namespace commonhold::shm
