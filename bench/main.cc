// commonhold-bench: measures and compares. See docs/benchmarks.md.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <fstream>
#include <set>

#include "bench/clock.h"
#include "bench/jobs.h"
#include "bench/report.h"
#include "bench/row.h"
#include "bench/workers.h"

namespace commonhold::bench {
namespace {

constexpr const char* kHelp =
    R"(Measures Commonhold beside what it is built from and what else people use.

Each row is measured in several rounds. In each round the row and everything it is compared with run once, in turn, so
that a noisy machine is as unkind to the one as to the other: trust the ratios first, then the medians. Workers are
processes, pinned to a core each. Nothing is left in /dev/shm.)";

constexpr const char* kExamples = R"(
Examples:
  commonhold-bench                            everything
  commonhold-bench --list                     the rows, and what each is compared with
  commonhold-bench -f "dict get" -r 15        rows with both words in their names, 15 rounds
  commonhold-bench -f lock -s 1 --json FILE   longer measurements; every figure into FILE
  commonhold-bench -f get --only-ours         without the comparisons, for a profiler)";

struct Options {
  std::vector<std::string> filters;
  int rounds = 7;
  double seconds = 0.15;
  std::string json_file;
  bool list = false, only_ours = false;
};

Rows all_rows() {
  Rows rows;
  add_dict_rows(rows);
  add_dict_growth_rows(rows);
  add_lock_rows(rows);
  add_sync_rows(rows);
  add_semaphore_rows(rows);
  add_watch_rows(rows);
  add_death_rows(rows);
  add_value_rows(rows);
  add_array_rows(rows);
  add_queue_rows(rows);
  add_pool_rows(rows);
  add_start_rows(rows);
  add_machine_rows(rows);
  return rows;
}

bool has_all_words(const std::string& text, const std::string& words) {
  std::size_t at = 0;
  while ((at = words.find_first_not_of(' ', at)) != std::string::npos) {
    std::size_t end = std::min(words.find(' ', at), words.size());
    if (text.find(words.substr(at, end - at)) == std::string::npos) return false;
    at = end;
  }
  return true;
}

std::string name_of(const Row& row) {
  return row.family + ": " + row.name;
}

bool wanted(const Row& row, const Options& options) {
  for (const std::string& filter : options.filters) {
    if (has_all_words(name_of(row), filter)) return true;
  }
  return options.filters.empty();
}

double load_now() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : -1;
}

std::string machine() {
  std::string model = "unknown processor", line;
  std::ifstream info("/proc/cpuinfo");
  while (std::getline(info, line)) {
    if (line.rfind("model name", 0) == 0) model = line.substr(line.find(':') + 2);
  }
  utsname system{};
  uname(&system);
  return fmt::format("{}, {} {} {}", model, system.sysname, system.release, system.machine);
}

// For rows that want it: this program with --measure, which prints the figures.
std::vector<double> measure_in_new_program(const std::string& row, std::size_t contender, const Plan& plan) {
  return in_new_program({"/proc/self/exe", "--measure", row, "--contender", std::to_string(contender), "-s",
                         std::to_string(plan.seconds)});
}

int measure_here(const Rows& rows, const std::string& name, std::size_t contender, double seconds) {
  for (const Row& row : rows) {
    if (name_of(row) != name || contender > row.beside.size()) continue;
    for (double figure : row.contender(contender).measure({seconds})) fmt::print("{:.9g}\n", figure);
    return 0;
  }
  return 2;
}

// The first contender is ours, then come those of `beside`.
void measure_once(std::size_t contender, const Row& row, const Plan& plan, Figures& figures) {
  if (!figures.error.empty()) return;
  try {
    std::vector<double> values = row.in_new_program ? measure_in_new_program(name_of(row), contender, plan)
                                                    : row.contender(contender).measure(plan);
    if (values.empty()) throw std::runtime_error("measured nothing");
    double worst = quantile(values, row.better == Better::kHigher ? 0 : 1);
    figures.rounds.push_back(row.reduce == Reduce::kWorst ? worst : median(values));
    figures.all.insert(figures.all.end(), values.begin(), values.end());
  } catch (const Unavailable& absent) {
    figures.error = absent.why;
  } catch (const std::exception& failure) {
    figures.error = fmt::format("failed: {}", failure.what());
  }
}

void run(std::vector<RowResult>& results, const Options& options) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  std::int64_t start = now_ns();
  for (int round = 0; round < options.rounds; ++round) {
    Plan plan{options.seconds, round, options.rounds};
    for (RowResult& result : results) {
      fmt::print(stderr, "{}round {} of {}, {:.0f} s: {}: {}{}", terminal ? "\r\033[K" : "", round + 1, options.rounds,
                 seconds_since(start), result.row->family, result.row->name, terminal ? "" : "\n");
      std::fflush(stderr);
      measure_once(0, *result.row, plan, result.ours);
      for (std::size_t i = 0; i < result.beside.size(); ++i) measure_once(i + 1, *result.row, plan, result.beside[i]);
    }
  }
  fmt::print(stderr, "{}", terminal ? "\r\033[K" : "");
}

void list(const std::vector<RowResult>& results) {
  for (const RowResult& result : results) {
    fmt::print("{}: {} ({})\n", result.row->family, result.row->name, result.row->unit);
    for (const Figures& beside : result.beside) fmt::print("    : {}\n", beside.name);
  }
}

int bench_main(int argc, char** argv) {
  Options options;
  CLI::App app(kHelp, "commonhold-bench");
  app.footer(kExamples);
  app.add_option("-f,--filter", options.filters,
                 "only rows whose name has all these words; several times: any of them");
  app.add_option("-r,--repeat,--rounds", options.rounds, "rounds (7)")->check(CLI::Range(1, 1000));
  app.add_option("-s,--seconds", options.seconds, "length of one measurement of a rate, without its warm-up (0.15)")
      ->check(CLI::Range(0.001, 3600.0));
  app.add_option("--json", options.json_file, "write every figure to this file as well");
  app.add_flag("--only-ours", options.only_ours, "leave out what the rows are compared with");
  std::string job;
  app.add_option("--job", job)->group("");  // of the benchmarks' own: jobs.h
  std::string row_to_measure;
  std::size_t contender = 0;
  app.add_option("--measure", row_to_measure)->group("");  // of the benchmarks' own: Row::in_new_program
  app.add_option("--contender", contender)->group("");
  app.add_flag("--list", options.list, "name the rows and measure nothing");
  CLI11_PARSE(app, argc, argv);

  if (!job.empty()) return run_job(job);

  Rows rows = all_rows();
  if (!row_to_measure.empty()) return measure_here(rows, row_to_measure, contender, options.seconds);
  std::vector<RowResult> results;
  for (const Row& row : rows) {
    if (!wanted(row, options)) continue;
    RowResult result;
    result.row = &row;
    result.ours.name = "commonhold";
    for (std::size_t i = 0; i < row.beside.size() && !options.only_ours; ++i) {
      result.beside.emplace_back().name = row.beside[i].name;
    }
    results.push_back(result);
  }
  if (results.empty()) {
    fmt::print(stderr, "commonhold-bench: no row has these words in its name; --list names them\n");
    return 2;
  }
  if (options.list) {
    list(results);
    return 0;
  }

  RunFacts facts{machine(), "GCC " __VERSION__, usable_cores(), options.rounds, options.seconds, load_now(), 0};
  run(results, options);
  facts.load_after = load_now();
  fmt::print("{}", table(results, facts));
  if (!options.json_file.empty()) {
    std::ofstream file(options.json_file);
    file << json(results, facts);
    if (!file.flush()) {
      fmt::print(stderr, "commonhold-bench: {} cannot be written\n", options.json_file);
      return 1;
    }
  }
  bool failed = false;
  for (const RowResult& result : results) failed = failed || !result.ours.error.empty();
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace commonhold::bench

int main(int argc, char** argv) {
  return commonhold::bench::bench_main(argc, argv);
}
