#include <commonhold/detail/print.h>

#include <fmt/format.h>

#include <iterator>

namespace commonhold::detail {

std::ostream& print_text(std::ostream& out, std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        quoted += "\\\"";
        break;
      case '\\':
        quoted += "\\\\";
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      case '\t':
        quoted += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          fmt::format_to(std::back_inserter(quoted), "\\u{:04x}", static_cast<unsigned char>(c));
        } else {
          quoted += c;
        }
    }
  }
  return out << quoted + '"';
}

std::ostream& print_bytes(std::ostream& out, std::string_view bytes) {
  constexpr std::size_t kShown = 32;
  std::string text = fmt::format("<{} byte{}{}", bytes.size(), bytes.size() == 1 ? "" : "s", bytes.empty() ? "" : ":");
  for (const char byte : bytes.substr(0, kShown)) {
    fmt::format_to(std::back_inserter(text), " {:02x}", static_cast<unsigned char>(byte));
  }
  return out << text + (bytes.size() > kShown ? " ...>" : ">");
}

// The shortest text that reads back as the same number.
std::ostream& print_real(std::ostream& out, double value) {
  return out << fmt::format("{}", value);
}
std::ostream& print_real(std::ostream& out, float value) {
  return out << fmt::format("{}", value);
}

}  // namespace commonhold::detail
