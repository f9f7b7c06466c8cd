// What a class that can be moved from says of a use afterwards.
#pragma once

namespace commonhold::detail {

// Throws UsageError: "a Pool that was moved from cannot be used".
[[noreturn]] void throw_moved(const char* what);

// What `pointer` points to; `what` names the class whose member it is.
template <typename Pointer>
auto& present(const Pointer& pointer, const char* what) {
  if (pointer == nullptr) [[unlikely]]
    throw_moved(what);
  return *pointer;
}

}  // namespace commonhold::detail
