// A seed of the key hash that makes the shape of a dict the same in every run.
#pragma once

#include "shm/dict_layout.h"
#include "shm/object_address.h"
#include "shm/words.h"

namespace commonhold::test {

inline constexpr shm::Word kFixedSeed = 1;

// REQUIRES: the dict is empty.
inline void fix_seed(const shm::ObjectAddress& where) {
  shm::store_word(&where.segment->at<shm::DictControl>(where.control)->seed, kFixedSeed);
}

}  // namespace commonhold::test
