// A SIGKILL at every instruction of every operation that changes a dict, or holds its locks. After each: the operation
// took effect as a whole or not at all, every block is accounted for, nothing is locked, and the next operation works.
#include <catch2/catch.hpp>

#include "support/dict_kill_cases.h"

using namespace commonhold::test;

namespace {

void kill_everywhere(const std::vector<DictCase>& cases) {
  for (const DictCase& dict_case : cases) {
    DictKillStage stage(dict_case);
    expect_clean(stage.kill_everywhere());
  }
}

}  // namespace

TEST_CASE("an insertion is there or not, wherever its writer is killed") {
  kill_everywhere(dict_insertions());
}
TEST_CASE("a table that grows under a killed writer is the old or the new one") {
  kill_everywhere(dict_growth());
}
TEST_CASE("a dict has one shard or many, and the same entries, wherever who spreads it is killed") {
  kill_everywhere(dict_spreading());
}
TEST_CASE("an overwritten value is the old or the new one, wherever its writer is killed") {
  kill_everywhere(dict_overwrites());
}
TEST_CASE("large values are there as a whole or not at all") {
  kill_everywhere(dict_large_values());
}
TEST_CASE("an erased entry is gone or there, wherever its eraser is killed") {
  kill_everywhere(dict_erasures());
}
TEST_CASE("several keys change together or not at all, wherever their writer is killed") {
  kill_everywhere(dict_batches());
}
TEST_CASE("a dict is cleared or assigned as a whole") {
  kill_everywhere(dict_clearings());
}
TEST_CASE("recycled blocks are neither lost nor used twice") {
  kill_everywhere(dict_recycling());
}
TEST_CASE("a pin ends with its thread, and what it held is not lost") {
  kill_everywhere(dict_pins());
}
TEST_CASE("a killed reader leaves no lock behind") {
  kill_everywhere(dict_locking_reads());
}
