#include <commonhold/stop.h>

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <commonhold/detail/stopping.h>
#include <commonhold/errors.h>

#include "proxy/waiting.h"
#include "shm/kept_file.h"

namespace commonhold {

namespace detail {

// A scope has callbacks on its own token and on those of the scopes around it. The thread's `current` names the innermost.
struct StopState {
  explicit StopState(std::stop_token token);
  ~StopState();
  void request() noexcept;
  int descriptor();

  StopState* const outer;
  std::vector<std::stop_token> tokens;
  shm::WaitStop stop;
  std::mutex mutex;  // guards the rest
  int fd = -1;
  shm::FileIdentity identity;
  // The last members: their destructors wait for a request() that runs.
  std::vector<std::unique_ptr<std::stop_callback<std::function<void()>>>> callbacks;

  static thread_local StopState* current;
};

thread_local StopState* StopState::current = nullptr;

namespace {

// A forked child has none of its parent's scopes.
const int forgets_in_children = pthread_atfork(nullptr, nullptr, [] {
  StopState::current = nullptr;
  shm::current_wait_stop = nullptr;
});

}  // namespace

StopState::StopState(std::stop_token token) : outer(current) {
  if (outer != nullptr) tokens = outer->tokens;
  tokens.push_back(std::move(token));
  for (const std::stop_token& one : tokens) {
    callbacks.push_back(std::make_unique<std::stop_callback<std::function<void()>>>(one, [this] { request(); }));
  }
  current = this;
  shm::current_wait_stop = &stop;
}

StopState::~StopState() {
  if (current != this) return;  // in a forked child
  current = outer;
  shm::current_wait_stop = outer != nullptr ? &outer->stop : nullptr;
  callbacks.clear();
  shm::close_kept(fd, identity);
}

void StopState::request() noexcept {
  stop.request();
  std::scoped_lock guard(mutex);
  const std::uint64_t one = 1;
  if (identity.is(fd)) (void)!write(fd, &one, sizeof one);
}

int StopState::descriptor() {
  std::scoped_lock guard(mutex);
  if (identity.is(fd)) return fd;
  fd = eventfd(stop.requested() ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK);
  identity = shm::FileIdentity::of(fd);
  return fd;
}

}  // namespace detail

StopScope::StopScope(std::stop_token token) : state_(std::make_unique<detail::StopState>(std::move(token))) {}
StopScope::~StopScope() = default;

namespace detail {

bool shall_stop() {
  return shm::current_wait_stop != nullptr && shm::current_wait_stop->requested();
}

void throw_stopped(const std::string& what) {
  throw Stopped(what + ": a stop of this thread's waits was requested");
}

bool in_stop_scope() noexcept {
  return shm::current_wait_stop != nullptr;
}

int stop_descriptor() {
  auto* scope = StopState::current;
  return scope == nullptr ? -1 : scope->descriptor();
}

void end_if_stopped(const char* what) {
  if (shall_stop()) throw_stopped(what);
}

}  // namespace detail
}  // namespace commonhold
