// The client's half of coming in (commonhold.capnp, Door): answers the challenge and checks that the server knows the
// key too before anything it says is believed.
//
// Thread safety: belongs to one kj event loop.
#pragma once

#include <rpc/commonhold.capnp.h>

#include <cstdint>
#include <string>
#include <variant>

#include "rpc/authentication.h"

namespace commonhold::rpc {

struct Admitted {
  schema::Session::Client session;
  // As in ServerInfo and SegmentInfo.
  std::string name, library_version, folder;
  std::uint32_t pid = 0, format_version = 0, layout_hash = 0;
  std::uint64_t starts = 0, nonce = 0;
  bool anonymous = false;
};

struct Denied {
  schema::Failure::Code code;
  std::string message;  // a sentence for a person
};

using Answer = std::variant<Admitted, Denied>;

// REQUIRES: `door` is the bootstrap capability of a connection. The promise breaks when the connection does.
kj::Promise<kj::Own<Answer>> knock(schema::Door::Client door, const Authkey& key, std::string program);

}  // namespace commonhold::rpc
