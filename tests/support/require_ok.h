// For steps of a test, in children too, that have to succeed.
#pragma once

#include <stdexcept>

#include "shm/status.h"

namespace commonhold::test {

inline void require_ok(shm::Status status) {
  if (status != shm::Status::kOk) throw std::runtime_error(shm::to_string(status));
}

}  // namespace commonhold::test
