// Why the server did not do what it was asked: the reply's code and its sentence (rpc/commonhold.capnp, Failure).
#pragma once

#include <rpc/commonhold.capnp.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

namespace commonhold::manager {

using FailureCode = rpc::schema::Failure::Code;

struct Refusal {
  FailureCode code = FailureCode::INTERNAL;
  std::string message;
};

// What was asked for, or why not.
template <typename T>
using Result = std::variant<T, Refusal>;

struct Done {};

}  // namespace commonhold::manager
