// What the tests of the list share: making one, reading one, holding it against a model.
#pragma once

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "shm/list.h"
#include "support/test_segment.h"

namespace commonhold::test {

inline shm::ObjectAddress make_list(const TestSegment& segment, bool boxed) {
  return segment.make({shm::ObjectKind::kList, "", boxed ? "list<text>" : "list<int64>", {boxed ? 1u : 0u}});
}

// The element's bytes; nothing when the index is out of range.
inline std::optional<std::string> get(const shm::List& list, std::uint64_t index) {
  std::string value;
  shm::Sink sink{&value, [](void* to, shm::ItemKind, std::size_t size) -> void* {
                   auto* text = static_cast<std::string*>(to);
                   text->resize(size);
                   return text->data();
                 }};
  shm::Status status = list.get(index, sink);
  if (status == shm::Status::kOutOfRange) return std::nullopt;
  if (status != shm::Status::kOk) throw std::runtime_error(fmt::format("get({}): {}", index, shm::to_string(status)));
  return value;
}

// A word as a list without boxes holds it, as the bytes that it gives.
inline std::string word_text(std::uint64_t word) {
  return std::string(reinterpret_cast<const char*>(&word), 8);
}

inline std::vector<shm::Item> items_of(const std::vector<std::string>& values) {
  std::vector<shm::Item> items;
  for (auto& value : values) items.push_back(text(value));
  return items;
}

// Every element, every invariant, every block.
template <typename Model>
void check_same(const TestSegment& segment, const shm::List& list, const Model& model) {
  auto audit = list.audit(segment.me());
  REQUIRE(audit.error == "");
  REQUIRE(audit.lost_blocks == 0);
  REQUIRE(audit.lost_chunks == 0);
  REQUIRE(audit.elements == model.size());
  REQUIRE(list.size() == model.size());
  std::vector<std::string> values;
  REQUIRE(list.snapshot(segment.me(), 0, ~std::uint64_t{0}, values) == shm::Status::kOk);
  REQUIRE(values.size() == model.size());
  bool same = true;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] != model[i]) {
      INFO("element " << i);
      REQUIRE(values[i] == model[i]);
      same = false;
    }
  }
  REQUIRE(same);
}

}  // namespace commonhold::test
