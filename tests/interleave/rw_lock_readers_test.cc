// Two readers and a writer of one lock, in three processes, two of which are interrupted anywhere.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <iostream>

#include "interleave/pair_fixture.h"
#include "shm/rw_lock.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;
using shm::ThreadContext;
using Kind = Step::Kind;

namespace {

constexpr std::size_t kReader = 0, kOther = 1, kWriter = 2;

// Before each access to shared memory of an operation that is alone, and at its end.
std::vector<std::uint32_t> points_of(const KillTrace& trace) {
  std::vector<std::uint32_t> points = trace.accesses();
  points.push_back(static_cast<std::uint32_t>(trace.size()));
  return points;
}

}  // namespace

TEST_CASE("a writer is never inside with one of two readers, wherever the two were interrupted") {
  KillStage stage;
  const shm::RwLock lock(stage.segment.make({shm::ObjectKind::kRwLock, "", "rwlock"}));
  const bool seen_before = GENERATE(false, true);  // whether it says already that it has had readers
  if (seen_before) {
    REQUIRE(lock.acquire_shared(stage.me()) == Status::kOk);
    REQUIRE(lock.release_shared(stage.me()) == Status::kOk);
  }
  stage.save();
  const Call read = [&](ThreadContext& me) { return word_of(lock.acquire_shared(me)); };
  const Call write = [&](ThreadContext& me) { return word_of(lock.acquire(me)); };
  const Observation observation{
      [&] { return fmt::format("{} read, {}", lock.readers(), lock.writer_pid() != 0 ? "written" : "not written"); },
      [] { return std::string(); }};
  Actors actors(stage, {{"read", read}, {"read", read}, {"write", write}}, observation);
  const std::string ok = word_of(Status::kOk);
  std::size_t schedules = 0;
  for (const std::uint32_t k : points_of(actors.trace(kReader))) {
    for (std::size_t j = 1; j <= points_of(actors.trace(kOther)).size(); ++j) {
      const Schedule schedule{{kReader, Kind::kTo, k}, {kOther, Kind::kAccess, j}, {kWriter}, {kOther}, {kReader}};
      const Outcome outcome = actors.run(schedule);
      INFO(to_string(schedule));
      CHECK(outcome.wrong.empty());
      const bool any_reads = outcome.results[kReader] == ok || outcome.results[kOther] == ok;
      CHECK(any_reads != (outcome.results[kWriter] == ok));
      const int readers = (outcome.results[kReader] == ok) + (outcome.results[kOther] == ok);
      CHECK(outcome.contents == fmt::format("{} read, {}", readers, any_reads ? "not written" : "written"));
      ++schedules;
    }
  }
  std::cout << fmt::format("{} schedules\n", schedules) << std::flush;
}
