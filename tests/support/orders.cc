#include "support/orders.h"

#include <fmt/format.h>

#include <algorithm>

namespace commonhold::test {

namespace {

using Kind = Step::Kind;
const std::string kTimedOut(shm::to_string(shm::Status::kTimedOut));

Schedule with(Schedule order, std::size_t at, Step step) {
  order.insert(order.begin() + static_cast<std::ptrdiff_t>(at), step);
  return order;
}

}  // namespace

Orders::Orders(Actors& actors) : actors_(actors) {
  for (const Schedule& order : merges((1u << actors.size()) - 1)) {
    add(all_, order);
    for (std::size_t at = 0; at <= order.size(); ++at) {
      add(in_time_, with(order, at, {0, Kind::kTime}));
      for (std::size_t x = 0; x < actors.size(); ++x) add(after_death_of_[x], with(order, at, {x, Kind::kKill}));
    }
  }
  in_time_.insert(in_time_.end(), all_.begin(), all_.end());
}

// The orders of these actors' calls.
std::vector<Schedule> Orders::merges(Mask of) const {
  Schedule order;
  for (std::size_t i = 0; i < actors_.size(); ++i) {
    if ((of >> i & 1) != 0) order.insert(order.end(), actors_.operation(i).calls.size(), {i, Kind::kCall});
  }
  std::vector<Schedule> all;
  const auto lower = [](const Step& a, const Step& b) { return a.actor < b.actor; };
  do {
    all.push_back(order);
  } while (std::next_permutation(order.begin(), order.end(), lower));
  return all;
}

void Orders::add(std::vector<Outcome>& outcomes, const Schedule& schedule) {
  const Outcome outcome = actors_.run(schedule);
  if (wrong_.empty() && !outcome.wrong.empty()) wrong_ = to_string(schedule) + ": " + outcome.wrong;
  const auto same = [&](const Outcome& one) { return fits(outcome, one) && outcome.died == one.died; };
  if (std::ranges::none_of(outcomes, same)) outcomes.push_back(outcome);
}

const std::vector<Outcome>& Orders::without(Mask dead) {
  const auto [found, fresh] = without_.try_emplace(dead);
  if (!fresh) return found->second;
  Schedule kills;
  for (std::size_t i = 0; i < actors_.size(); ++i) {
    if ((dead >> i & 1) != 0) kills.push_back({i, Kind::kKill});
  }
  for (const Schedule& rest : merges(~dead & ((1u << actors_.size()) - 1))) {
    Schedule order = kills;
    order.insert(order.end(), rest.begin(), rest.end());
    add(found->second, order);
  }
  return found->second;
}

std::string Orders::judge(const Schedule& schedule, const Outcome& outcome) {
  if (!outcome.wrong.empty()) return outcome.wrong;
  const bool passed = std::ranges::any_of(schedule, [](const Step& step) { return step.kind == Kind::kTime; });
  const std::vector<Outcome>* allowed = passed ? &in_time_ : &all_;
  for (std::size_t x = 0; x < actors_.size(); ++x) {
    if (outcome.died[x]) allowed = &after_death_of_[x];
  }
  if (std::ranges::any_of(*allowed, [&](const Outcome& order) { return fits(outcome, order); })) return {};
  if (passed) {
    // A call that times out while another process is stopped in the middle has no effect.
    Mask timed_out = 0;
    for (std::size_t i = 0; i < actors_.size(); ++i) timed_out |= (outcome.results[i] == kTimedOut ? 1u : 0u) << i;
    for (Mask some = timed_out; some != 0; some = (some - 1) & timed_out) {
      const auto& orders = without(some);
      if (std::ranges::any_of(orders, [&](const Outcome& order) { return fits(outcome, order, some); })) return {};
    }
  }
  std::string text = "the outcome is that of no order: " + describe(outcome);
  for (const Outcome& order : *allowed) text += "\n      allowed: " + describe(order);
  return text;
}

// `but`: whose results are not compared.
bool Orders::fits(const Outcome& outcome, const Outcome& order, Mask but) const {
  if (outcome.contents != order.contents) return false;
  for (std::size_t i = 0; i < actors_.size(); ++i) {
    if ((but >> i & 1) == 0 && !outcome.died[i] && outcome.results[i] != order.results[i]) return false;
  }
  return true;
}

std::string Orders::describe(const Outcome& outcome) const {
  std::string text;
  for (std::size_t i = 0; i < actors_.size(); ++i) {
    text += fmt::format("{}: {}, ", static_cast<char>('A' + i), outcome.died[i] ? "(died)" : outcome.results[i]);
  }
  return text + "then " + outcome.contents;
}

}  // namespace commonhold::test
