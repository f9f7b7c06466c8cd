#include <commonhold/detail/kept_descriptor.h>

#include "shm/kept_file.h"

namespace commonhold::detail {

KeptIdentity identity_of(int descriptor) {
  const auto identity = shm::FileIdentity::of(descriptor);
  return {identity.device, identity.inode};
}

bool still_is(int descriptor, const KeptIdentity& identity) {
  return shm::FileIdentity{identity.device, identity.inode}.is(descriptor);
}

void close_kept(int descriptor, const KeptIdentity& identity) {
  shm::close_kept(descriptor, {identity.device, identity.inode});
}

}  // namespace commonhold::detail
