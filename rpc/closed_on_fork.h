// Descriptors that a forked child closes at once.
//
// A server inside a program that forks would otherwise live on in appearance: its children keep its connections and its
// listening socket open, and after its death clients would wait for an answer that nobody gives.
//
// Thread safety: any thread.
#pragma once

namespace commonhold::rpc {

// Closes `fd` in every child forked from now on. REQUIRES: remove_closed_on_fork(fd) before it is closed here.
void add_closed_on_fork(int fd);
void remove_closed_on_fork(int fd);

}  // namespace commonhold::rpc
