#include "rpc/spawn.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace commonhold::rpc {

namespace {

template <typename Number>
bool read_number(std::string_view text, Number& number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

int (*serve_in_this_image)(const SpawnRequest& request) = nullptr;

std::vector<std::string> SpawnRequest::arguments() const {
  std::vector<std::string> words{"serve", "--ready-fd", std::to_string(ready_fd)};
  if (name.empty()) {
    words.insert(words.end(), {"--anonymous", "--lifeline-fd", std::to_string(lifeline_fd)});
  } else {
    words.insert(words.end(), {"--name", name});
  }
  if (memory_limit != 0) {
    words.push_back("--memory-limit");
    words.push_back(std::to_string(memory_limit));
  }
  if (!folder.empty()) {
    words.push_back("--folder");
    words.push_back(folder);
  }
  return words;
}

std::string SpawnRequest::environment() const {
  if (!name.empty()) return fmt::format("ready-fd={} memory-limit={} name={}", ready_fd, memory_limit, name);
  return fmt::format("lifeline-fd={} ready-fd={} memory-limit={} folder={}", lifeline_fd, ready_fd, memory_limit,
                     folder);
}

std::optional<SpawnRequest> SpawnRequest::from_environment(std::string_view value) {
  SpawnRequest request;
  while (!value.empty()) {
    std::size_t equals = value.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    std::string_view name = value.substr(0, equals);
    value.remove_prefix(equals + 1);
    // A path is last, as it may have spaces in it.
    bool path = name == "folder" || name == "name";
    std::size_t end = path ? value.size() : std::min(value.find(' '), value.size());
    std::string_view word = value.substr(0, end);
    value.remove_prefix(std::min(end + 1, value.size()));
    bool understood = name == "lifeline-fd"    ? read_number(word, request.lifeline_fd)
                      : name == "ready-fd"     ? read_number(word, request.ready_fd)
                      : name == "memory-limit" ? read_number(word, request.memory_limit)
                                               : path;
    if (!understood) return std::nullopt;
    if (path) (name == "name" ? request.name : request.folder) = word;
  }
  if ((request.lifeline_fd < 0) != !request.name.empty() || request.ready_fd < 0) return std::nullopt;
  return request;
}

std::string ReadyLine::text() const {
  if (ready) return fmt::format("ready {}\n", folder);
  std::string line = fmt::format("failed {} {}", code, message);
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  return line + "\n";
}

std::optional<ReadyLine> ReadyLine::parse(std::string_view text) {
  if (text.empty() || text.back() != '\n') return std::nullopt;
  text.remove_suffix(1);
  ReadyLine line;
  if (text.starts_with("ready /")) {
    line.ready = true;
    line.folder = text.substr(6);
    return line;
  }
  if (!text.starts_with("failed ")) return std::nullopt;
  text.remove_prefix(7);
  std::size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  line.code = text.substr(0, space);
  line.message = text.substr(space + 1);
  return line;
}

}  // namespace commonhold::rpc
