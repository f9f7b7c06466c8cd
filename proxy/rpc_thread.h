// The one thread of this process that runs KJ: started when a manager's server is first asked something, ended with the
// last connection. For the .cc files of the RPC client.
//
// Thread safety: run() from any thread but this one. KJ objects live and end on this thread alone. In a forked child
// the parent's thread does not exist: what belongs to it is left alone there, never destroyed.
#pragma once

#include <kj/async-io.h>
#include <kj/async-unix.h>

#include <memory>
#include <thread>

namespace commonhold::detail {

class RpcThread {
 public:
  // The process's thread, started if need be. REQUIRES: the fork guard's mutex is held.
  static std::shared_ptr<RpcThread> get();

  ~RpcThread();
  RpcThread(const RpcThread&) = delete;
  RpcThread& operator=(const RpcThread&) = delete;

  // Runs `work` on the thread and waits for its result, or for the result of the promise that it returns. What goes
  // wrong there is a kj::Exception here.
  template <typename Work>
  auto run(Work&& work) {
    return executor_->executeSync(work);
  }

  // ---- on the thread ----
  kj::LowLevelAsyncIoProvider& io() { return *io_; }
  kj::Timer& timer() { return *timer_; }

 private:
  RpcThread();

  kj::Own<const kj::Executor> executor_;
  kj::LowLevelAsyncIoProvider* io_ = nullptr;
  kj::Timer* timer_ = nullptr;
  kj::Own<kj::PromiseFulfiller<void>> end_;  // on the thread
  std::thread thread_;
};

}  // namespace commonhold::detail
