// What watching costs those who write: nothing when nobody watches.
#include <commonhold/manager.h>

#include <optional>
#include <string>

#include "bench/lazy.h"
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

struct WatchedDict {
  WatchedDict() {
    for (int i = 0; i < 1024; ++i) numbers["key " + std::to_string(i)] = i;
  }
  Manager manager;
  Dict<std::string, std::int64_t> numbers = manager.dict<std::string, std::int64_t>();
};

enum class Watched { kNothing, kAnotherKey, kWholeDict };

Contender contender(std::string name, Lazy<WatchedDict> lazy, Watched what) {
  return {std::move(name), [lazy, what](const Plan& plan) -> std::vector<double> {
            WatchedDict& dict = *lazy;
            std::optional<Watch> watch;
            if (what == Watched::kAnotherKey) watch.emplace(dict.numbers.watch("absent"));
            if (what == Watched::kWholeDict) watch.emplace(dict.numbers.watch());
            return {million_per_second(1, plan, [&](Worker& worker) {
              std::vector<std::string> keys;
              for (int i = 0; i < 1024; ++i) keys.push_back("key " + std::to_string(i));
              worker.repeat([&](std::uint64_t n) {
                for (std::uint64_t i = 0; i < Worker::kBatch; ++i) {
                  dict.numbers[keys[i % 1024]] = static_cast<std::int64_t>(n);
                }
              });
            })};
          }};
}

}  // namespace

void add_watch_rows(Rows& rows) {
  Lazy<WatchedDict> dict;
  rows.push_back({.family = "watch",
                  .name = "dict overwrite, nobody watches",
                  .unit = "M/s",
                  .ours = contender("", dict, Watched::kNothing),
                  .beside = {contender("a key that is not written is watched", dict, Watched::kAnotherKey),
                             contender("the dict is watched by one who does not look", dict, Watched::kWholeDict)}});
}

}  // namespace commonhold::bench
