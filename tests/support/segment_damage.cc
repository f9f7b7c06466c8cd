#include "support/segment_damage.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "shm/extents.h"
#include "shm/object_table.h"

namespace commonhold::test {

using shm::Word;

namespace {

int opened(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) throw std::runtime_error("cannot open " + path);
  return fd;
}

std::size_t bytes_of(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 ? static_cast<std::size_t>(status.st_size) : 0;
}

std::byte* mapped(int fd, std::size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) throw std::runtime_error("cannot map a segment");
  return static_cast<std::byte*>(at);
}

}  // namespace

SegmentDamage::SegmentDamage(const std::string& segment_file)
    : fd_(opened(segment_file)),
      bytes_(bytes_of(fd_)),
      base_(mapped(fd_, bytes_)),
      areas_(areas()),
      image_(backed()),
      backed_in_image_(backed_bytes()) {
  const auto& header = *reinterpret_cast<const shm::SegmentHeader*>(base_);
  data_at_ = header.data_at;
  data_end_ = data_at_ + header.committed_extents.load() * shm::kExtent;
}

SegmentDamage::~SegmentDamage() {
  munmap(base_, bytes_);
  close(fd_);
}

std::vector<MemoryRange> SegmentDamage::backed() const {
  const auto& header = *reinterpret_cast<const shm::SegmentHeader*>(base_);
  const std::uint64_t extents = header.committed_extents.load();
  auto range = [&](std::uint64_t at, std::uint64_t bytes) {
    return MemoryRange{base_ + at, shm::round_up(bytes, shm::kPage)};
  };
  return {range(0, header.objects_at + header.objects_committed.load() * sizeof(shm::ObjectRecord)),
          range(header.extents_at, extents * sizeof(Word)),
          range(header.granules_at, extents * shm::kGranulesPerExtent * sizeof(std::uint32_t)),
          range(header.data_at, extents * shm::kExtent)};
}

// Where damage matters. The same number of words is hit in the few of a header as in all the data.
std::vector<SegmentDamage::Area> SegmentDamage::areas() const {
  const auto& header = *reinterpret_cast<const shm::SegmentHeader*>(base_);
  const std::uint64_t extents = header.committed_extents.load();
  std::vector<Area> found = {
      {"header", 0, 512},
      {"session", header.sessions_at, 8 * sizeof(shm::SessionRecord)},
      {"thread", header.threads_at, 12 * sizeof(shm::ThreadRecord)},
      {"extent table", header.extents_at, extents * sizeof(Word)},
      {"granule table", header.granules_at, extents * shm::kGranulesPerExtent * sizeof(std::uint32_t)},
      {"data", header.data_at, extents * shm::kExtent},
      {"data", header.data_at, extents * shm::kExtent},
  };
  const auto* records = reinterpret_cast<const shm::ObjectRecord*>(base_ + header.objects_at);
  std::uint64_t used = 1;
  for (std::uint64_t i = 1; i < header.objects_committed.load(); ++i) {
    const Word state = records[i].state.load();
    if (!shm::object_is_live(state)) continue;
    used = i + 1;
    const std::string name = fmt::format("control block of \"{}\"", records[i].name);
    found.push_back({name, records[i].control.load(), 256});
    found.push_back({name, records[i].control.load(), 2048});
  }
  for (int twice = 0; twice < 2; ++twice) {
    found.push_back({"object record", header.objects_at + sizeof(shm::ObjectRecord), used * sizeof(shm::ObjectRecord)});
  }
  return found;
}

void SegmentDamage::restore() {
  image_.restore();
  std::uint64_t end = 0;
  auto punch = [&](std::uint64_t to) {
    if (to <= end) return;
    if (fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(end),
                  static_cast<off_t>(to - end)) != 0) {
      throw std::runtime_error("cannot give back what a segment committed");
    }
  };
  for (const MemoryRange& range : image_.ranges()) {
    const auto from = static_cast<std::uint64_t>(static_cast<std::byte*>(range.address) - base_);
    punch(from);
    end = std::max(end, from + range.length);
  }
  punch(bytes_);
}

std::uint64_t SegmentDamage::backed_bytes() const {
  struct stat status {};
  return fstat(fd_, &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
}

// Where there is something, mostly.
std::uint64_t SegmentDamage::word_in(const Area& area, Random& random) const {
  std::uint64_t at = 0;
  for (int tries = 0; tries < 8; ++tries) {
    at = area.at + random() % (area.bytes / 8) * 8;
    if (shm::load_word(base_ + at) != 0) break;
  }
  return at;
}

std::string SegmentDamage::spoil(Random& random) {
  const Area& area = areas_[random() % areas_.size()];
  const std::uint64_t at = word_in(area, random);
  const Word before = shm::load_word(base_ + at);
  Word after = before;
  const char* kind = "";
  switch (random() % 9) {
    case 0:
      kind = "bit", after = before ^ Word { 1 } << random() % 64;
      break;
    case 1:
      kind = "zero", after = 0;
      break;
    case 2:
      kind = "ones", after = ~Word{0};
      break;
    case 3:
      kind = "small", after = random() % 70;
      break;
    case 4:
      kind = "other word", after = shm::load_word(base_ + word_in(areas_[random() % areas_.size()], random));
      break;
    case 5:
      kind = "offset", after = data_at_ + random() % (data_end_ - data_at_) / 16 * 16;
      break;
    case 6:
      kind = "near", after = before + random() % 129 - 64;
      break;
    case 7:
      kind = "byte", after = before ^ Word { random() % 255 + 1 } << 8 * (random() % 8);
      break;
    default:
      kind = "random", after = random();
  }
  // Half a word at times: most of what is counted and locked is so wide.
  if (random() % 4 == 0)
    after = random() % 2 == 0 ? (before >> 32 << 32 | after << 32 >> 32) : (after >> 32 << 32 | before << 32 >> 32);
  shm::store_word(base_ + at, after);
  return fmt::format("{} of {} at {:#x} (+{}): {:#x} -> {:#x}", kind, area.name, at, at - area.at, before, after);
}

}  // namespace commonhold::test
