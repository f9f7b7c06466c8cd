// A descriptor that an object keeps for long, and the file that it stands for: a program may close it behind the
// object's back, and open a file of its own that gets the number. That one is neither closed nor written to.
#pragma once

#include <cstdint>

#include <commonhold/detail/call.h>

namespace commonhold::detail {

struct KeptIdentity {
  std::uint64_t device = 0, inode = 0;
};

COMMONHOLD_CALL KeptIdentity identity_of(int descriptor);
// Whether the descriptor is open and stands for that file still.
COMMONHOLD_CALL bool still_is(int descriptor, const KeptIdentity& identity);
// Closes it if it is.
COMMONHOLD_CALL void close_kept(int descriptor, const KeptIdentity& identity);

}  // namespace commonhold::detail
