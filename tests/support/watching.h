// What the tests of watchers share.
#pragma once

#include "shm/watch.h"
#include "support/require_ok.h"
#include "support/test_segment.h"

namespace commonhold::test {

// Whether the watcher sees a change since its last look.
inline bool changed(const TestSegment& segment, shm::Watcher& watcher) {
  bool changed = false;
  require_ok(watcher.look(segment.me(), changed));
  return changed;
}

}  // namespace commonhold::test
