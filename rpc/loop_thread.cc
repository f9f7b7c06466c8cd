#include "rpc/loop_thread.h"

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <mutex>

namespace commonhold::rpc {

LoopThread::LoopThread() {
  std::mutex mutex;
  std::condition_variable ready;
  bool started = false;
  // The program's signals are the program's business. SIGPIPE included: KJ ignores it for the whole process when its
  // loop is made; blocked on this thread it can do no harm, so the program gets its own setting back.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  struct sigaction pipe_action {};
  sigaction(SIGPIPE, nullptr, &pipe_action);
  thread_ = std::thread([&, this] {
    auto context = kj::setupAsyncIo();
    auto end = kj::newPromiseAndFulfiller<void>();
    io_ = context.lowLevelProvider.get();
    timer_ = &context.provider->getTimer();
    end_ = kj::mv(end.fulfiller);
    {
      std::lock_guard hold(mutex);
      executor_ = kj::getCurrentThreadExecutor().addRef();
      started = true;
      ready.notify_one();
    }
    end.promise.wait(context.waitScope);
    end_ = nullptr;
  });
  std::unique_lock hold(mutex);
  ready.wait(hold, [&] { return started; });
  sigaction(SIGPIPE, &pipe_action, nullptr);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LoopThread::~LoopThread() {
  try {
    run([this] { end_->fulfill(); });
  } catch (const kj::Exception&) {
    // The loop is gone already.
  }
  thread_.join();
}

}  // namespace commonhold::rpc
