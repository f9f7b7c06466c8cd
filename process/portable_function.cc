#include <commonhold/detail/portable_function.h>

#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include <optional>
#include <string_view>
#include <unordered_map>

#include <commonhold/errors.h>

namespace commonhold::detail {

namespace {

// A portable function: a hash of the module's name in the upper 16 bits, the address within it in the lower ones.
constexpr int kNameShift = 48;
constexpr std::uint64_t kOffset = (std::uint64_t{1} << kNameShift) - 1;

std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char byte : name) hash = (hash ^ byte) * 0x100000001b3;
  return (hash ^ hash >> 16 ^ hash >> 32 ^ hash >> 48) & 0xffff;
}

bool is_code(const dl_phdr_info& module, std::uint64_t offset) {
  for (int i = 0; i < module.dlpi_phnum; ++i) {
    const auto& part = module.dlpi_phdr[i];
    const bool runs = part.p_type == PT_LOAD && (part.p_flags & PF_X) != 0;
    if (runs && offset >= part.p_vaddr && offset - part.p_vaddr < part.p_memsz) return true;
  }
  return false;
}

// The first module for which match() gives something.
template <typename Match>
std::optional<std::uint64_t> find_module(Match match) {
  struct Search {
    Match* match;
    std::optional<std::uint64_t> found;
  } search{&match, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* module, std::size_t, void* data) {
        auto* one = static_cast<Search*>(data);
        one->found = (*one->match)(*module);
        return one->found ? 1 : 0;
      },
      &search);
  return search.found;
}

// Translations of this thread so far: a pool's calls are of few functions.
template <typename Translate>
std::uint64_t remembered(std::unordered_map<std::uint64_t, std::uint64_t>& known, std::uint64_t from,
                         Translate translate) {
  const auto found = known.find(from);
  if (found != known.end()) return found->second;
  const std::uint64_t to = translate();
  known.emplace(from, to);
  return to;
}

}  // namespace

std::uint64_t portable_function(std::uintptr_t address) {
  thread_local std::unordered_map<std::uint64_t, std::uint64_t> known;
  return remembered(known, address, [&] {
    const auto found = find_module([&](const dl_phdr_info& module) -> std::optional<std::uint64_t> {
      const std::uint64_t offset = address - module.dlpi_addr;
      if (offset > kOffset || !is_code(module, offset)) return std::nullopt;
      return hash_of(module.dlpi_name) << kNameShift | offset;
    });
    if (!found) throw UsageError(fmt::format("the task's function at {:#x} is in no module of this program", address));
    return *found;
  });
}

std::uintptr_t local_function(std::uint64_t portable) {
  thread_local std::unordered_map<std::uint64_t, std::uint64_t> known;
  return remembered(known, portable, [&] {
    const auto found = find_module([&](const dl_phdr_info& module) -> std::optional<std::uint64_t> {
      const std::uint64_t offset = portable & kOffset;
      if (hash_of(module.dlpi_name) != portable >> kNameShift || !is_code(module, offset)) return std::nullopt;
      return module.dlpi_addr + offset;
    });
    if (!found) {
      throw UsageError(
          fmt::format("the task's function {:#x} is not in worker {}: its library is not loaded there; link the "
                      "program with it, or load it before the pool is made, and before run_if_fresh() where the pool's "
                      "workers are fresh images",
                      portable, getpid()));
    }
    return *found;
  });
}

}  // namespace commonhold::detail
