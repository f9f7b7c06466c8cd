#include <commonhold/version.h>

#include "shm/version.h"

namespace commonhold {

std::string_view version() {
  return shm::library_version();
}

}  // namespace commonhold
