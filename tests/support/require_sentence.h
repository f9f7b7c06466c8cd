// What the command says when it fails.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>

#include "support/server_ground.h"

namespace commonhold::test {

// That a command failed as a person should see it: the status, one line, on standard error alone.
inline void require_sentence(const CommandResult& result, int status) {
  INFO("out: " << result.out << " err: " << result.err);
  REQUIRE(result.status == status);
  REQUIRE(result.out == "");
  REQUIRE_THAT(result.err, Catch::StartsWith("commonhold: "));
  REQUIRE(std::count(result.err.begin(), result.err.end(), '\n') == 1);
}

}  // namespace commonhold::test
