#include <commonhold/detail/signature.h>

#include <cxxabi.h>
#include <fmt/format.h>

#include <cstdlib>
#include <memory>

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

std::string fitted_signature(std::string text) {
  if (text.size() <= shm::kMaxSignatureBytes) return text;
  const std::string tail = fmt::format("...#{:016x}", fingerprint(text));
  return text.substr(0, shm::kMaxSignatureBytes - tail.size()) + tail;
}

}  // namespace commonhold::detail
