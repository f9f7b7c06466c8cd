// Whole jobs that are measured in a program of their own: this one, started anew with --job NAME. Each prints how many
// milliseconds it took.
#pragma once

#include <string>

namespace commonhold::bench {

inline constexpr char kStartJob[] = "start";               // a manager, a dict, one put and one get
inline constexpr char kHundredJob[] = "hundred";           // what examples/hundred_decrements does
inline constexpr char kHundredBareJob[] = "hundred-bare";  // the same on a bare mapping

// pool_bench.cc: figures of pools and pipes, one a line, in the row's unit.
inline constexpr char kPoolMapJob[] = "pool-map";
inline constexpr char kPoolMapSinglyJob[] = "pool-map-singly";
inline constexpr char kPoolApplyJob[] = "pool-apply";
inline constexpr char kPipeJob[] = "pipe";
int run_pool_job(const std::string& name);

// The exit status; 2 when there is no such job.
int run_job(const std::string& name);

}  // namespace commonhold::bench
