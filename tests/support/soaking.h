// COMMONHOLD_SOAK=1 in the environment: tests go on for hours instead of seconds.
#pragma once

#include <cstdlib>

namespace commonhold::test {

inline bool soaking() {
  const char* soak = std::getenv("COMMONHOLD_SOAK");
  return soak != nullptr && *soak != '\0' && *soak != '0';
}

}  // namespace commonhold::test
