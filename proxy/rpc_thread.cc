#include "proxy/rpc_thread.h"

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <mutex>

#include "proxy/fork_guard.h"

namespace commonhold::detail {

namespace {

// The thread of this process, and which process that is. Guarded by the fork guard's mutex; leaked.
struct Current {
  std::weak_ptr<RpcThread> thread;
  unsigned generation = 0;
  static Current& instance() {
    static auto* current = new Current;
    return *current;
  }
};

}  // namespace

std::shared_ptr<RpcThread> RpcThread::get() {
  Current& current = Current::instance();
  const unsigned generation = ForkGuard::instance().generation();
  if (current.generation == generation) {
    if (auto thread = current.thread.lock()) return thread;
  }
  std::shared_ptr<RpcThread> thread(new RpcThread);
  current.thread = thread;
  current.generation = generation;
  return thread;
}

RpcThread::RpcThread() {
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

RpcThread::~RpcThread() {
  try {
    run([this] { end_->fulfill(); });
  } catch (const kj::Exception&) {
    // The loop is gone already.
  }
  thread_.join();
}

}  // namespace commonhold::detail
