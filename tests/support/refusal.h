// What a call says when it throws.
#pragma once

#include <commonhold/errors.h>

#include <string>

namespace commonhold::test {

// The message of the E that it throws, "" when it throws nothing.
template <typename E, typename Call>
std::string refusal(Call&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

// The system's error number, 0 when it throws no SystemError.
template <typename Call>
int system_code(Call&& call) {
  try {
    call();
  } catch (const SystemError& error) {
    return error.code();
  }
  return 0;
}

}  // namespace commonhold::test
