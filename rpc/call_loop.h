// A KJ event loop that runs only while somebody waits for an answer, on the thread that waits.
//
// A client is asked nothing by its server, so between calls there is nothing to run: no thread is kept for it. That
// keeps programs that fork as they were: one more thread costs each fork of a small program a fifth of its time.
//
// Thread safety: run() from any thread, one after the other. What lives on the loop is made, used and ended inside
// run(). A forked child must neither use nor destroy its parent's loop.
#pragma once

#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/exception.h>

#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>

namespace commonhold::rpc {

// True when the calling thread runs a KJ event loop, which bars it from entering another.
bool thread_has_loop();

// While it lives, nothing that KJ would log on this thread appears on the program's standard error: what concerns the
// program it gets as an exception.
class SilentKj final : public kj::ExceptionCallback {
 public:
  void logMessage(kj::LogSeverity, const char*, int, int, kj::String&&) override {}
};

class CallLoop {
 public:
  // Does not change what the program does on SIGPIPE, as KJ would.
  CallLoop();
  CallLoop(const CallLoop&) = delete;
  CallLoop& operator=(const CallLoop&) = delete;

  // Calls work(wait_scope) with the loop running, and what is to be written afterwards is written. Throws what `work`
  // throws. On a thread with a loop of its own the work is done by another thread.
  template <typename Work>
  auto run(Work&& work) -> std::invoke_result_t<Work&, kj::WaitScope&> {
    std::lock_guard hold(mutex_);
    if (!thread_has_loop()) return run_here(work);
    std::exception_ptr failure;
    using Result = std::invoke_result_t<Work&, kj::WaitScope&>;
    if constexpr (std::is_void_v<Result>) {
      std::thread([&] { catch_into(failure, [&] { run_here(work); }); }).join();
      if (failure) std::rethrow_exception(failure);
    } else {
      std::optional<Result> result;
      std::thread([&] { catch_into(failure, [&] { result.emplace(run_here(work)); }); }).join();
      if (failure) std::rethrow_exception(failure);
      return std::move(*result);
    }
  }

  // A connected, non-blocking socket as a stream, which closes it. Never raises SIGPIPE.
  kj::Own<kj::AsyncIoStream> wrap_socket(int socket);
  kj::Timer& timer() { return port_->getTimer(); }

 private:
  template <typename Work>
  auto run_here(Work& work) {
    const SilentKj silent;
    kj::WaitScope scope(*loop_);
    scope.poll();  // what happened since the last call; and the timer, which stands still between calls
    if constexpr (std::is_void_v<std::invoke_result_t<Work&, kj::WaitScope&>>) {
      work(scope);
      scope.poll();
    } else {
      auto result = work(scope);
      scope.poll();
      return result;
    }
  }
  template <typename Work>
  static void catch_into(std::exception_ptr& failure, Work&& work) {
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  }

  std::mutex mutex_;
  std::unique_ptr<kj::UnixEventPort> port_;
  std::unique_ptr<kj::EventLoop> loop_;
};

}  // namespace commonhold::rpc
