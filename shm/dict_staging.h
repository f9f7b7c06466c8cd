// The entries of a large batch, written before the batch holds all locks that it needs: a few at a time, each time under
// the lock of their shard alone. Between two such holds others change the shard as they like. Under all locks the slots
// are found, and stored into (dict_batch.cc).
//
//   DictShard::staged -> entry { what: kinds | the next one, ... } -> entry -> 0
//
// INVARIANT: what `staged` leads to is written as a whole, is in use for the shard's heap and is named by no slot. It
// belongs to whoever holds DictControl::preparing, which is taken before any shard's lock; while nobody holds that, it
// belongs to nobody, and the next who derives the shard frees it. The lists are empty before the batch overwrites the
// first `what` with a sequence.
// After a death whoever recovers `preparing` empties the lists. A shard whose lock is taken then, perhaps by the
// recoverer itself, keeps its list until it is derived, or the next large batch comes.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "shm/dict_batch_keys.h"
#include "shm/dict_shard_writer.h"

namespace commonhold::shm {

// What is prepared of one key.
struct StagedEntry {
  Offset entry = 0;       // 0: none
  bool in_place = false;  // there is none, because the key had a scalar of the new one's kind already
  ItemKind kind{};        // of that scalar
  Word word = 0;          // the new one
};

// Whether a batch is large enough.
bool is_worth_staging(std::span<const DictPair> pairs);

// As long as it lives: from how many keys on that is so in this process, and how many are written in one hold of a
// shard's lock.
class StagingForTest {
 public:
  StagingForTest(std::size_t worth_keys, std::size_t keys_at_once);
  ~StagingForTest();
  StagingForTest(const StagingForTest&) = delete;
  StagingForTest& operator=(const StagingForTest&) = delete;
};

class DictStaging {
 public:
  // Waits for other large batches.
  DictStaging(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards);
  // Frees what was not taken.
  ~DictStaging();
  DictStaging(const DictStaging&) = delete;
  DictStaging& operator=(const DictStaging&) = delete;

  // Writes entries for sorted keys, kInPlace not for those that have a scalar of that kind already. kRetry: the dict has
  // spread. kOutOfMemory. kCorrupt. REQUIRES: the caller holds no shard's lock.
  enum class Scalars : std::uint8_t { kInPlace, kAnew };
  Status write(std::span<const BatchKey> keys, std::span<StagedEntry> entries, Scalars scalars);

  // From now on the entries are the caller's. kCorrupt: garbage in the segment made others take a list for that of a
  // dead one, and free what it had. REQUIRES: the locks of all shards that they are of, and that these stand.
  Status take();

 private:
  void drop_lists();
  struct Run {
    std::size_t next, end;  // of the keys
  };
  Status write_some(Run& run, std::span<const BatchKey> keys, std::span<StagedEntry> entries, Scalars scalars,
                    bool& awaited);

  ThreadContext& me_;
  const ObjectAddress& where_;
  DictControl& control_;
  const DictShards& shards_;
  HeldLock held_;
  std::array<Offset, kMaxShards> last_{};  // of each shard's list, as written here: what `staged` has to be
};

// For a large batch, before its locks are taken: spreads the dict where it is too crowded, and writes the entries of its
// sorted keys. Without memory for that, `staging` and `entries` stay empty: under the locks what is free in the dict may
// do. kRetry: the shards do not stand any more.
Status stage_batch(ThreadContext& me, const ObjectAddress& where, DictControl& control, const DictShards& shards,
                   std::span<const DictPair> pairs, std::span<const BatchKey> keys, DictStaging::Scalars scalars,
                   std::optional<DictStaging>& staging, std::vector<StagedEntry>& entries);

// Makes a staged entry one that a slot may name.
inline void set_sequence(Segment& segment, Offset entry, std::uint64_t sequence) {
  Word* what = segment.at<Word>(entry);
  store_word(what, (load_word(what) & ~kSequenceMask) | sequence);
}

// Whether the shard lists entries that no batch owns. REQUIRES: the shard's lock.
bool has_orphaned_entries(const DictControl& control, const DictShard& shard);

// After the death of who held `preparing`, which the caller owns in its place.
void drop_staged_of_dead(ThreadContext& me, const ObjectAddress& where, DictControl& control);

}  // namespace commonhold::shm
