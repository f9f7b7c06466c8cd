#include "shm/status.h"

namespace commonhold::shm {

const char* to_string(Status status) {
  switch (status) {
    case Status::kOk:
      return "ok";
    case Status::kNotFound:
      return "not found";
    case Status::kExists:
      return "exists already";
    case Status::kMismatch:
      return "mismatch";
    case Status::kOutOfRange:
      return "out of range";
    case Status::kOutOfMemory:
      return "out of memory";
    case Status::kTooLarge:
      return "too large";
    case Status::kTooMany:
      return "too many";
    case Status::kTimedOut:
      return "timed out";
    case Status::kNotHeld:
      return "not held";
    case Status::kPoisoned:
      return "poisoned";
    case Status::kCorrupt:
      return "corrupt";
    case Status::kGone:
      return "gone";
    case Status::kBroken:
      return "broken";
    case Status::kClosed:
      return "closed";
    case Status::kNoFile:
      return "a file of the manager's folder cannot be opened again";
    case Status::kNotAllowed:
      return "the system does not allow it";
    case Status::kDeadlock:
      return "deadlock";
    case Status::kRetry:
      return "retry";
  }
  return "unknown status";
}

}  // namespace commonhold::shm
