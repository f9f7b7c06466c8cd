// Objects that contain links to each other, in a segment without a server; and what must be true of them after a sweep.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "shm/dict.h"
#include "shm/list.h"
#include "shm/object_table.h"
#include "shm/object_types.h"
#include "shm/references.h"
#include "shm/sweep.h"
#include "support/test_segment.h"

namespace commonhold::test {

// An item that links to an object, with its word.
struct Link {
  explicit Link(shm::ObjectId id) : word(id.word()) {}
  shm::Item item() const { return {shm::ItemKind::kReference, &word, 8}; }
  shm::Word word;
};

// An item that links to several objects, as compound values do.
struct Links {
  explicit Links(const std::vector<shm::ObjectId>& ids) : words{ids.size()} {
    for (shm::ObjectId id : ids) words.push_back(id.word());
    words.push_back(0x6f6f66);
  }
  shm::Item item() const { return {shm::ItemKind::kLinked, words.data(), words.size() * 8}; }
  std::vector<shm::Word> words;
};

inline shm::ObjectId make_object(const TestSegment& segment, shm::ObjectKind kind, const std::string& name = "",
                                 std::uint64_t argument = 0) {
  shm::ObjectId id;
  REQUIRE(create_object(segment.me(), {kind, name, shm::to_string(kind), {argument}}, id) == shm::Status::kOk);
  return id;
}
inline shm::ObjectAddress address_of(const TestSegment& segment, shm::ObjectId id) {
  return {&*segment, id.index, shm::object_control(*segment, id)};
}
inline bool is_alive(const TestSegment& segment, shm::ObjectId id) {
  return shm::object_control(*segment, id) != 0;
}

inline std::vector<shm::ObjectId> links_of(const TestSegment& segment, shm::ObjectId id) {
  std::vector<shm::ObjectId> found;
  shm::ObjectInfo info;
  if (shm::object_info(*segment, id.index, info) != shm::Status::kOk) return found;
  const shm::ObjectType* type = shm::object_type(info.kind);
  if (type->each_link == nullptr) return found;
  (void)type->each_link(segment.me(), {&*segment, id.index, info.control}, shm::Deadline::never(),
                        {&found, [](void* context, shm::ObjectId to) {
                           static_cast<std::vector<shm::ObjectId>*>(context)->push_back(to);
                         }});
  return found;
}

// "" when exactly those objects live that names, references and links keep, and no link leads to nothing. Sweeps.
inline std::string wrong_after_sweep(const TestSegment& segment) {
  bool unfinished = false;
  while (shm::sweep_unreferred_objects(segment.me(), {}, &unfinished) != 0 || unfinished) {
  }
  std::vector<bool> referred;
  shm::mark_referred(*segment, referred);
  std::map<std::uint32_t, shm::ObjectId> live;
  std::vector<shm::ObjectId> pending;
  std::set<std::uint32_t> kept;
  shm::for_each_object(*segment, [&](const shm::ObjectInfo& info) {
    live[info.id.index] = info.id;
    if (!info.name.empty() || referred[info.id.index]) pending.push_back(info.id);
  });
  while (!pending.empty()) {
    shm::ObjectId id = pending.back();
    pending.pop_back();
    if (!kept.insert(id.index).second) continue;
    for (shm::ObjectId to : links_of(segment, id)) {
      if (!is_alive(segment, to)) return fmt::format("{} links to {}, which is gone", id.index, to.index);
      pending.push_back(to);
    }
  }
  for (auto& [index, id] : live) {
    if (kept.count(index) == 0) return fmt::format("{} lives, and nothing keeps it", index);
  }
  return "";
}

}  // namespace commonhold::test
