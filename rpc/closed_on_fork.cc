#include "rpc/closed_on_fork.h"

#include <pthread.h>
#include <unistd.h>

#include <mutex>
#include <unordered_set>

namespace commonhold::rpc {

namespace {

// pthread_atfork takes functions without context, so there is one list a process. Never destroyed: forks may come late.
struct Descriptors {
  std::mutex mutex;  // held across fork
  std::unordered_set<int> open;
  Descriptors();
};

Descriptors& descriptors() {
  static auto* all = new Descriptors;
  return *all;
}

Descriptors::Descriptors() {
  pthread_atfork([]() { descriptors().mutex.lock(); }, []() { descriptors().mutex.unlock(); },
                 []() {
                   auto& all = descriptors();
                   for (int fd : all.open) close(fd);
                   all.open.clear();
                   all.mutex.unlock();
                 });
}

}  // namespace

void add_closed_on_fork(int fd) {
  auto& all = descriptors();
  std::lock_guard guard(all.mutex);
  all.open.insert(fd);
}

void remove_closed_on_fork(int fd) {
  auto& all = descriptors();
  std::lock_guard guard(all.mutex);
  all.open.erase(fd);
}

}  // namespace commonhold::rpc
