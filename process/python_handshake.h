// The handshake of Python's multiprocessing.connection, of both its ages. Each end challenges the other one, the
// listener first:
//
//   challenger  "#CHALLENGE#" + a nonce
//   other end   its digest of the nonce
//   challenger  "#WELCOME#", or "#FAILURE#" and it closes the connection
//
// Up to Python 3.11 the nonce is 20 random bytes, and the digest their HMAC-MD5. From 3.12 on the nonce is "{sha256}"
// and 40 random bytes, and the digest "{sha256}" and the HMAC-SHA256 of the whole nonce, or by another hash in both
// places (hmac.h). An older Python takes such a nonce as bytes without a meaning and answers with their bare
// HMAC-MD5: so a challenger need not know whom it talks with. Challenges of ours are of the newer kind.
#pragma once

#include <memory>
#include <string>

#include <commonhold/detail/authentication.h>

#include "process/handshake.h"

namespace commonhold::detail {

// SystemError on a machine without the library of these hashes.
std::unique_ptr<Handshake> python_handshake(End end, std::string key);

}  // namespace commonhold::detail
