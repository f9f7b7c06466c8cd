#include "shm/version.h"

#include <string>

namespace commonhold::shm {

std::string_view library_version() {
  return COMMONHOLD_VERSION;
}

std::string_view version_text() {
  static const std::string text =
      COMMONHOLD_VERSION " (segment format " + std::to_string(kSegmentFormatVersion) + ")";
  return text;
}

}  // namespace commonhold::shm
