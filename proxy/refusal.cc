#include "proxy/refusal.h"

#include <string>

#include <commonhold/errors.h>

namespace commonhold::detail {

void throw_refusal(const Refusal& refusal, std::string_view name) {
  using Code = rpc::schema::Failure::Code;
  const std::string& message = refusal.message;
  switch (refusal.code) {
    case Code::AUTHENTICATION:
      throw AuthenticationError(message);
    case Code::INVALID:
      if (name.empty()) throw ValueError(message);
      throw NameError(NameError::Reason::kInvalid, message);
    case Code::TOO_LARGE:
      throw NameError(NameError::Reason::kInvalid, message);
    case Code::NOT_FOUND:
      throw NameError(NameError::Reason::kUnknown, message);
    case Code::EXISTS:
      throw NameError(NameError::Reason::kTaken, message);
    case Code::TYPE_MISMATCH:
      throw TypeMismatch(message);
    case Code::OTHER_OPTIONS:
      throw OptionsMismatch(message);
    case Code::GONE:
      throw ObjectGone(message);
    case Code::OUT_OF_MEMORY:
      throw OutOfMemory(message);
    case Code::TOO_MANY:
      throw LimitReached(message);
    case Code::SHUTTING_DOWN:
      throw ServerGone(message);
    case Code::INTERNAL:
    case Code::UNSUPPORTED:
    case Code::UNKNOWN_TYPE:
    case Code::UNKNOWN_METHOD:
      break;
  }
  throw RemoteError(message);
}

}  // namespace commonhold::detail
