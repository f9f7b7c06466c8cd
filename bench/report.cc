#include "bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace commonhold::bench {

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  double at = share * static_cast<double>(values.size() - 1);
  auto below = static_cast<std::size_t>(at);
  std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (at - static_cast<double>(below));
}

double median(std::vector<double> values) {
  return quantile(std::move(values), 0.5);
}

std::vector<double> ratios(const Figures& ours, const Figures& theirs) {
  std::vector<double> result;
  for (std::size_t i = 0; i < std::min(ours.rounds.size(), theirs.rounds.size()); ++i) {
    if (theirs.rounds[i] != 0) result.push_back(ours.rounds[i] / theirs.rounds[i]);
  }
  return result;
}

namespace {

// Three digits that count.
std::string number(double value) {
  if (std::isnan(value)) return "-";
  double size = std::fabs(value);
  return size >= 100  ? fmt::format("{:.0f}", value)
         : size >= 10 ? fmt::format("{:.1f}", value)
                      : fmt::format("{:.2f}", value);
}

std::string range(const std::vector<double>& values) {
  return values.empty() ? "" : fmt::format("{}..{}", number(quantile(values, 0)), number(quantile(values, 1)));
}

std::string verdict(const RowResult& result) {
  const Row& row = *result.row;
  double value = median(result.ours.rounds);
  if (row.least_ratio != 0 && !result.beside.empty()) {
    double ratio = median(ratios(result.ours, result.beside.front()));
    if (std::isnan(ratio)) return "";
    return fmt::format("x >= {} {}", number(row.least_ratio), ratio >= row.least_ratio ? "met" : "SHORT");
  }
  if (row.target == 0 || std::isnan(value)) return "";
  bool met = row.better == Better::kHigher ? value >= row.target : value <= row.target;
  return fmt::format("{} {} {}", row.better == Better::kHigher ? ">=" : "<=", number(row.target),
                     met ? "met" : "SHORT");
}

std::string line(const std::string& name, const std::string& unit, const Figures& figures, const std::string& last) {
  if (!figures.error.empty()) return fmt::format("  {:<46} {}\n", name, figures.error);
  std::string text = fmt::format("  {:<46} {:>7} {:<5}  {:<15} {}", name, number(median(figures.rounds)), unit,
                                 range(figures.rounds), last);
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

// Where a round gives many figures: how they are distributed.
std::string spread(const Figures& figures) {
  if (figures.all.size() <= figures.rounds.size()) return "";
  return fmt::format("  {:<46} {} figures: half below {}, 90% below {}, 99% below {}, worst {}\n", "",
                     figures.all.size(), number(quantile(figures.all, 0.5)), number(quantile(figures.all, 0.9)),
                     number(quantile(figures.all, 0.99)), number(quantile(figures.all, 1)));
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) result += c;
  }
  return result + "\"";
}

std::string list(const std::vector<double>& values) {
  std::string result = "[";
  for (double value : values) result += fmt::format("{}{:.6g}", result.size() == 1 ? "" : ", ", value);
  return result + "]";
}

std::string object(const Figures& figures) {
  if (!figures.error.empty())
    return fmt::format("{{\"name\": {}, \"error\": {}}}", quoted(figures.name), quoted(figures.error));
  return fmt::format("{{\"name\": {}, \"median\": {:.6g}, \"rounds\": {}, \"all\": {}}}", quoted(figures.name),
                     median(figures.rounds), list(figures.rounds),
                     figures.all.size() > figures.rounds.size() ? list(figures.all) : "[]");
}

}  // namespace

std::string table(const std::vector<RowResult>& results, const RunFacts& facts) {
  std::string text =
      fmt::format("{}\n{} cores used, {}; {} rounds of {:.2g} s; load {:.2f} before, {:.2f} after\n", facts.machine,
                  facts.cores, facts.compiler, facts.rounds, facts.seconds, facts.load_before, facts.load_after);
  text +=
      "Each row: the median of the rounds, lowest..highest, the target. Below it what it is compared with; there the\n"
      "last columns are the median of the rounds' ratios (the row : this line) and lowest..highest ratio.\n";
  std::string family;
  for (const RowResult& result : results) {
    const Row& row = *result.row;
    if (row.family != family) text += fmt::format("\n{}\n", row.family);
    family = row.family;
    text += line(row.name, row.unit, result.ours, verdict(result)) + spread(result.ours);
    for (const Figures& beside : result.beside) {
      std::vector<double> compared = ratios(result.ours, beside);
      std::string ratio = compared.empty() ? "" : fmt::format("x {:<6} {}", number(median(compared)), range(compared));
      text += line("  : " + beside.name, row.unit, beside, ratio) + spread(beside);
    }
  }
  return text;
}

std::string json(const std::vector<RowResult>& results, const RunFacts& facts) {
  std::string text = fmt::format(
      "{{\n  \"machine\": {}, \"compiler\": {}, \"cores\": {}, \"rounds\": {}, \"seconds\": {:.6g},\n"
      "  \"load\": [{:.2f}, {:.2f}],\n  \"rows\": [\n",
      quoted(facts.machine), quoted(facts.compiler), facts.cores, facts.rounds, facts.seconds, facts.load_before,
      facts.load_after);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Row& row = *results[i].row;
    text += fmt::format(
        "    {{\"family\": {}, \"name\": {}, \"unit\": {}, \"better\": {}, \"target\": {:.6g}, "
        "\"least_ratio\": {:.6g},\n",
        quoted(row.family), quoted(row.name), quoted(row.unit),
        row.better == Better::kHigher ? "\"higher\"" : "\"lower\"", row.target, row.least_ratio);
    text += fmt::format("     \"ours\": {},\n     \"beside\": [", object(results[i].ours));
    for (std::size_t b = 0; b < results[i].beside.size(); ++b) {
      text += (b == 0 ? "\n       " : ",\n       ") + object(results[i].beside[b]);
    }
    text += fmt::format("]}}{}\n", i + 1 == results.size() ? "" : ",");
  }
  return text + "  ]\n}\n";
}

}  // namespace commonhold::bench
