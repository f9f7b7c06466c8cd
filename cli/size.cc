#include "cli/size.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

namespace commonhold::cli {

std::string parse_size(std::string_view text, std::uint64_t& bytes) {
  auto refuse = [&](const char* why) {
    return fmt::format("\"{}\" {}; write a number of bytes, or one with K, M, G or T, like 512M", text, why);
  };
  std::string copy(text);
  bool begins_with_digit = !copy.empty() && copy[0] >= '0' && copy[0] <= '9';
  if (!begins_with_digit) return refuse("is no size");
  char* end = nullptr;
  double number = std::strtod(copy.c_str(), &end);
  std::string_view unit(end);
  double factor = 1;
  if (!unit.empty()) {
    std::size_t power = std::string_view("KMGT").find(static_cast<char>(unit[0] & ~0x20));
    std::string_view rest = unit.substr(1);
    if (power == std::string_view::npos || !(rest.empty() || rest == "B" || rest == "iB")) return refuse("is no size");
    factor = std::pow(1024.0, static_cast<double>(power + 1));
  }
  double product = number * factor;
  if (!(product >= 1)) return refuse("is too small");
  if (product >= 1e15) return refuse("is more than any machine has");
  bytes = static_cast<std::uint64_t>(product);
  return {};
}

std::string size_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double number = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; number >= 1024 && unit + 1 < std::size(kUnits); ++unit) number /= 1024;
  return fmt::format("{:.{}f} {}", number, number < 10 ? 1 : 0, kUnits[unit]);
}

}  // namespace commonhold::cli
