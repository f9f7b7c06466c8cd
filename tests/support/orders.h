// What several operations may lead to: the outcomes of the orders in which their calls can be done one after the other.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "support/actors.h"

namespace commonhold::test {

// An outcome is allowed when it is that of a sequential order. Where one died, the order may end before any of its calls
// (it took effect as a whole or not at all). Where time passed, calls that others held up may have timed out, without an
// effect.
class Orders {
 public:
  // Runs all orders, with a death or time that passes between any two calls. REQUIRES: the actors outlive this.
  explicit Orders(Actors& actors);

  // What was wrong with a sequential run, "" for nothing.
  const std::string& wrong() const { return wrong_; }
  // What is wrong with an outcome, "" for nothing.
  std::string judge(const Schedule& schedule, const Outcome& outcome);

 private:
  using Mask = unsigned;  // of actors
  std::vector<Schedule> merges(Mask of) const;
  void add(std::vector<Outcome>& outcomes, const Schedule& schedule);
  // Where these died before they began.
  const std::vector<Outcome>& without(Mask dead);
  bool fits(const Outcome& outcome, const Outcome& order, Mask but = 0) const;
  std::string describe(const Outcome& outcome) const;

  Actors& actors_;
  std::vector<Outcome> all_, in_time_, after_death_of_[kMostActors];
  std::map<Mask, std::vector<Outcome>> without_;
  std::string wrong_;
};

}  // namespace commonhold::test
