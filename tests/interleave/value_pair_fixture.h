// Values and arrays for pairs of operations: proxies of objects in a segment without a server, so that what runs is the
// code that users run, in place.
#pragma once

#include <commonhold/array.h>
#include <commonhold/value.h>

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "interleave/pair_fixture.h"
#include "proxy/object.h"
#include "shm/array.h"
#include "shm/object_table.h"
#include "shm/references.h"
#include "shm/value.h"

namespace commonhold::test {

template <typename Proxy, typename Structure>
Proxy proxy_of(const TestSegment& segment, const shm::ObjectAddress& where) {
  auto object = std::make_shared<detail::ObjectOf<Structure>>(where);
  object->segment = segment.shared();
  object->control = where.control;
  return detail::Access::make<Proxy>(detail::ObjectHandle(std::move(object)));
}

// As a process that has a proxy of the object: a death tells others of what it may have changed.
inline void refer_to(const TestSegment& segment, const shm::ObjectAddress& where, std::vector<Operation>& operations) {
  shm::ObjectInfo info;
  REQUIRE(shm::object_info(*segment, where.object, info) == shm::Status::kOk);
  for (Operation& operation : operations) {
    operation.enter = [&segment, id = info.id](shm::ThreadContext&) {
      return word_of(shm::add_reference(*segment, id));
    };
  }
}

template <std::size_t kWords>
struct Words {
  static Words all(std::int64_t word) {
    Words made;
    std::ranges::fill(made.words, word);
    return made;
  }
  std::int64_t words[kWords];
};

// Of several words what they all are: half of one value and half of another is not.
inline std::string printed(std::int64_t value) {
  return std::to_string(value);
}
template <std::size_t kWords>
std::string printed(const Words<kWords>& value) {
  const bool whole = std::ranges::all_of(value.words, [&](std::int64_t word) { return word == value.words[0]; });
  return whole ? printed(value.words[0]) : "several";
}

template <typename T>
T made_of(std::int64_t word) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(word);
  } else {
    return T::all(word);
  }
}

}  // namespace commonhold::test
