#include "support/code_location.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace commonhold::test {
namespace {

std::string hex(std::uint64_t value) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
  return text.data();
}

std::string demangled(const char* symbol) {
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> name(abi::__cxa_demangle(symbol, nullptr, nullptr, &status), &std::free);
  return status == 0 ? name.get() : symbol;
}

// The program's own name in link maps may be relative to a directory that is no longer the current one.
std::string module_file(const char* name) {
  if (::access(name, R_OK) == 0) return name;
  std::array<char, 4096> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  return length > 0 ? std::string(path.data(), static_cast<std::size_t>(length)) : name;
}

// One line of addr2line, or nothing where it has none.
std::string source_line(const std::string& module, std::uint64_t offset) {
  if (module.find('\'') != std::string::npos) return {};
  const std::string command = "addr2line -Cfp -e '" + module + "' " + hex(offset) + " 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  if (!pipe) return {};
  std::array<char, 1024> line{};
  if (std::fgets(line.data(), static_cast<int>(line.size()), pipe.get()) == nullptr) return {};
  std::string text = line.data();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.rfind("?? ", 0) == 0 ? std::string() : text;
}

}  // namespace

std::string describe_code(std::uint64_t address) {
  Dl_info info{};
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address in the code
  if (::dladdr(reinterpret_cast<void*>(address), &info) == 0 || info.dli_fname == nullptr) return hex(address);
  const std::string module = module_file(info.dli_fname);
  const std::uint64_t offset = address - reinterpret_cast<std::uint64_t>(info.dli_fbase);
  std::string text = module.substr(module.rfind('/') + 1) + "+" + hex(offset);
  if (info.dli_sname != nullptr) {
    text +=
        " (" + demangled(info.dli_sname) + "+" + hex(address - reinterpret_cast<std::uint64_t>(info.dli_saddr)) + ")";
  }
  const std::string source = source_line(module, offset);
  return source.empty() ? text : text + " " + source;
}

}  // namespace commonhold::test
