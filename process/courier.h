// Connections that travel where no descriptor can: inside of a pool's tasks and results, as tickets.
//
// The sender keeps a descriptor of its own for each ticket, and a thread that hands it, once, to a process of the same
// program that comes with the ticket. When the sender dies, its tickets are void: redeem() throws.
//
// Thread safety: any thread. A forked child has tickets of its own; its parent's are redeemed at the parent.
#pragma once

#include <string>
#include <string_view>

#include <commonhold/connection.h>

namespace commonhold::detail {

// A ticket for the other end's process. The caller's connection stays as it is.
std::string offer_connection(const Connection& connection);
// SystemError when its sender is gone, or somebody else was faster; ValueError for what is no ticket.
Connection redeem_connection(std::string_view ticket);

}  // namespace commonhold::detail
