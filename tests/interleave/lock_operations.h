// Operations that hold a lock for a while.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "interleave/pair_fixture.h"

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

}  // namespace commonhold::test
