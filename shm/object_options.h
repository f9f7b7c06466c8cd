// What a program chooses when it makes an object, and another one that opens it by name may insist on: one table for
// all kinds. The object's record keeps the arguments that the object was made from (object_table.h).
//
// Thread safety: free functions over constants.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "shm/object_table.h"

namespace commonhold::shm {

enum class OptionForm : std::uint8_t {
  kCount,  // a number
  kLimit,  // a number; 0: none
  kFlag,   // yes or no
  kTime,   // nanoseconds; 2^63 - 1: for ever
  kLock,   // the ObjectId of a lock; 0: the object's own
};

struct ObjectOption {
  ObjectKind kind;
  unsigned argument;  // of ObjectPlan::arguments
  const char* name;   // as in the public headers
  OptionForm form;
};

// The options of a kind, in the order of their arguments.
std::span<const ObjectOption> options_of(ObjectKind kind);

// Whether one of the options differs whose bit is set in `compared` (bit i: arguments[i]). Then the texts name those that
// do: "maxsize 5, no redeliver". Both point to kArguments words.
bool options_differ(ObjectKind kind, const Word* have, const Word* want, std::uint32_t compared, std::string& have_text,
                    std::string& want_text);

}  // namespace commonhold::shm
