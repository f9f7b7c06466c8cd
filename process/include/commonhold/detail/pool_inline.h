// How Pool's calls become tasks.
#pragma once

#include <iostream>

#include <commonhold/detail/portable_function.h>
#include <commonhold/pool.h>

namespace commonhold {

namespace detail {

[[noreturn]] void refuse_chunk();
void report_callback(std::exception_ptr error) noexcept;

// What `kept` gets is to be kept until the task is done.
template <typename Function>
std::string task_for(TaskFunction runner, const Function& function, Belongings& kept, std::size_t reserve = 0) {
  std::string task;
  task.reserve(sizeof(TaskHead) + reserve);
  TaskWriter out(task, kept);
  const TaskHead head{0, portable_function(reinterpret_cast<std::uintptr_t>(runner))};
  out.raw(&head, sizeof head);
  Callable<Function>::write(out, function);
  return task;
}

template <typename Call>
void write_result(TaskWriter& out, Call&& call) {
  using R = std::invoke_result_t<Call>;
  if constexpr (std::is_void_v<R>) {
    call();
  } else {
    out.value<std::decay_t<R>>(call());
  }
}

// One call with its arguments.
template <typename Function, typename Arguments>
void run_once(TaskReader& in, TaskWriter& out) {
  auto&& callee = Callable<Function>::read(in);
  auto arguments = in.value<Arguments>();
  write_result(out, [&]() -> decltype(auto) {
    return std::apply([&](auto&... each) -> decltype(auto) { return std::invoke(callee, std::move(each)...); },
                      arguments);
  });
}

// One call for each item to the end.
template <typename Function, typename T, bool kStar>
void run_chunk(TaskReader& in, TaskWriter& out) {
  auto&& callee = Callable<Function>::read(in);
  while (!in.rest().empty()) {
    T item = in.value<T>();
    write_result(out, [&]() -> decltype(auto) {
      if constexpr (kStar) {
        return std::apply([&](auto&... each) -> decltype(auto) { return std::invoke(callee, std::move(each)...); },
                          item);
      } else {
        return std::invoke(callee, std::move(item));
      }
    });
  }
}

template <bool kStar, typename Function, typename T>
struct ItemResult {
  using Type = std::decay_t<std::invoke_result_t<Callee<Function>&, T>>;
};
template <typename Function, typename... A>
struct ItemResult<true, Function, std::tuple<A...>> {
  using Type = std::decay_t<std::invoke_result_t<Callee<Function>&, A...>>;
};
template <typename Function, typename A, typename B>
struct ItemResult<true, Function, std::pair<A, B>> {
  using Type = std::decay_t<std::invoke_result_t<Callee<Function>&, A, B>>;
};

template <typename R>
constexpr bool can_return() {
  if constexpr (std::is_void_v<R>) {
    return true;
  } else {
    return kCanCarry<R>;
  }
}

// The callbacks, called by the pool.
template <typename R, bool kMany, typename V, typename E>
std::function<void(const Job&)> callbacks_of(const Plan<V, E>& plan) {
  if constexpr (std::is_same_v<V, NoCallback> && std::is_same_v<E, NoCallback>) {
    return nullptr;
  } else {
    return [on_value = plan.on_value, on_error = plan.on_error](const Job& job) {
      try {
        if (!job_succeeded(job)) {
          if constexpr (!std::is_same_v<E, NoCallback>) (*on_error)(job_error(job));
        } else if constexpr (!std::is_same_v<V, NoCallback>) {
          if constexpr (std::is_void_v<R>) {
            (*on_value)();
          } else {
            (*on_value)(value_of<R, kMany>(job));
          }
        }
      } catch (...) {
        report_callback(std::current_exception());
      }
    };
  }
}

template <typename T, typename Item>
void write_item(std::string& task, Belongings& kept, Item& item) {
  if constexpr (std::is_same_v<std::remove_cv_t<Item>, T>) {
    TaskWriter(task, kept).template value<T>(item);
  } else {
    TaskWriter(task, kept).template value<T>(T(item));
  }
}

// The tasks of a map: chunks of `chunk` items, or about four for each worker.
template <bool kStar, typename Function, typename Items>
std::vector<std::string> chunks_of(const Function& function, Items& items, std::size_t chunk, std::size_t workers,
                                   Belongings& kept) {
  using T = Carried<std::ranges::range_value_t<Items>>;
  static_assert(kCanCarry<T>, "the items need a stored form (codec.h), or to be shared objects");
  std::vector<std::string> tasks;
  if constexpr (!std::ranges::sized_range<Items>) {
    if (chunk == 0) {
      std::vector<T> all;
      for (auto&& item : items) all.emplace_back(std::forward<decltype(item)>(item));
      return chunks_of<kStar>(function, all, chunk, workers, kept);
    }
  } else {
    const std::size_t size = std::ranges::size(items);
    if (chunk == 0) chunk = std::max<std::size_t>(1, (size + 4 * workers - 1) / (4 * workers));
    tasks.reserve((size + chunk - 1) / chunk);
  }
  const TaskFunction runner = &run_chunk<Function, T, kStar>;
  std::size_t in_last = chunk;
  for (auto&& item : items) {
    if (in_last == chunk) {
      tasks.push_back(task_for(runner, function, kept, kCarriedAsIs<T> ? chunk * sizeof(T) : 0));
      in_last = 0;
    }
    write_item<T>(tasks.back(), kept, item);
    ++in_last;
  }
  return tasks;
}

template <typename T>
inline constexpr bool kIsInitializerList = false;
template <typename T>
inline constexpr bool kIsInitializerList<std::initializer_list<T>> = true;

// The items of an imap, which are drawn after the call: a container is copied, or moved in; what can be neither, or is an
// array, must outlive the iteration. A view is copied as the view that it is.
template <typename Items>
class KeptItems {
  using Given = std::remove_cvref_t<Items>;
  static constexpr bool kBorrowed =
      std::is_lvalue_reference_v<Items> && (std::is_array_v<Given> || !std::copy_constructible<Given>);
  // A copy of an initializer list is none of its items.
  using Kept = std::conditional_t<kIsInitializerList<Given>, std::vector<std::ranges::range_value_t<Given>>, Given>;

 public:
  explicit KeptItems(Items& items) requires(kBorrowed) : items_(&items) {}
  explicit KeptItems(Items&& items) requires(!kBorrowed) : items_(std::forward<Items>(items)) {}
  decltype(auto) range() {
    if constexpr (kBorrowed) {
      return (*items_);
    } else {
      return (items_);
    }
  }

 private:
  std::conditional_t<kBorrowed, std::remove_reference_t<Items>*, Kept> items_;
};

// One chunk after the other; an item is drawn when its chunk is.
template <typename Function, typename Items>
class ChunkSource {
  using Range = decltype(std::declval<KeptItems<Items>&>().range());
  using T = Carried<std::ranges::range_value_t<Range>>;
  static_assert(kCanCarry<T>, "the items need a stored form (codec.h), or to be shared objects");

 public:
  ChunkSource(const Plan<>& plan, const Function& function, Items&& items, std::size_t chunk)
      : plan_(plan), function_(function), items_(std::forward<Items>(items)), chunk_(chunk) {}
  ChunkSource(const ChunkSource&) = delete;
  ChunkSource& operator=(const ChunkSource&) = delete;

  // False: the end. An item that throws is the end, too, and comes after the chunk of those before it.
  bool next(JobPlan& plan) {
    if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
    if (ended_) return false;
    plan.retries = plan_.retries;
    plan.limit = plan_.limit;
    plan.kept = Callable<Function>::keep(function_);
    std::string task = task_for(&run_chunk<Function, T, false>, function_, plan.belongings);
    std::size_t size = 0, written = task.size();
    try {
      for (; size < chunk_ && !at_end(); ++size) {
        auto&& item = **at_;
        write_item<T>(task, plan.belongings, item);
        written = task.size();
      }
    } catch (...) {
      ended_ = true;
      if (size == 0) throw;
      error_ = std::current_exception();
      task.resize(written);
    }
    if (size != 0) plan.tasks.push_back(std::move(task));
    return size != 0;
  }

 private:
  // Goes to the next item.
  bool at_end() {
    if (!at_) {
      at_.emplace(std::ranges::begin(items_.range()));
    } else {
      ++*at_;
    }
    ended_ = *at_ == std::ranges::end(items_.range());
    return ended_;
  }

  const Plan<> plan_;
  const Function function_;
  KeptItems<Items> items_;
  const std::size_t chunk_;
  std::optional<std::ranges::iterator_t<std::remove_reference_t<Range>>> at_;
  std::exception_ptr error_;
  bool ended_ = false;
};

}  // namespace detail

template <IsPlan GivenPlan, typename Function, typename... Arguments>
auto Pool::apply_async(const GivenPlan& plan, const Function& function, Arguments&&... arguments) {
  using F = std::decay_t<Function>;
  static_assert((detail::kCanCarry<detail::Carried<Arguments>> && ...),
                "the arguments need a stored form (codec.h), or to be shared objects");
  static_assert(std::is_invocable_v<detail::Callee<F>&, detail::Carried<Arguments>...>,
                "the callable does not take these arguments; texts arrive as std::string, and nothing by reference to "
                "what the caller has");
  using R = std::decay_t<std::invoke_result_t<detail::Callee<F>&, detail::Carried<Arguments>...>>;
  static_assert(detail::can_return<R>(), "the result needs a stored form (codec.h), or to be a shared object");
  using Packed = std::tuple<detail::Carried<Arguments>...>;
  detail::JobPlan job;
  std::string task = detail::task_for<F>(&detail::run_once<F, Packed>, function, job.belongings);
  detail::TaskWriter out(task, job.belongings);
  if constexpr (sizeof...(Arguments) == 0) out.value(Packed());
  (out.value<detail::Carried<Arguments>>(arguments), ...);
  job.tasks.push_back(std::move(task));
  job.kept = detail::Callable<F>::keep(function);
  job.retries = plan.retries;
  job.limit = plan.limit;
  job.when_done = detail::callbacks_of<R, false>(plan);
  return AsyncResult<R>(detail::submit(core(), std::move(job)));
}

template <bool kStar, typename GivenPlan, typename Function, typename Items>
auto Pool::map_as(const GivenPlan& plan, const Function& function, Items& items, std::size_t chunk) {
  using F = std::decay_t<Function>;
  using T = detail::Carried<std::ranges::range_value_t<Items>>;
  using R = typename detail::ItemResult<kStar, F, T>::Type;
  static_assert(detail::can_return<R>(), "the results need a stored form (codec.h), or to be shared objects");
  using Result = MapResult<R>;
  detail::JobPlan job;
  job.tasks = detail::chunks_of<kStar, F>(function, items, chunk, processes(), job.belongings);
  job.kept = detail::Callable<F>::keep(function);
  job.retries = plan.retries;
  job.limit = plan.limit;
  using Value = std::conditional_t<std::is_void_v<R>, void, decltype(std::declval<Result>().get())>;
  if (!job.tasks.empty()) job.when_done = detail::callbacks_of<Value, true>(plan);
  return Result(detail::submit(core(), std::move(job)));
}

template <bool kAnyOrder, typename GivenPlan, typename Function, typename Items>
auto Pool::imap_as(const GivenPlan& plan, const Function& function, Items&& items, std::size_t chunk,
                   std::size_t ahead) {
  static_assert(std::is_same_v<GivenPlan, Plan<>>, "imap has no callbacks: its results are given one after the other");
  using F = std::decay_t<Function>;
  using R = typename detail::ItemResult<false, F, detail::Carried<std::ranges::range_value_t<Items>>>::Type;
  static_assert(!std::is_void_v<R>, "imap gives results one after the other, and there are none: use map");
  static_assert(detail::can_return<R>(), "the results need a stored form (codec.h), or to be shared objects");
  if (chunk == 0) detail::refuse_chunk();
  auto source = std::make_shared<detail::ChunkSource<F, Items>>(plan, function, std::forward<Items>(items), chunk);
  static_cast<void>(core());
  return ResultIterator<R>(detail::open_stream(
      core_, [source](detail::JobPlan& task) { return source->next(task); }, ahead, kAnyOrder));
}

}  // namespace commonhold
