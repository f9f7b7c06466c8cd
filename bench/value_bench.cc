// A shared number: counting up.
#include <commonhold/manager.h>

#include "bench/lazy.h"
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

struct OurNumber {
  void count() { number.fetch_add(1); }
  Manager manager;
  commonhold::Value<std::int64_t> number = manager.value<std::int64_t>(0);
};

struct BareNumber {
  void count() { number->fetch_add(1); }
  Shared<std::atomic<std::int64_t>> number;
};

template <typename Number>
Contender contender(std::string name, Lazy<Number> lazy, int workers) {
  return {std::move(name), [lazy, workers](const Plan& plan) -> std::vector<double> {
            Number& number = *lazy;
            return {million_per_second(workers, plan, [&](Worker& worker) {
              worker.repeat([&](std::uint64_t) {
                for (std::uint64_t i = 0; i < Worker::kBatch; ++i) number.count();
              });
            })};
          }};
}

}  // namespace

void add_value_rows(Rows& rows) {
  Lazy<OurNumber> ours;
  Lazy<BareNumber> bare;
  for (int workers : {1, 2}) {
    rows.push_back({.family = "value",
                    .name = workers == 1 ? "fetch_add, 1 process" : "fetch_add, 2 processes",
                    .unit = "M/s",
                    .ours = contender("", ours, workers),
                    .beside = {contender("std::atomic in a bare mapping", bare, workers)},
                    .least_ratio = 0.95});
  }
}

}  // namespace commonhold::bench
