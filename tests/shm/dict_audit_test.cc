// That the audit of a dict sees a directory that is not as splits leave it.
#include <catch2/catch.hpp>
#include <string>

#include "shm/dict.h"
#include "shm/dict_table.h"
#include "support/fixed_seed.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using Catch::Matchers::Contains;

TEST_CASE("the audit finds a table that stands in the directory more or less often than its depth says") {
  TestSegment segment;
  const shm::ObjectAddress where = segment.make_dict(1);
  fix_seed(where);
  shm::Dict dict(where);
  const shm::AtomicWord& root = shm::dict_shard(*where.segment->at<shm::DictControl>(where.control), 0).root;
  const auto has_rows = [&] {  // some tables stand there once, others in a row
    if (!shm::holds_directory(*segment, root)) return false;
    const auto* directory = segment->at<shm::AtomicWord>(shm::root_offset(root));
    return shm::entry_table(directory[0]) == shm::entry_table(directory[1]);
  };
  for (int i = 0; !has_rows(); ++i) {
    REQUIRE(i < 100'000);
    REQUIRE(dict.put(segment.me(), text(std::to_string(i)), text("v")) == shm::Status::kOk);
  }
  REQUIRE(dict.audit(segment.me()).error == "");
  auto* directory = segment->at<shm::AtomicWord>(shm::root_offset(root));
  const shm::Word row = directory[0];
  for (const shm::Word deeper : {row - 1, row + 1}) {
    // All of the row; one of it alone, as a death between two stores leaves it.
    for (std::uint64_t last = 0; last < 2; ++last) {
      for (std::uint64_t i = 0; i <= last; ++i) directory[i] = deeper;
      CHECK_THAT(dict.audit(segment.me()).error, Contains("as often as its depth says"));
      for (std::uint64_t i = 0; i <= last; ++i) directory[i] = row;
    }
  }
  CHECK(dict.audit(segment.me()).error == "");
}
