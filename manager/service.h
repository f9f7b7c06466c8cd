// The capabilities that clients call (rpc/commonhold.capnp): Door, Session, Hold.
//
// Thread safety: on the server's event loop.
#pragma once

#include <rpc/commonhold.capnp.h>

#include "manager/server_core.h"
#include "rpc/accept_loop.h"

namespace commonhold::manager {

// What a new connection gets. REQUIRES: the core and the connection outlive it.
rpc::schema::Door::Client make_door(ServerCore& core, rpc::Connection& connection);

}  // namespace commonhold::manager
