// Where an object lives, as the structures take it.
#pragma once

#include "shm/ids.h"
#include "shm/layout.h"

namespace commonhold::shm {

class Segment;

struct ObjectAddress {
  Segment* segment = nullptr;
  std::uint32_t object = 0;  // index of its record: the owner of its chunks
  Offset control = 0;        // its control block
};

}  // namespace commonhold::shm
