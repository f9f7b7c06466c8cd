#include "support/kill_stage.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>

#include "shm/extents_commit.h"
#include "shm/lock_word.h"
#include "shm/recovery.h"
#include "shm/references.h"
#include "support/virtual_kernel.h"

namespace commonhold::test {

namespace {

constexpr std::uint64_t kSlotsInImage = 64;  // sessions and threads: far more than any test has

}  // namespace

KillStage::KillStage(std::uint64_t extents, std::uint64_t committed, std::uint64_t memory_limit)
    : segment(memory_limit) {
  shm::SegmentHeader& header = segment->header();
  auto cover = [&](shm::Offset from, std::uint64_t bytes) {
    bytes = shm::round_up(bytes, shm::kPage);
    if (posix_fallocate(segment->memory_fd(), static_cast<off_t>(from), static_cast<off_t>(bytes)) != 0) {
      throw std::runtime_error("no memory for the image");
    }
    ranges_.push_back({segment->base() + from, bytes});
  };
  belong_to(nullptr);  // also: a program with a stage has the clock of virtual_kernel.cc
  (void)me();
  cover(0, shm::kPage);
  cover(header.sessions_at, kSlotsInImage * sizeof(shm::SessionRecord));
  cover(header.threads_at, kSlotsInImage * sizeof(shm::ThreadRecord));
  cover(shm::flight_page(*segment), kSlotsInImage * shm::kReferencePageBytes);
  cover(header.objects_at, shm::kExtent);
  cover(header.extents_at, extents * sizeof(shm::Word));
  cover(header.granules_at, extents * shm::kGranulesPerExtent * sizeof(std::uint32_t));
  cover(header.data_at, extents * shm::kExtent);
  if (shm::commit_ahead(me(), committed) != shm::Status::kOk) throw std::runtime_error("cannot commit extents");
}

test::KillPlan KillStage::plan(const std::string& name, std::function<void(shm::ThreadContext& victim)> op) {
  // The victim's context, in the victim's copy of this memory.
  auto context = std::make_shared<shm::ThreadContext*>(nullptr);
  test::KillPlan plan;
  plan.name = name;
  plan.prepare = [this] { restore(); };
  plan.enter = [this, context] { *context = &segment.me(); };
  plan.op = [context, op = std::move(op)] { op(**context); };
  plan.shared = ranges_;
  return plan;
}

std::string KillStage::recover(int least, int most) {
  int recovered = shm::recover_all_dead(*segment, me());
  if (recovered < least || recovered > most) {
    return fmt::format("{} sessions were recovered, not {} to {}", recovered, least, most);
  }
  return leftovers();
}

std::string KillStage::leftovers() const {
  const shm::SegmentHeader& header = segment->header();
  std::uint32_t own = shm::index_of(segment->session_index());
  for (std::uint32_t i = 0; i < kSlotsInImage; ++i) {
    shm::Word state = segment->session(i).state.load();
    if (i != own && (state & 0xffff'ffff) != 0) return fmt::format("session {} has state {:#x}", i, state);
    if (i != own && segment->session(i).references.load() != 0) return fmt::format("session {} has references", i);
  }
  for (std::uint32_t t = 0; t < kSlotsInImage; ++t) {
    const shm::ThreadRecord& record = segment->thread(t);
    auto session = static_cast<std::uint32_t>(record.claim.load());
    if (session == own + 1) continue;
    if (session != 0) return fmt::format("thread slot {} is still session {}'s", t, session - 1);
    shm::Word marks = record.redo.load() | record.overflow.load();
    for (auto& announced : record.announced) marks |= announced.load();
    for (auto& pinned : record.pinned) marks |= pinned.load();
    marks |= record.waits_on.load() | (record.wait_state.load() & 3);
    marks |= record.storing.load() | record.reads_large.load() | record.took_items.load();
    if (marks != 0) return fmt::format("thread slot {} is free but not empty", t);
  }
  std::uint32_t lock = header.extents_lock.state.load();
  if (lock != 0) return fmt::format("the extents' lock is {:#x}", lock);
  return check_owners();
}

std::size_t KillStage::claimed_sessions() const {
  std::size_t claimed = 0;
  for (std::uint32_t i = 0; i < kSlotsInImage; ++i) claimed += (segment->session(i).state.load() & 0xffff'ffff) != 0;
  return claimed;
}

std::string KillStage::check_owners() const {
  const shm::SegmentHeader& header = segment->header();
  std::uint64_t free = 0, unbacked = 0, committed = header.committed_extents.load(), lowest = committed;
  auto owner_is_wrong = [&](shm::ChunkOwner owner) {
    shm::ObjectInfo info;
    if (owner.object() < shm::kMaxObjects) return object_info(*segment, owner.object(), info) != shm::Status::kOk;
    shm::SessionIndex own = segment->session_index();
    return owner != shm::reference_owner(own) || segment->session(shm::index_of(own)).references.load() == 0;
  };
  for (std::uint64_t e = 0; e < committed; ++e) {
    shm::Word word = shm::extent_entry(*segment, e).load();
    if (shm::extent_kind(word) == shm::ExtentKind::kFree) {
      ++free;
      lowest = std::min(lowest, e);
    } else if (shm::extent_kind(word) == shm::ExtentKind::kUnbacked) {
      ++unbacked;
    } else if (shm::extent_kind(word) == shm::ExtentKind::kWhole) {
      if (owner_is_wrong(shm::extent_owner(word))) return fmt::format("extent {} has the owner {:#x}", e, word >> 32);
    } else {
      std::uint32_t step = shm::extent_granules(word), used = 0;
      for (std::uint32_t g = 0; g < shm::kGranulesPerExtent; g += step) {
        shm::ChunkOwner owner(shm::granule_entry(*segment, e, g).load());
        if (!owner) continue;
        ++used;
        if (owner_is_wrong(owner)) return fmt::format("granule {} of extent {}: owner {:#x}", g, e, owner.value);
      }
      if (used == 0) return fmt::format("extent {} is split but nobody's", e);
    }
  }
  if (free != header.free_extents.load()) {
    return fmt::format("{} extents are free, counted {}", free, header.free_extents.load());
  }
  if (unbacked != header.unbacked_extents.load()) {
    return fmt::format("{} extents are not backed, counted {}", unbacked, header.unbacked_extents.load());
  }
  if (header.lowest_free.load() > lowest) {
    return fmt::format("extent {} is free, below the lowest free {}", lowest, header.lowest_free.load());
  }
  return {};
}

void expect_clean(const test::KillReport& report) {
  std::cout << report.line() << '\n' << std::flush;
  INFO(report.line());
  CHECK(report.ok());
}

}  // namespace commonhold::test
