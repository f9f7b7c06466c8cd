// The word by which the sweep and those who take references to objects agree. Neither waits for the other.
//
//           begin                        commit (CAS)
//   kIdle ---------> kOpen {epoch} -----------------------> kCommitted {epoch} --- destroyed ---> kIdle
//                      |                                        (compare sweep.h)
//                      | rescue (CAS): somebody refers to a condemned object
//                      v
//                    kRescued {epoch, object} --- the sweep revives it, opens the next epoch and looks again
//
// The server alone writes the word, except for the rescue. A death leaves any phase; the next server goes on from there:
// what an open or rescued epoch condemned is revived, what a committed one condemned is destroyed.
#pragma once

#include <cstdint>

#include "shm/words.h"

namespace commonhold::shm {

enum class SweepPhase : std::uint8_t {
  kIdle = 0,
  kOpen = 1,       // objects are condemned, or about to be; nothing of this epoch is destroyed yet
  kRescued = 2,    // as kOpen, and the epoch ends without destroying anything
  kCommitted = 3,  // what is condemned now is destroyed: nobody gets a reference to it any more
};

constexpr SweepPhase sweep_phase(Word word) {
  return static_cast<SweepPhase>(word & 0xff);
}
// The index of the object that was rescued; 0 in other phases.
constexpr std::uint32_t sweep_rescued(Word word) {
  return static_cast<std::uint32_t>(word >> 8 & 0xff'ffff);
}
constexpr std::uint32_t sweep_epoch(Word word) {
  return static_cast<std::uint32_t>(word >> 32);
}
constexpr Word sweep_word(std::uint32_t epoch, SweepPhase phase, std::uint32_t rescued = 0) {
  return Word{epoch} << 32 | Word{rescued & 0xff'ffff} << 8 | static_cast<Word>(phase);
}

}  // namespace commonhold::shm
