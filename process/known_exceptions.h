// Exceptions that come back from a worker as their own type: those of the standard library and of Commonhold, and those
// that register_exception() names. Beside its text each takes along what its constructor asks for.
#pragma once

#include <exception>
#include <string>

#include <commonhold/pool.h>

namespace commonhold::detail {

// What an exception holds beside its text.
struct ExceptionContent {
  int numbers[3] = {};
  std::string bytes, more;
};

// The text of the exception that is being handled, and its content; `type` becomes the mangled name of a type that can be
// thrown again, where it is derived from one that the library's users cannot name.
struct CaughtException {
  std::string type;
  std::string text;
  ExceptionContent content;
};
CaughtException caught_exception();

// Throws one of that type, which is a TaskOrigin as well; returns where the type is not known.
void throw_known(const std::string& type, const std::string& text, const ExceptionContent& content,
                 const TaskOrigin& origin);

}  // namespace commonhold::detail
