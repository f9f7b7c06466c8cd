// Pairs that a former run of this program has explored without a failure: COMMONHOLD_EXPLORED names the file with the lines
// that it wrote on standard error (ExplorationReport::line()), so that an exploration of hours goes on where it was
// interrupted. Pairs of one name count in the order in which they are explored.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <string>

namespace commonhold::test {

struct ExploredBefore {
  std::size_t schedules = 0, deaths = 0;
  double seconds = 0;
};

// Each line counts once.
inline std::optional<ExploredBefore> explored_before(const std::string& name) {
  static auto lines = [] {
    std::map<std::string, std::deque<ExploredBefore>> found;
    const char* path = std::getenv("COMMONHOLD_EXPLORED");
    if (path == nullptr) return found;
    const std::regex shape("(.*): (\\d+) schedules, (\\d+) deaths, 0 failures, (\\d+) schedules/s");
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      std::smatch parts;
      if (!std::regex_match(line, parts, shape)) continue;
      const std::size_t schedules = std::stoul(parts[2]), a_second = std::stoul(parts[4]);
      const double seconds = a_second == 0 ? 0 : static_cast<double>(schedules) / static_cast<double>(a_second);
      found[parts[1]].push_back({schedules, std::stoul(parts[3]), seconds});
    }
    return found;
  }();
  auto& of_name = lines[name];
  if (of_name.empty()) return std::nullopt;
  const ExploredBefore first = of_name.front();
  of_name.pop_front();
  return first;
}

}  // namespace commonhold::test
