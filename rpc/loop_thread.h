// A thread that runs a KJ event loop for threads that have none.
//
// Thread safety: run() from any thread but this one. KJ objects live and end on this thread alone. A forked child has
// no such thread: there the object must not be used nor destroyed.
#pragma once

#include <kj/async-io.h>

#include <thread>

namespace commonhold::rpc {

class LoopThread {
 public:
  // Returns when the loop runs. All signals are blocked on the thread, and the program's setting for SIGPIPE, which KJ
  // would change, stays as it is.
  LoopThread();
  // Ends the loop and waits for the thread.
  ~LoopThread();
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;

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
  kj::Own<const kj::Executor> executor_;
  kj::LowLevelAsyncIoProvider* io_ = nullptr;
  kj::Timer* timer_ = nullptr;
  kj::Own<kj::PromiseFulfiller<void>> end_;  // on the thread
  std::thread thread_;
};

}  // namespace commonhold::rpc
