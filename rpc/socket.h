// The Unix sockets of a manager's folder, for both ends. A folder's path may be longer than a socket address holds.
#pragma once

#include <chrono>
#include <string>

namespace commonhold::rpc {

// A non-blocking, close-on-exec socket that listens at FOLDER/socket, in the place of a stale one; the name
// appears when connections are accepted already. Throws AddressError.
int listen_in_folder(const std::string& folder);

// A non-blocking, close-on-exec socket connected to FOLDER/socket; -1 with errno when nobody listens there
// (ENOENT, ECONNREFUSED; ENOTSOCK for anything but a socket there) or the connection failed otherwise. Blocks while the
// server's backlog is full, at most `within` where that is not 0 (EAGAIN).
int connect_to_folder(const std::string& folder, std::chrono::milliseconds within = {});

// True when the other end of `socket` is a process of this process's effective user, as the kernel says.
bool peer_is_same_user(int socket, int* pid = nullptr);

}  // namespace commonhold::rpc
