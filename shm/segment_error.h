// Why a segment could not be made, opened or joined; what() says it in a sentence.
#pragma once

#include <stdexcept>
#include <string>

namespace commonhold::shm {

class SegmentError : public std::runtime_error {
 public:
  enum class Code { kNotFound, kExists, kPermission, kForeignLayout, kOutOfMemory, kInvalid, kSystem };
  SegmentError(Code code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Code code() const { return code_; }

 private:
  Code code_;
};

// "cannot WHAT PATH: ...", with the code that fits the error number.
SegmentError segment_system_error(const std::string& what, const std::string& path, int error);

}  // namespace commonhold::shm
