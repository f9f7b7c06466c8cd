// Whether a descriptor becomes readable within a time; -1: for ever.
#pragma once

#include <poll.h>

namespace commonhold::test {

inline bool readable(int fd, int milliseconds) {
  pollfd one{fd, POLLIN, 0};
  return poll(&one, 1, milliseconds) == 1 && (one.revents & POLLIN) != 0;
}

}  // namespace commonhold::test
