// Pool: worker processes that run tasks.
//
//   commonhold::Pool pool(4);
//   std::vector<int> squares = pool.map([](int n) { return n * n; }, std::vector{1, 2, 3});
//   auto later = pool.apply_async(render, page, 300);         // render(page, 300), in a worker
//   later.get();                                              // its result, or throws what it threw
//
// The workers are forked when the pool is made, daemonic children named PoolWorker-N. pool_callables.h says which
// callables they can run; arguments and results are of the types that shared objects can hold (codec.h), or are shared
// objects themselves. Tasks and results travel through queues in shared memory, of the pool's own manager or of the one
// it is given.
//
// Errors: what a task throws is thrown by get() with its type and text when it is one of the standard library's or of
// this library's exceptions, or one that register_exception<E>() named; it is then a TaskOrigin as well. All others are
// a TaskError with the type's name in its text. std::exit or an Exit in a task ends the worker.
//
// A death: when a worker dies, whatever kills it, the task that it was at fails at once with WorkerDied, which names
// the pid and the signal, or is run again where that is asked for (PoolOptions::retries, retried()); its other tasks go
// to others, and a new worker takes its place. When the program dies, its workers end. No death leaves a result
// pending. A task that is cancelled, or that runs for longer than limited() says, is ended by its worker's death.
//
// Thread safety: any thread of the process that made the pool. Destroying a pool terminates it; close() and join()
// first to have everything finished.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include <commonhold/async_result.h>
#include <commonhold/detail/pool_calls.h>
#include <commonhold/detail/present.h>
#include <commonhold/manager.h>
#include <commonhold/pool_callables.h>
#include <commonhold/pool_plan.h>

namespace commonhold {

struct PoolOptions {
  std::optional<int> processes = {};       // as many as there are processors for this program
  std::function<void()> initializer = {};  // each worker's first step; when it throws, every task fails with that
  // Workers are fresh images of the program (fresh.h) instead of forks of it: main() calls run_if_fresh(), the initializer
  // is a function, not a callable with state, and no task is inherited(). UsageError otherwise.
  bool fresh = false;
  std::optional<int> max_tasks_per_child = {};  // a worker is replaced after so many tasks or chunks
  int retries = 0;                              // how often a task is run again whose worker died
  std::optional<Manager> manager = {};          // whose memory the queues are in; else a manager of the pool's own
};

class Pool {
 public:
  // ValueError for less than one process. SystemError when not all workers can be started; then none is left.
  explicit Pool(int processes) : Pool(PoolOptions{.processes = processes}) {}
  explicit Pool(PoolOptions options = {});
  Pool(Pool&&) noexcept = default;
  Pool& operator=(Pool&& other) noexcept;
  ~Pool();

  // function(arguments...) in a worker.
  template <typename Function, typename... Arguments>
  auto apply(const Function& function, Arguments&&... arguments) {  // or apply(plan, function, arguments...)
    return apply_async(function, std::forward<Arguments>(arguments)...).get();
  }
  template <typename Function, typename... Arguments>
  requires(!IsPlan<Function>) auto apply_async(const Function& function, Arguments&&... arguments) {
    return apply_async(Plan<>(), function, std::forward<Arguments>(arguments)...);
  }
  template <IsPlan GivenPlan, typename Function, typename... Arguments>
  auto apply_async(const GivenPlan& plan, const Function& function, Arguments&&... arguments);

  // function(item) for each item, many of them (a chunk) one after the other in a worker. All chunks are finished
  // before the first failure is thrown; a failure skips the rest of its chunk. Chunk 0: about four for each worker.
  template <typename Function, std::ranges::input_range Items>
  auto map(const Function& function, Items&& items, std::size_t chunk = 0) {
    return map_async(Plan<>(), function, items, chunk).get();
  }
  template <IsPlan GivenPlan, typename Function, std::ranges::input_range Items>
  auto map(const GivenPlan& plan, const Function& function, Items&& items, std::size_t chunk = 0) {
    return map_async(plan, function, items, chunk).get();
  }
  template <typename Function, std::ranges::input_range Items>
  auto map_async(const Function& function, Items&& items, std::size_t chunk = 0) {
    return map_async(Plan<>(), function, items, chunk);
  }
  template <IsPlan GivenPlan, typename Function, std::ranges::input_range Items>
  auto map_async(const GivenPlan& plan, const Function& function, Items&& items, std::size_t chunk = 0) {
    return map_as<false>(plan, function, items, chunk);
  }
  // Items in braces: map(square, {1, 2, 3}).
  template <typename Function, typename T>
  auto map(const Function& function, std::initializer_list<T> items, std::size_t chunk = 0) {
    return map_async(Plan<>(), function, items, chunk).get();
  }
  template <typename Function, typename T>
  auto map_async(const Function& function, std::initializer_list<T> items, std::size_t chunk = 0) {
    return map_async(Plan<>(), function, items, chunk);
  }
  // The same for items that are tuples or pairs of arguments.
  template <typename Function, std::ranges::input_range Items>
  auto starmap(const Function& function, Items&& items, std::size_t chunk = 0) {
    return starmap_async(Plan<>(), function, items, chunk).get();
  }
  template <IsPlan GivenPlan, typename Function, std::ranges::input_range Items>
  auto starmap(const GivenPlan& plan, const Function& function, Items&& items, std::size_t chunk = 0) {
    return starmap_async(plan, function, items, chunk).get();
  }
  template <typename Function, std::ranges::input_range Items>
  auto starmap_async(const Function& function, Items&& items, std::size_t chunk = 0) {
    return starmap_async(Plan<>(), function, items, chunk);
  }
  template <IsPlan GivenPlan, typename Function, std::ranges::input_range Items>
  auto starmap_async(const GivenPlan& plan, const Function& function, Items&& items, std::size_t chunk = 0) {
    return map_as<true>(plan, function, items, chunk);
  }

  // The results one after the other, in the order of the items, or as they come. Items are drawn when they are needed, so
  // there may be ever more of them: `ahead` chunks are drawn before their results are taken (0: 64 for each worker), the
  // first at once, others by the iterator's calls, or by join(). A container is copied, or moved in; a view, and what its
  // items are in, must outlive the iterator. An exception of the items comes after the results of those before it.
  // ValueError for a chunk of 0.
  template <typename Function, std::ranges::input_range Items>
  auto imap(const Function& function, Items&& items, std::size_t chunk = 1, std::size_t ahead = 0) {
    return imap_as<false>(Plan<>(), function, std::forward<Items>(items), chunk, ahead);
  }
  template <IsPlan GivenPlan, typename Function, std::ranges::input_range Items>
  auto imap(const GivenPlan& plan, const Function& function, Items&& items, std::size_t chunk = 1,
            std::size_t ahead = 0) {
    return imap_as<false>(plan, function, std::forward<Items>(items), chunk, ahead);
  }
  template <typename Function, std::ranges::input_range Items>
  auto imap_unordered(const Function& function, Items&& items, std::size_t chunk = 1, std::size_t ahead = 0) {
    return imap_as<true>(Plan<>(), function, std::forward<Items>(items), chunk, ahead);
  }
  template <IsPlan GivenPlan, typename Function, std::ranges::input_range Items>
  auto imap_unordered(const GivenPlan& plan, const Function& function, Items&& items, std::size_t chunk = 1,
                      std::size_t ahead = 0) {
    return imap_as<true>(plan, function, std::forward<Items>(items), chunk, ahead);
  }

  // No new tasks, which are then Closed; what was given is finished, and the workers end.
  void close();
  // Ends the workers now; results that are not ready fail with PoolTerminated.
  void terminate();
  // After close() or terminate(), else UsageError: draws what is left of every imap's items, and waits for the workers'
  // end.
  void join();

  std::size_t processes() const { return detail::worker_count(core()); }
  std::vector<int> worker_pids() const;

 private:
  template <bool kStar, typename GivenPlan, typename Function, typename Items>
  auto map_as(const GivenPlan& plan, const Function& function, Items& items, std::size_t chunk);
  template <bool kAnyOrder, typename GivenPlan, typename Function, typename Items>
  auto imap_as(const GivenPlan& plan, const Function& function, Items&& items, std::size_t chunk, std::size_t ahead);
  void end() noexcept;
  // UsageError for a pool that was moved from.
  detail::PoolCore& core() const { return detail::present(core_, "a Pool"); }

  std::shared_ptr<detail::PoolCore> core_;
};

// Where an exception that get() throws came from: catch it as its own type, or as this.
class TaskOrigin {
 public:
  TaskOrigin(std::string type, int pid) : type_(std::move(type)), pid_(pid) {}
  virtual ~TaskOrigin() = default;
  const std::string& type() const noexcept { return type_; }  // "std::out_of_range"
  int pid() const noexcept { return pid_; }                   // of the worker

 private:
  std::string type_;
  int pid_;
};

namespace detail {
using Rethrow = void (*)(const std::string& text, TaskOrigin origin);
void enter_exception(const std::type_info& type, Rethrow rethrow);

template <typename E>
struct FromWorker final : E, TaskOrigin {
  FromWorker(const std::string& text, TaskOrigin origin) : E(text), TaskOrigin(std::move(origin)) {}
};
}  // namespace detail

// From now on get() throws an E for a task's E. It is made from the text that its what() gave.
template <typename E>
requires(
    std::derived_from<E, std::exception>&& std::constructible_from<E, const std::string&>) void register_exception() {
  detail::enter_exception(typeid(E), [](const std::string& text, TaskOrigin origin) {
    throw detail::FromWorker<E>(text, std::move(origin));
  });
}

}  // namespace commonhold

#include <commonhold/detail/pool_inline.h>
