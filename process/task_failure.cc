#include "process/task_failure.h"

#include <commonhold/current_process.h>
#include <commonhold/detail/signature.h>
#include <commonhold/detail/task_codec.h>
#include <commonhold/errors.h>
#include <commonhold/pool.h>
#include <cxxabi.h>
#include <fmt/format.h>
#include <unistd.h>

#include <utility>

namespace commonhold::detail {

TaskFailure TaskFailure::of_current_exception() {
  TaskFailure failure;
  failure.pid = getpid();
  if (const std::type_info* type = abi::__cxa_current_exception_type()) failure.shown = demangled(*type);
  CaughtException caught = caught_exception();
  failure.type = std::move(caught.type);
  failure.text = std::move(caught.text);
  failure.content = std::move(caught.content);
  return failure;
}

std::string TaskFailure::bytes() const {
  std::string bytes;
  TaskWriter out(bytes);
  out.value(type);
  out.value(shown);
  out.value(text);
  out.value(pid);
  for (const int number : content.numbers) out.value(number);
  out.value(content.bytes);
  out.value(content.more);
  return bytes;
}

TaskFailure TaskFailure::from(std::string_view bytes) {
  TaskReader in(bytes);
  TaskFailure failure;
  failure.type = in.value<std::string>();
  failure.shown = in.value<std::string>();
  failure.text = in.value<std::string>();
  failure.pid = in.value<int>();
  for (int& number : failure.content.numbers) number = in.value<int>();
  failure.content.bytes = in.value<std::string>();
  failure.content.more = in.value<std::string>();
  return failure;
}

std::exception_ptr TaskFailure::exception() const {
  const TaskOrigin origin(shown, pid);
  try {
    throw_known(type, text, content, origin);
    throw FromWorker<TaskError>(fmt::format("{}: {} (in worker {})", shown, text, pid), origin);
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace commonhold::detail
