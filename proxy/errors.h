// From the statuses of shm/ to the exceptions of commonhold/errors.h, with the operands in words.
#pragma once

#include <string>
#include <string_view>

#include "proxy/object.h"
#include "rpc/address.h"
#include "shm/segment.h"
#include "shm/status.h"

namespace commonhold::detail {

// A failed operation on an object: "cannot store in dict<text,int64> \"scores\": the memory limit is reached".
// REQUIRES: status is not kOk.
[[noreturn]] void throw_status(shm::Status status, Object& object, const char* operation);

// A manager's name, folder or key file that cannot be used.
[[noreturn]] void throw_address_error(const rpc::AddressError& error);

// A segment that could not be opened.
[[noreturn]] void throw_segment_error(const shm::SegmentError& error, std::string_view manager);

// Why this process or thread could not become an owner in a segment.
[[noreturn]] void throw_join_failure(const shm::Segment& segment);

}  // namespace commonhold::detail
