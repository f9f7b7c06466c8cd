#include "support/own_processor.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <string>

namespace commonhold::test {

namespace {

// Whoever binds the processor's name has it, until its last process has ended.
bool take(int processor) {
  const int taken = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (taken < 0) return false;
  const std::string name = fmt::format("commonhold-tests-processor-{}", processor);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (::bind(taken, reinterpret_cast<const sockaddr*>(&address), length) == 0) return true;
  ::close(taken);
  return false;
}

}  // namespace

void stay_on_one_processor() {
  static const bool once = [] {
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
    for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
      if (!CPU_ISSET(processor, &allowed) || !take(processor)) continue;
      cpu_set_t own;
      CPU_ZERO(&own);
      CPU_SET(processor, &own);
      return ::sched_setaffinity(0, sizeof own, &own) == 0;
    }
    return false;
  }();
  (void)once;
}

}  // namespace commonhold::test
