// An exception on its way from a worker to the program.
#pragma once

#include <exception>
#include <string>
#include <string_view>

#include "process/known_exceptions.h"

namespace commonhold::detail {

struct TaskFailure {
  std::string type;   // mangled, as std::type_info names it
  std::string shown;  // as a person reads it
  std::string text;
  ExceptionContent content;
  int pid = 0;  // of the worker

  static TaskFailure of_current_exception();
  std::string bytes() const;
  static TaskFailure from(std::string_view bytes);
  // Of its own type where that is known, else a TaskError.
  std::exception_ptr exception() const;
};

}  // namespace commonhold::detail
