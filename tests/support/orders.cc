#include "support/orders.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

namespace commonhold::test {

namespace {

const std::string kTimedOut(shm::to_string(shm::Status::kTimedOut));

Schedule with(Schedule order, std::size_t at, Step step) {
  order.insert(order.begin() + static_cast<std::ptrdiff_t>(at), step);
  return order;
}

}  // namespace

Orders::Orders(Actors& actors) : actors_(actors) {
  const Mask everybody = (1u << actors.size()) - 1;
  all_ = kind_of(everybody, {}, nullptr);
  const Step time{0, Step::Kind::kTime};
  in_time_ = kind_of(everybody, {}, &time);
  for (std::size_t x = 0; x < actors.size(); ++x) {
    const Step death{x, Step::Kind::kKill};
    after_death_of_[x] = kind_of(everybody, {}, &death);
  }
}

// All orders of the living ones' calls, after some steps.
Orders::Kind Orders::kind_of(Mask living, const Schedule& begin, const Step* step) const {
  Kind kind;
  Schedule order;
  for (std::size_t i = 0; i < actors_.size(); ++i) {
    if ((living >> i & 1) != 0) order.insert(order.end(), actors_.operation(i).calls.size(), {i, Step::Kind::kCall});
  }
  const auto lower = [](const Step& a, const Step& b) { return a.actor < b.actor; };
  do {
    kind.merges.push_back(begin);
    kind.merges.back().insert(kind.merges.back().end(), order.begin(), order.end());
  } while (std::next_permutation(order.begin(), order.end(), lower));
  if (step != nullptr) {
    kind.has_step = true;
    kind.step = *step;
  }
  kind.left.resize(kind.merges.size() * (step != nullptr ? order.size() + 1 : 1));
  std::iota(kind.left.begin(), kind.left.end(), 0);
  std::shuffle(kind.left.begin(), kind.left.end(), std::minstd_rand(1));
  return kind;
}

Schedule Orders::variant(const Kind& kind, std::uint32_t index) const {
  if (!kind.has_step) return kind.merges[index];
  const std::size_t places = kind.merges.front().size() + 1;
  return with(kind.merges[index / places], index % places, kind.step);
}

bool Orders::try_order(Kind& kind, const Schedule& order, const Outcome& outcome, Mask but) {
  Outcome ordered = actors_.run(order);
  if (wrong_.empty() && !ordered.wrong.empty()) wrong_ = to_string(order) + ": " + ordered.wrong;
  const bool fitting = fits(outcome, ordered, but);
  kind.outcomes.push_back(std::move(ordered));
  return fitting;
}

bool Orders::allows_guess(Kind& kind, const Schedule& guess, const Outcome& outcome, Mask but) {
  const bool is_of_kind = std::ranges::all_of(guess, [&](const Step& step) {
    return step.kind == Step::Kind::kCall || (kind.has_step && step.kind == kind.step.kind);
  });
  return is_of_kind && kind.tried.insert(to_string(guess)).second && try_order(kind, guess, outcome, but);
}

bool Orders::allows(Kind& kind, const Outcome& outcome, Mask but) {
  if (std::ranges::any_of(kind.outcomes, [&](const Outcome& order) { return fits(outcome, order, but); })) return true;
  for (const Schedule& guess : order_guesses(outcome.events)) {
    if (allows_guess(kind, guess, outcome, but)) return true;
  }
  while (!kind.left.empty()) {
    const std::uint32_t next = kind.left.back();
    kind.left.pop_back();
    if (try_order(kind, variant(kind, next), outcome, but)) return true;
  }
  return false;
}

std::string Orders::judge(const Schedule& schedule, const Outcome& outcome) {
  if (!outcome.wrong.empty()) return outcome.wrong;
  const bool passed = std::ranges::any_of(schedule, [](const Step& step) { return step.kind == Step::Kind::kTime; });
  Kind* kind = &all_;
  for (std::size_t x = 0; x < actors_.size(); ++x) {
    if (outcome.died[x]) kind = &after_death_of_[x];
  }
  if (kind == &all_ && passed) kind = &in_time_;
  if (allows(*kind, outcome) || (kind == &in_time_ && allows(all_, outcome))) return {};
  if (passed) {
    // A call that times out while another process is stopped in the middle has no effect.
    Mask timed_out = 0;
    for (std::size_t i = 0; i < actors_.size(); ++i) timed_out |= (outcome.results[i] == kTimedOut ? 1u : 0u) << i;
    for (Mask some = timed_out; some != 0; some = (some - 1) & timed_out) {
      const auto [without, fresh] = without_.try_emplace(some);
      if (fresh) {
        Schedule deaths;
        for (std::size_t i = 0; i < actors_.size(); ++i) {
          if ((some >> i & 1) != 0) deaths.push_back({i, Step::Kind::kKill});
        }
        without->second = kind_of(~some & ((1u << actors_.size()) - 1), deaths, nullptr);
      }
      if (allows(without->second, outcome, some)) return {};
    }
  }
  if (actors_.permits(outcome)) return {};
  std::string text = "the outcome is that of no order: " + describe(outcome);
  std::set<std::string> allowed;
  for (const Outcome& order : kind->outcomes) allowed.insert(describe(order));
  for (const std::string& order : allowed) text += "\n      allowed: " + order;
  return text;
}

// `but`: whose results are not compared.
bool Orders::fits(const Outcome& outcome, const Outcome& order, Mask but) const {
  if (outcome.contents != order.contents) return false;
  for (std::size_t i = 0; i < actors_.size(); ++i) {
    if ((but >> i & 1) == 0 && !outcome.died[i] && outcome.results[i] != order.results[i]) return false;
  }
  return keeps_precedence(outcome, order);
}

// Where a call of X had returned before one of Y began, it had in the order, too.
bool Orders::keeps_precedence(const Outcome& outcome, const Outcome& order) const {
  for (std::size_t x = 0; x < actors_.size(); ++x) {
    for (std::size_t i = 0; i < std::min(outcome.returned[x].size(), order.returned[x].size()); ++i) {
      for (std::size_t y = 0; y < actors_.size(); ++y) {
        for (std::size_t j = 0; y != x && j < std::min(outcome.began[y].size(), order.began[y].size()); ++j) {
          if (outcome.returned[x][i] < outcome.began[y][j] && order.returned[x][i] > order.began[y][j]) return false;
        }
      }
    }
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
