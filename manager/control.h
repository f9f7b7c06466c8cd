// What the `commonhold` command asks of a running server, as a client that blocks.
#pragma once

#include <stdexcept>
#include <string>

#include "rpc/address.h"

namespace commonhold::manager {

// Nobody answers there, or the server refused; what() is a sentence that says what to do.
class ControlError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Ends the server and its objects; returns once its folder is gone. Throws ControlError, rpc::AddressError.
void shut_down(const rpc::ManagerAddress& address);

}  // namespace commonhold::manager
