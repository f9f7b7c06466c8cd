// What the subcommands do. Each prints to standard output and returns the exit status; errors are exceptions.
#pragma once

#include <functional>
#include <string>

namespace commonhold::cli {

int list_managers();
int list_objects(const std::string& manager);
int list_locks(const std::string& manager);
int stop(const std::string& manager, double timeout_seconds);
int destroy(const std::string& manager, double timeout_seconds);
int examine(bool clean);

// Runs a command; an exception becomes one sentence on standard error and status 1.
int saying_errors(const std::function<int()>& command);

// The same for a wrong command line: status 2.
int say_usage_error(const std::string& what);

}  // namespace commonhold::cli
