// A client that uses objects of every kind in all their ways, while others write garbage into the segment.
#pragma once

#include <atomic>
#include <cstdint>

#include "support/segment_damage.h"

namespace commonhold::test {

// What a process that must survive says of itself, in memory shared with the test.
struct Survivor {
  std::atomic<std::uint64_t> began_ns;  // CLOCK_MONOTONIC at the start of `call`; 0: in no call
  std::atomic<std::uint64_t> calls, refused;
  char call[64];
  char wrong[400];  // what it threw that is no Error of ours; empty: nothing

  void begin(const char* name);
  void end() { began_ns.store(0); }
  void complain(const char* what);
};

// Joins the manager and calls what `random` says until about `milliseconds` are over.
void use_damaged_objects(const char* manager, Survivor& self, Random& random, int milliseconds);

}  // namespace commonhold::test
