#include "process/task_failure.h"

#include <commonhold/current_process.h>
#include <commonhold/detail/signature.h>
#include <commonhold/detail/task_codec.h>
#include <commonhold/errors.h>
#include <commonhold/pool.h>
#include <cxxabi.h>
#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <stdexcept>

namespace commonhold::detail {

namespace {

struct Rethrows {
  std::mutex mutex;
  std::map<std::string, Rethrow> by_type;

  template <typename... E>
  void add() {
    (by_type.emplace(typeid(E).name(),
                     [](const std::string& text, TaskOrigin origin) { throw FromWorker<E>(text, std::move(origin)); }),
     ...);
  }
};

Rethrows& rethrows() {
  static auto* all = [] {
    auto* made = new Rethrows;
    made->add<std::logic_error, std::invalid_argument, std::domain_error, std::length_error, std::out_of_range,
              std::runtime_error, std::range_error, std::overflow_error, std::underflow_error, LookupError,
              RuntimeError, KeyError, AttributeError, BrokenBarrier, OptionsMismatch, Stopped, IndexError, ValueError,
              Full, Empty, Closed, TypeMismatch, ObjectGone, LockError, NotHeld, TimeoutError, OutOfMemory,
              LimitReached, ServerGone, RemoteError, AuthenticationError, UsageError, ProcessError, EndOfFile,
              TaskError, PoolTerminated, TaskCancelled, TaskTimeout, CorruptSegment>();
    return made;
  }();
  return *all;
}

struct SystemErrorFromWorker final : SystemError, TaskOrigin {
  SystemErrorFromWorker(int code, const std::string& text, const TaskOrigin& origin)
      : SystemError(code, text), TaskOrigin(origin) {}
};
struct BadAllocFromWorker final : std::bad_alloc, TaskOrigin {
  explicit BadAllocFromWorker(const TaskOrigin& origin) : TaskOrigin(origin) {}
};

}  // namespace

void enter_exception(const std::type_info& type, Rethrow rethrow) {
  std::scoped_lock guard(rethrows().mutex);
  rethrows().by_type[type.name()] = rethrow;
}

TaskFailure TaskFailure::of_current_exception() {
  TaskFailure failure;
  failure.pid = getpid();
  if (const std::type_info* type = abi::__cxa_current_exception_type()) {
    failure.type = type->name();
    failure.shown = demangled(*type);
  }
  try {
    throw;
  } catch (const SystemError& error) {
    failure.code = error.code();
    failure.text = error.what();
  } catch (const std::exception& error) {
    failure.text = error.what();
  } catch (const std::string& text) {
    failure.text = text;
  } catch (const char* text) {
    failure.text = text;
  } catch (...) {
    failure.text = "an exception that is no std::exception";
  }
  return failure;
}

std::string TaskFailure::bytes() const {
  std::string bytes;
  TaskWriter out(bytes);
  out.value(type);
  out.value(shown);
  out.value(text);
  out.value(pid);
  out.value(code);
  return bytes;
}

TaskFailure TaskFailure::from(std::string_view bytes) {
  TaskReader in(bytes);
  TaskFailure failure;
  failure.type = in.value<std::string>();
  failure.shown = in.value<std::string>();
  failure.text = in.value<std::string>();
  failure.pid = in.value<int>();
  failure.code = in.value<int>();
  return failure;
}

std::exception_ptr TaskFailure::exception() const {
  const TaskOrigin origin(shown, pid);
  if (type == typeid(SystemError).name()) {
    return std::make_exception_ptr(SystemErrorFromWorker(code, text, origin));
  }
  if (type == typeid(std::bad_alloc).name()) return std::make_exception_ptr(BadAllocFromWorker(origin));
  Rethrow rethrow = nullptr;
  {
    std::scoped_lock guard(rethrows().mutex);
    const auto found = rethrows().by_type.find(type);
    if (found != rethrows().by_type.end()) rethrow = found->second;
  }
  try {
    if (rethrow != nullptr) rethrow(text, origin);
    throw FromWorker<TaskError>(fmt::format("{}: {} (in worker {})", shown, text, pid), origin);
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace commonhold::detail
