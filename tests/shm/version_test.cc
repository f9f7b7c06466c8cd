#include "shm/version.h"

#include <catch2/catch.hpp>
#include <string>

#include <commonhold/version.h>
#include "shm/layout.h"

using namespace commonhold;

TEST_CASE("the library's version is three numbers and the same inside and outside") {
  REQUIRE_THAT(std::string(shm::library_version()), Catch::Matches("[0-9]+\\.[0-9]+\\.[0-9]+"));
  REQUIRE(version() == shm::library_version());
}

TEST_CASE("the version text names the library's version and the segment format") {
  const std::string text(shm::version_text());
  REQUIRE_THAT(text, Catch::StartsWith(std::string(shm::library_version())));
  REQUIRE_THAT(text, Catch::Contains("segment format " + std::to_string(shm::kFormatVersion)));
}
