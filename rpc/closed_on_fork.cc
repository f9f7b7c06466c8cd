#include "rpc/closed_on_fork.h"

#include <pthread.h>

#include <mutex>
#include <unordered_map>

#include "shm/kept_file.h"

namespace commonhold::rpc {

namespace {

// pthread_atfork takes functions without context, so there is one list a process. Never destroyed: forks may come late.
struct Descriptors {
  std::mutex mutex;  // held across fork
  std::unordered_map<int, shm::FileIdentity> open;
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
                   for (const auto& [fd, identity] : all.open) shm::close_kept(fd, identity);
                   all.open.clear();
                   all.mutex.unlock();
                 });
}

}  // namespace

void add_closed_on_fork(int fd) {
  auto& all = descriptors();
  std::lock_guard guard(all.mutex);
  all.open.insert_or_assign(fd, shm::FileIdentity::of(fd));
}

void remove_closed_on_fork(int fd) {
  auto& all = descriptors();
  std::lock_guard guard(all.mutex);
  all.open.erase(fd);
}

}  // namespace commonhold::rpc
