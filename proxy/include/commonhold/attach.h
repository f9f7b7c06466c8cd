// Passing objects between programs that know nothing of each other but a text.
//
//   // in one program
//   std::string token = counts.token();
//
//   // in another one, of the same user
//   auto attached = commonhold::attach<Dict<std::string, std::int64_t>>(token);
//
// A token names one object for ever and keeps nothing alive: hold on to the proxy until the other side has attached. (A
// proxy that is sent through a Connection, or stored in another object, is kept by the message or by that object.)
#pragma once

#include <string_view>

#include <commonhold/detail/object_handle.h>
#include <commonhold/errors.h>

namespace commonhold {

// Throws ObjectGone when the object, or the manager that had it, is no more; TypeMismatch; ValueError for a
// text that is no token. Needs no server.
template <typename Proxy>
Proxy attach(std::string_view token) {
  return detail::Access::make<Proxy>(detail::attach_token(token, Proxy::request()));
}

}  // namespace commonhold
