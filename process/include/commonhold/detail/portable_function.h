// Functions as numbers that every process of the same program turns into the function again, though its code lies elsewhere
// there: which module (the program or a library), and where in it.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include <commonhold/detail/call.h>

namespace commonhold::detail {

// UsageError for what is no function of a loaded module.
COMMONHOLD_CALL std::uint64_t portable_function(std::uintptr_t address);
// UsageError when this process has not loaded the module.
COMMONHOLD_CALL std::uintptr_t local_function(std::uint64_t portable);

// A pointer to a function or to a member function, as its bytes with the address in it translated.
template <typename Pointer>
class PortablePointer {
 public:
  static Pointer to_portable(Pointer pointer) { return translated(pointer, &portable_function); }
  static Pointer to_local(Pointer pointer) { return translated(pointer, &local_function); }

 private:
  // As the C++ ABI of these systems lays it out: the address, or for a virtual function its place in the table, which
  // is the same everywhere; for members then what is added to the object.
  static Pointer translated(Pointer pointer, std::uint64_t (*translate)(std::uint64_t)) {
    std::uint64_t words[2] = {};
    static_assert(sizeof pointer <= sizeof words && sizeof(std::uintptr_t) == sizeof(std::uint64_t));
    std::memcpy(words, &pointer, sizeof pointer);
    bool is_address = words[0] != 0;
    if constexpr (std::is_member_function_pointer_v<Pointer>) {
#if defined(__aarch64__) || defined(__arm__)
      is_address = is_address && (words[1] & 1) == 0;
#else
      is_address = is_address && (words[0] & 1) == 0;
#endif
    }
    if (is_address) words[0] = translate(words[0]);
    std::memcpy(&pointer, words, sizeof pointer);
    return pointer;
  }
};

}  // namespace commonhold::detail
