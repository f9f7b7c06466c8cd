#include "shm/version.h"

#include <string>

#include "shm/layout.h"

namespace commonhold::shm {

std::string_view library_version() {
  return COMMONHOLD_VERSION;
}

std::string_view version_text() {
  // Never destroyed: it may be asked for by destructors of static objects.
  static const auto* text =
      new std::string(COMMONHOLD_VERSION " (segment format " + std::to_string(kFormatVersion) + ")");
  return *text;
}

}  // namespace commonhold::shm
