// In what order two or three processes take their steps: a line that a run prints and another can follow.
//
//   A@120 B* A! A*      A up to its 120th instruction; B as far as it gets; A is killed, and recovered; A to its end
//
//   X@n   X goes on until n instructions of its operation are done
//   X%n   X goes on until it is about to make its n-th access to shared memory from here, or system call, or it ends or
//         sleeps
//   X*    X goes on until it ends or sleeps
//   X+    X goes on until one more call of its operation is done, or it sleeps
//   X!    X is killed, and a further process recovers it
//   X~    X stays where it is, and time passes: what others wait for with a deadline is over
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace commonhold::test {

struct Step {
  enum class Kind : char { kTo = '@', kAccess = '%', kOn = '*', kCall = '+', kKill = '!', kTime = '~' };
  std::size_t actor = 0;
  Kind kind = Kind::kOn;
  std::size_t count = 0;  // of instructions or accesses
};

using Schedule = std::vector<Step>;

std::string to_string(const Schedule& schedule);
// Throws std::invalid_argument, which names the step that makes no sense.
Schedule parse_schedule(const std::string& line);

}  // namespace commonhold::test
