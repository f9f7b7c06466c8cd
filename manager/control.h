// What the `commonhold` command asks of a running server, as a client that blocks.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>

#include "rpc/address.h"

namespace commonhold::manager {

// Nobody answers there, or the server refused; what() is a sentence that says what to do.
class ControlError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// How long these wait, each, for the connection to a server, its answer and its end. One that is stopped, or finds no
// descriptor for the connection, does not answer: that is a ControlError that names its process.
inline constexpr std::chrono::milliseconds kAnswersWithin{10'000};

// Ends the manager: its server, where one runs, and its objects. Returns once its folder is gone; clients keep what they
// have mapped. Throws ControlError, rpc::AddressError.
void destroy(const rpc::ManagerAddress& address, std::chrono::milliseconds timeout = kAnswersWithin);

// Ends the server of a named manager and leaves the objects to the next one of the name. Returns once that can start.
// Throws ControlError, rpc::AddressError.
void stop(const rpc::ManagerAddress& address, std::chrono::milliseconds timeout = kAnswersWithin);

}  // namespace commonhold::manager
