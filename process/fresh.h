// Starting this program anew for one function.
#pragma once

#include <sys/types.h>

#include <commonhold/detail/fresh_entry.h>

namespace commonhold::detail {

struct Child;

// Whether run_if_fresh() was called in this program.
bool can_start_fresh() noexcept;

// Executes this program again. Throws ProcessError, SystemError.
pid_t spawn_fresh(const Child& child, const FreshCall& call);

}  // namespace commonhold::detail
