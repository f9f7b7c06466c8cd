// What several operations may lead to: the outcomes of the orders in which their calls can be done one after the other.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "support/actors.h"

namespace commonhold::test {

// An outcome is allowed when it is that of a sequential order. Where one died, the order may end before any of its calls
// (it took effect as a whole or not at all). Where time passed, calls that others held up may have timed out, without an
// effect. A call that began after another one had returned comes after it.
//
// Orders are run as they are needed: first those that the judged run is likely to be equal to (order_guesses.h), then the
// others.
class Orders {
 public:
  // REQUIRES: the actors outlive this.
  explicit Orders(Actors& actors);

  // What was wrong with a sequential run so far, "" for nothing.
  const std::string& wrong() const { return wrong_; }
  // What is wrong with an outcome, "" for nothing.
  std::string judge(const Schedule& schedule, const Outcome& outcome);
  std::string describe(const Outcome& outcome) const;

 private:
  using Mask = unsigned;  // of actors
  // Orders of the same actors' calls, with one more step, or none, between any two of them.
  struct Kind {
    std::vector<Schedule> merges;
    bool has_step = false;
    Step step{};
    std::vector<std::uint32_t> left;  // in a random order: those that were not run
    std::vector<Outcome> outcomes;    // of the others
    std::set<std::string> tried;      // of those that were guessed
  };
  Kind kind_of(Mask living, const Schedule& begin, const Step* step) const;
  Schedule variant(const Kind& kind, std::uint32_t index) const;
  // Whether the outcome is one of the kind's; `but`: whose results are not compared.
  bool allows(Kind& kind, const Outcome& outcome, Mask but = 0);
  bool allows_guess(Kind& kind, const Schedule& guess, const Outcome& outcome, Mask but);
  bool try_order(Kind& kind, const Schedule& order, const Outcome& outcome, Mask but);
  bool fits(const Outcome& outcome, const Outcome& order, Mask but) const;
  bool keeps_precedence(const Outcome& outcome, const Outcome& order) const;

  Actors& actors_;
  Kind all_, in_time_, after_death_of_[kMostActors];
  std::map<Mask, Kind> without_;  // where these died before they began
  std::string wrong_;
};

}  // namespace commonhold::test
