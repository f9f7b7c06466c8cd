// Every operation that changes a dict, and those that hold its locks, in every state that makes a difference.
#pragma once

#include <vector>

#include "support/dict_kill_stage.h"

namespace commonhold::test {

std::vector<DictCase> dict_insertions();
std::vector<DictCase> dict_growth();
std::vector<DictCase> dict_spreading();
std::vector<DictCase> dict_overwrites();
std::vector<DictCase> dict_large_values();
std::vector<DictCase> dict_erasures();
std::vector<DictCase> dict_batches();
std::vector<DictCase> dict_clearings();
std::vector<DictCase> dict_recycling();
std::vector<DictCase> dict_pins();
std::vector<DictCase> dict_locking_reads();

}  // namespace commonhold::test
