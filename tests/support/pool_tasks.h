// Tasks that the tests of pools have run.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <numeric>
#include <thread>
#include <vector>

namespace commonhold::test {

inline int square(int n) {
  return n * n;
}
inline int add(int a, int b) {
  return a + b;
}
inline void nap(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}
inline int pid_after_a_while(int milliseconds) {
  nap(milliseconds);
  return getpid();
}

// 0, 1, 2, ...
inline std::vector<int> numbers(int count) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

}  // namespace commonhold::test
