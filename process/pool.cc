#include <commonhold/pool.h>

#include <iostream>

#include "process/pool_core.h"

namespace commonhold {

namespace detail {

void refuse_chunk() {
  throw ValueError("imap in chunks of 0; a chunk has at least 1 item");
}

void report_callback(std::exception_ptr error) noexcept {
  std::string text = "an exception that is no std::exception";
  try {
    std::rethrow_exception(std::move(error));
  } catch (const std::exception& thrown) {
    text = thrown.what();
  } catch (...) {
    // As above.
  }
  try {
    std::cerr << "commonhold: a pool's callback threw: " + text + "\n" << std::flush;
  } catch (...) {
    // Nobody can be told.
  }
}

}  // namespace detail

Pool::Pool(PoolOptions options) : core_(std::make_shared<detail::PoolCore>(std::move(options))) {}

Pool& Pool::operator=(Pool&& other) noexcept {
  if (this != &other) {
    end();
    core_ = std::move(other.core_);
  }
  return *this;
}

Pool::~Pool() {
  end();
}

void Pool::end() noexcept {
  if (core_ == nullptr) return;
  if (core_->is_mine()) {
    core_->terminate();
    core_->join();
    core_.reset();
  } else {
    // In a forked child: its threads and workers are the parent's.
    // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): without memory the child ends, and the parent goes on
    new std::shared_ptr<detail::PoolCore>(std::move(core_));
  }
}

void Pool::close() {
  core().close();
}
void Pool::terminate() {
  core().terminate();
}
void Pool::join() {
  core().join();
}
std::vector<int> Pool::worker_pids() const {
  return core().pids();
}

}  // namespace commonhold
