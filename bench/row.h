// What is measured: rows of a table, each with the things it is compared with.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace commonhold::bench {

// How long one measurement takes.
struct Plan {
  double seconds = 0.2;
  int round = 0;
  int rounds = 1;
};

// One thing that can be measured. measure() gives one figure, or many of a kind (latencies), in the row's unit.
struct Contender {
  std::string name;
  std::function<std::vector<double>(const Plan&)> measure;
};

enum class Better { kHigher, kLower };
enum class Reduce { kMedian, kWorst };  // how the figures of one round become one

struct Row {
  std::string family, name, unit;
  Better better = Better::kHigher;
  double target = 0;  // for the machine that docs/benchmarks.md names; 0 for none
  Contender ours;
  std::vector<Contender> beside;  // floors first, then rivals
  Reduce reduce = Reduce::kMedian;
  double least_ratio = 0;  // the target where only the ratio to the first comparison counts
  // Each measurement in this program started anew: where what a process weighs (its memory is copied on writing, and
  // taken apart when it dies) would be part of the figure, and this one holds all that other rows measure.
  bool in_new_program = false;

  const Contender& contender(std::size_t index) const { return index == 0 ? ours : beside[index - 1]; }
};

using Rows = std::vector<Row>;

// A contender that does not exist here says so by throwing this; it is reported, and the rest goes on.
struct Unavailable {
  std::string why;
};

// ---- the families, one file each

void add_dict_rows(Rows& rows);         // dict_bench.cc
void add_dict_growth_rows(Rows& rows);  // dict_growth_bench.cc
void add_lock_rows(Rows& rows);         // lock_bench.cc
void add_sync_rows(Rows& rows);         // sync_bench.cc
void add_semaphore_rows(Rows& rows);    // semaphore_bench.cc
void add_watch_rows(Rows& rows);        // watch_bench.cc
void add_death_rows(Rows& rows);        // death_bench.cc
void add_value_rows(Rows& rows);        // value_bench.cc
void add_array_rows(Rows& rows);        // array_bench.cc
void add_queue_rows(Rows& rows);        // queue_bench.cc
void add_pool_rows(Rows& rows);         // pool_bench.cc
void add_start_rows(Rows& rows);        // start_bench.cc
void add_machine_rows(Rows& rows);      // machine_bench.cc

}  // namespace commonhold::bench
