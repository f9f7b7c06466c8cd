#include <commonhold/detail/signature.h>

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "shm/layout.h"

namespace commonhold::detail {

namespace {

// FNV-1a: a signature's hash is part of the format and must not depend on a library's version.
std::uint64_t fingerprint(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : text) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

}  // namespace

std::string demangled(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                    &std::free);
  return status == 0 ? name.get() : type.name();
}

std::string joined(std::initializer_list<std::string_view> parts) {
  std::string all;
  for (const std::string_view part : parts) all += part;
  return all;
}

std::string version_text(int version) {
  return version == 0 ? "" : fmt::format(" v{}", version);
}

std::string struct_name(const std::type_info& type, std::size_t bytes, int version, const Layout& layout) {
  std::string name = "struct<" + demangled(type);
  name += version_text(version);
  name += fmt::format(",{}", bytes);
  for (std::size_t i = 0; i < layout.count; ++i) {
    const auto& [kind, count] = layout.runs[i];
    name += i == 0 ? ':' : ' ';
    name += kind.letter;
    if (kind.bytes != 0) name += std::to_string(kind.bytes);
    if (count != 1) name += fmt::format("*{}", count);
  }
  return name + '>';
}

namespace {
thread_local std::vector<std::string_view> being_named;
}

NamedType::NamedType(std::string_view name)
    : again_(std::find(being_named.begin(), being_named.end(), name) != being_named.end()) {
  being_named.push_back(name);
}
NamedType::~NamedType() {
  being_named.pop_back();
}

std::string fitted_signature(std::string text) {
  if (text.size() <= shm::kMaxSignatureBytes) return text;
  const std::string tail = fmt::format("...#{:016x}", fingerprint(text));
  return text.substr(0, shm::kMaxSignatureBytes - tail.size()) + tail;
}

}  // namespace commonhold::detail
