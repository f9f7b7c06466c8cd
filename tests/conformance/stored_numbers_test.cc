// Every number type goes through every container and channel.
#include <complex>
#include <limits>
#include <type_traits>

#include "conformance/stored_types.h"
#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

enum class Level : std::uint8_t { kLow, kMiddle, kHigh = 200 };
enum Sign : int { kMinus = -1, kNone = 0, kPlus = 1 };

}  // namespace

namespace commonhold::test {

template <typename T>
requires std::is_arithmetic_v<T>
struct Samples<T> {
  static std::vector<T> values(const Manager&) {
    using Limits = std::numeric_limits<T>;
    if constexpr (std::is_same_v<T, bool>) return {false, true, false};
    return {Limits::lowest(), T(1), Limits::max()};
  }
};
// Three keys that are different.
template <>
void check_dict_keys<bool>(const Manager& manager, const std::vector<bool>&) {
  auto dict = manager.dict<bool, int>({{true, 1}, {false, 0}});
  CHECK(dict.at(true) == 1);
  CHECK(dict.keys() == std::vector<bool>{true, false});
  CHECK(manager.set<bool>({true}).contains(true));
}
// As a double: the largest long double does not fit.
template <>
void check_any<long double>(const Manager& manager, const std::vector<long double>& v) {
  auto list = manager.list<Any>();
  list.push_back(2.5L);
  CHECK(list.at(0).as<long double>() == 2.5L);
  CHECK_THROWS_AS(list.push_back(v[2]), ValueError);
}
template <>
struct Samples<Level> {
  static std::vector<Level> values(const Manager&) { return {Level::kLow, Level::kMiddle, Level::kHigh}; }
};
template <>
struct Samples<Sign> {
  static std::vector<Sign> values(const Manager&) { return {kMinus, kNone, kPlus}; }
};
template <>
struct Samples<std::byte> {
  static std::vector<std::byte> values(const Manager&) { return {std::byte{0}, std::byte{7}, std::byte{255}}; }
};
template <typename R>
struct Samples<std::complex<R>> {
  static std::vector<std::complex<R>> values(const Manager&) { return {{0, 1}, {2, -3}, {4, 5}}; }
};

}  // namespace commonhold::test

TEST_CASE("every integer type goes through every container and channel") {
  ManagerHome home;
  Places places;
  check_types<bool, char, signed char, unsigned char, short, unsigned short, int, unsigned, long, unsigned long,
              long long, unsigned long long>(places);
}

TEST_CASE("character and enumeration types go through every container and channel") {
  ManagerHome home;
  Places places;
  check_types<char8_t, char16_t, char32_t, wchar_t, std::byte, Level, Sign>(places);
}

TEST_CASE("every floating point type goes through every container and channel") {
  ManagerHome home;
  Places places;
  check_types<float, double, long double, std::complex<double>>(places);
}
