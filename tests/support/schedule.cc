#include "support/schedule.h"

#include <fmt/format.h>

#include <sstream>
#include <stdexcept>

#include "support/virtual_kernel.h"

namespace commonhold::test {

namespace {

bool is_counted(Step::Kind kind) {
  return kind == Step::Kind::kTo || kind == Step::Kind::kAccess;
}

}  // namespace

std::string to_string(const Schedule& schedule) {
  std::string line;
  for (const Step& step : schedule) {
    if (!line.empty()) line += ' ';
    line += static_cast<char>('A' + step.actor);
    line += static_cast<char>(step.kind);
    if (is_counted(step.kind)) line += std::to_string(step.count);
  }
  return line;
}

Schedule parse_schedule(const std::string& line) {
  Schedule schedule;
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const bool has_actor = word.size() >= 2 && word[0] >= 'A' && word[0] < static_cast<char>('A' + kMostActors);
    const bool has_kind = has_actor && std::string("@%*+!~").find(word[1]) != std::string::npos;
    const bool counted = has_kind && is_counted(static_cast<Step::Kind>(word[1]));
    const bool has_number = word.size() > 2 && word.find_first_not_of("0123456789", 2) == std::string::npos;
    if (!has_kind || counted != has_number || (!counted && word.size() != 2)) {
      throw std::invalid_argument(fmt::format("\"{}\" is no step of a schedule: A@120, A%7, A*, A+, A! or A~", word));
    }
    schedule.push_back({static_cast<std::size_t>(word[0] - 'A'), static_cast<Step::Kind>(word[1]),
                        counted ? std::stoul(word.substr(2)) : 0});
  }
  return schedule;
}

}  // namespace commonhold::test
