#include "shm/links.h"

#include "shm/dict.h"
#include "shm/dict_shard_writer.h"
#include "shm/list.h"
#include "shm/list_tree.h"
#include "shm/object_table.h"
#include "shm/segment.h"
#include "shm/thread_context.h"
#include "shm/timed_lock.h"

namespace commonhold::shm {

namespace {

void set_mark(AtomicWord& mark) {
  // SYNC POINT: stored link: before the item can be seen; the sweep reads it after the sessions' references.
  if (mark.load(std::memory_order_relaxed) == 0) mark.store(1, std::memory_order_seq_cst);
}

void note_link(const Segment& segment, ObjectId id) {
  if (id.index == 0 || id.index >= segment.committed_objects()) return;
  set_mark(object_record(segment, id.index).stored);
}

}  // namespace

void note_links_slowly(const Segment& segment, std::uint32_t container, const Item& item) {
  set_mark(object_record(segment, container).refers);
  const auto* bytes = static_cast<const std::byte*>(item.data);
  auto word = [&](std::size_t i) {
    Word value = 0;
    if ((i + 1) * sizeof value <= item.size) std::memcpy(&value, bytes + i * sizeof value, sizeof value);
    return value;
  };
  if (item.kind == ItemKind::kReference) return note_link(segment, ObjectId::from_word(word(0)));
  for (std::size_t i = 1; i <= word(0) && (i + 1) * sizeof(Word) <= item.size; ++i) {
    note_link(segment, ObjectId::from_word(word(i)));
  }
}

bool Dict::each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline, const LinkVisitor& visit) {
  Segment& segment = *where.segment;
  auto& control = *segment.at<DictControl>(where.control);
  DictShards shards(segment, control);
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    TimedLockGuard held(me, shards[i].writing, deadline);
    if (!held) return false;
    if (!shards.stand()) {
      shards = DictShards(segment, control);
      i = std::uint64_t{0} - 1;  // from the first on
      continue;
    }
    DictShardParts shard(me, where, control, shards, i);
    (void)shard.table.each_entry([&](AtomicWord&, Word slot) {
      const Offset at = slot_entry(slot);
      if (!segment.holds(at, sizeof(EntryHeader))) return;
      const std::byte* entry = segment.at<std::byte>(at);
      const EntryHeader header = load_entry(entry);
      if (!is_link(header.value_kind()) || !segment.holds(at, header.bytes())) return;
      visit_links(header.value_kind(), entry + header.value_at(), header.value_size(), visit);
    });
  }
  return true;
}

bool List::each_link(ThreadContext& me, const ObjectAddress& where, Deadline deadline, const LinkVisitor& visit) {
  const Segment& segment = *where.segment;
  auto& control = *segment.at<ListControl>(where.control);
  if (load_word(&control.boxed) == 0) return true;
  TimedLockGuard held(me, control.writing, deadline);
  if (!held) return false;
  ListView view;
  if (read_view(segment, control, view) != Status::kOk) return true;
  for (std::uint64_t at = 0, count = 0; at < view.size(); at += count) {
    AtomicWord* cells;
    if (find_cells(segment, view, at, cells, count) != Status::kOk) return true;
    for (std::uint64_t i = 0; i < count; ++i) {
      Word header = 0;
      const AtomicWord* box = box_at(segment, cells[i].load(std::memory_order_relaxed), header);
      if (box == nullptr) continue;
      visit_links(static_cast<ItemKind>(header & 0xff), reinterpret_cast<const std::byte*>(box + 1), header >> 8,
                  visit);
    }
  }
  return true;
}

}  // namespace commonhold::shm
