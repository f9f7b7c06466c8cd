// Operations that hold a lock for a while.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "interleave/pair_fixture.h"
#include "shm/object_table.h"
#include "shm/references.h"

namespace commonhold::test {

// Acquires, and releases what was acquired.
inline Operation holding(const std::string& name, std::function<shm::Status(shm::ThreadContext&)> acquire,
                         std::function<shm::Status(shm::ThreadContext&)> release) {
  auto acquired = std::make_shared<shm::Status>(shm::Status::kOk);
  return {name,
          {[=](shm::ThreadContext& me) { return word_of(*acquired = acquire(me)); },
           [=](shm::ThreadContext& me) {
             return *acquired == shm::Status::kOk ? word_of(release(me)) : std::string("-");
           }}};
}

// Of processes that have a proxy of the object: a death is told to those who wait for what it may have changed.
inline std::vector<Operation> by_users_of(const TestSegment& segment, const shm::ObjectAddress& where,
                                          std::vector<Operation> operations) {
  shm::ObjectInfo info;
  REQUIRE(shm::object_info(*segment, where.object, info) == shm::Status::kOk);
  for (Operation& operation : operations) {
    operation.enter = [&segment, id = info.id](shm::ThreadContext&) {
      return word_of(shm::add_reference(*segment, id));
    };
  }
  return operations;
}

}  // namespace commonhold::test
