// From nothing to a manager that works, and the main job. Each measurement is a program of its own.
#include "bench/jobs.h"
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

Contender job(std::string name, const char* job_name) {
  return {std::move(name), [job_name](const Plan&) { return in_new_program({"/proc/self/exe", "--job", job_name}); }};
}

Contender script(std::string name, std::string file) {
  return {std::move(name), [file](const Plan&) {
            return in_new_program({"python3", std::string(COMMONHOLD_BENCH_PYTHON) + "/" + file});
          }};
}

}  // namespace

void add_start_rows(Rows& rows) {
  rows.push_back({.family = "start",
                  .name = "manager: start to first put and get",
                  .unit = "ms",
                  .better = Better::kLower,
                  .target = 10,
                  .ours = job("", kStartJob),
                  .beside = {script("Python's multiprocessing.Manager", "manager_start.py")}});
  rows.push_back({.family = "start",
                  .name = "100 processes count down under a lock",
                  .unit = "ms",
                  .better = Better::kLower,
                  .target = 20,
                  .ours = job("", kHundredJob),
                  .beside = {job("fork and a pthread mutex in a bare mapping", kHundredBareJob),
                             script("Python's multiprocessing.Manager", "hundred_decrements.py")}});
}

}  // namespace commonhold::bench
