// What a server refused, as the error that a program gets.
#pragma once

#include <string_view>

#include "rpc/knock.h"

namespace commonhold::detail {

// A reply's failure, carried out of the loop.
using Refusal = rpc::Denied;

// `name`: of the object that was asked for, if any.
[[noreturn]] void throw_refusal(const Refusal& refusal, std::string_view name);

}  // namespace commonhold::detail
