// A million numbers, read in place and one by one.
#include <commonhold/manager.h>

#include <numeric>
#include <span>

#include "bench/lazy.h"
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

constexpr std::size_t kNumbers = 1'000'000;

struct OurArray {
  std::span<double> span() { return array.span(); }
  Manager manager;
  Array<double> array = manager.array<double>(kNumbers);
};

struct BareArray {
  struct Numbers {
    double all[kNumbers];
  };
  std::span<double> span() { return numbers->all; }
  Shared<Numbers> numbers;
};

// Gigabytes a second of reading one after the other. `sum` adds up and gives the sum.
template <typename Numbers, typename Sum>
Contender contender(std::string name, Lazy<Numbers> lazy, Sum sum) {
  return {std::move(name), [lazy, sum](const Plan& plan) -> std::vector<double> {
            Numbers& numbers = *lazy;
            std::iota(numbers.span().begin(), numbers.span().end(), 1.0);
            double steps = million_per_second(
                1, plan, [&](Worker& worker) { worker.repeat([&](std::uint64_t) { keep(sum(numbers)); }); });
            return {steps * 1e6 / Worker::kBatch * kNumbers * sizeof(double) * 1e-9};
          }};
}

// Eight sums at once, so that memory and not the addition sets the pace.
double sum_of_span(std::span<const double> numbers) {
  double sums[8] = {};
  for (std::size_t i = 0; i + 8 <= numbers.size(); i += 8) {
    for (std::size_t j = 0; j < 8; ++j) sums[j] += numbers[i + j];
  }
  return std::accumulate(std::begin(sums), std::end(sums), 0.0);
}

}  // namespace

void add_array_rows(Rows& rows) {
  Lazy<OurArray> ours;
  Lazy<BareArray> bare;
  auto in_place = [](auto& numbers) { return sum_of_span(numbers.span()); };
  rows.push_back({.family = "array",
                  .name = "sum of 1,000,000 doubles, in place",
                  .unit = "GB/s",
                  .ours = contender("", ours, in_place),
                  .beside = {contender("a bare mapping", bare, in_place)},
                  .least_ratio = 0.95});
  rows.push_back({.family = "array",
                  .name = "the same, each loaded in one step",
                  .unit = "GB/s",
                  .ours = contender("", ours,
                                    [](OurArray& numbers) {
                                      double sum = 0;
                                      for (double number : numbers.array) sum += number;
                                      return sum;
                                    }),
                  .beside = {contender("a bare mapping, as atomics", bare, [](BareArray& numbers) {
                    double sum = 0;
                    for (double& number : numbers.span()) sum += std::atomic_ref(number).load();
                    return sum;
                  })}});
}

}  // namespace commonhold::bench
