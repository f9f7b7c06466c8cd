// Texts, containers, variants and the like go through every container and channel.
#include <chrono>
#include <filesystem>
#include <unordered_map>
#include <unordered_set>

#include "conformance/stored_types.h"
#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

using Bytes = std::vector<std::byte>;
using Choice = std::variant<std::monostate, int, std::string, std::vector<double>>;
using Nested = std::map<std::string, std::vector<std::optional<std::tuple<int, std::string, bool>>>>;

}  // namespace

namespace commonhold::test {

#define SAMPLES(...)                                        \
  {                                                         \
    static auto values(const Manager&)->std::vector<Type> { \
      return {__VA_ARGS__};                                 \
    }                                                       \
  }
template <typename T>
struct SamplesOf {
  using Type = T;
};
template <>
struct Samples<std::string> : SamplesOf<std::string> SAMPLES("", std::string("a\0b", 3), std::string(5000, 'x'));
template <>
struct Samples<std::u8string> : SamplesOf<std::u8string> SAMPLES(u8"", u8"\u00e4\u20ac", u8"z");
template <>
struct Samples<std::filesystem::path> : SamplesOf<std::filesystem::path> SAMPLES("", "/tmp/a b", "relative/\xff");
template <>
struct Samples<Bytes> : SamplesOf<Bytes> SAMPLES(Bytes{}, Bytes{std::byte{0}}, Bytes(300, std::byte{255}));
template <>
struct Samples<std::vector<int>> : SamplesOf<std::vector<int>> SAMPLES({}, {-1}, {1, 2, 3});
template <>
struct Samples<std::vector<bool>> : SamplesOf<std::vector<bool>> SAMPLES({}, {true}, {true, false});
template <>
struct Samples<std::deque<long double>> : SamplesOf<std::deque<long double>> SAMPLES({}, {1.5L}, {2.5L, -1e4000L});
template <>
struct Samples<std::list<std::string>> : SamplesOf<std::list<std::string>> SAMPLES({}, {"a"}, {"b", ""});
template <>
struct Samples<std::array<std::string, 2>> : SamplesOf<std::array<std::string, 2>> SAMPLES({"", "a"}, {"b"}, {"c"});
template <>
struct Samples<std::array<short, 3>> : SamplesOf<std::array<short, 3>> SAMPLES({1}, {2, 3}, {-4, 5, 6});
template <>
struct Samples<std::set<int>> : SamplesOf<std::set<int>> SAMPLES({}, {1}, {2, 3});
template <>
struct Samples<std::unordered_set<std::string>>
    : SamplesOf<std::unordered_set<std::string>> SAMPLES({}, {"a"}, {"b", "c"});
template <>
struct Samples<std::map<int, std::string>>
    : SamplesOf<std::map<int, std::string>> SAMPLES({}, {{1, "a"}}, {{2, "b"}, {3, ""}});
template <>
struct Samples<std::unordered_map<std::string, double>>
    : SamplesOf<std::unordered_map<std::string, double>> SAMPLES({}, {{"a", 1.5}}, {{"b", 2}, {"c", 3}});
template <>
struct Samples<std::pair<int, std::string>>
    : SamplesOf<std::pair<int, std::string>> SAMPLES({1, "a"}, {2, ""}, {3, "c"});
template <>
struct Samples<std::tuple<>> : SamplesOf<std::tuple<>> SAMPLES({}, {}, {});
template <>
struct Samples<std::tuple<int, bool, float>>
    : SamplesOf<std::tuple<int, bool, float>> SAMPLES({1, true, 1.5f}, {2, false, 0.f}, {3, true, -1.f});
template <>
struct Samples<std::optional<std::optional<int>>>
    : SamplesOf<std::optional<std::optional<int>>> SAMPLES(std::nullopt, std::optional<int>(), 5);
template <>
struct Samples<Choice> : SamplesOf<Choice> SAMPLES(std::monostate{}, 5, std::vector{1.5});
template <>
struct Samples<Nested> : SamplesOf<Nested> SAMPLES({}, {{"a", {std::nullopt}}}, {{"b", {std::tuple{1, "x", true}}}});
template <>
struct Samples<std::chrono::milliseconds>
    : SamplesOf<std::chrono::milliseconds> SAMPLES(std::chrono::milliseconds(-1), std::chrono::milliseconds(0),
                                                   std::chrono::hours(5));
#undef SAMPLES

// An Any's null says nothing of which optional is empty.
template <>
void check_any<std::optional<std::optional<int>>>(const Manager& manager,
                                                  const std::vector<std::optional<std::optional<int>>>& v) {
  auto list = manager.list<Any>();
  list.push_back(v[2]);
  CHECK(list.at(0).as<std::optional<std::optional<int>>>() == v[2]);
}
// All empty tuples are one key.
template <>
void check_dict_keys<std::tuple<>>(const Manager&, const std::vector<std::tuple<>>&) {}

}  // namespace commonhold::test

TEST_CASE("texts and bytes go through every container and channel") {
  ManagerHome home;
  Places places;
  check_types<std::string, std::u8string, std::filesystem::path, Bytes>(places);
}

TEST_CASE("sequences go through every container and channel") {
  ManagerHome home;
  Places places;
  check_types<std::vector<int>, std::vector<bool>, std::deque<long double>, std::list<std::string>,
              std::array<std::string, 2>, std::array<short, 3>>(places);
}

TEST_CASE("sets and maps go through every container and channel") {
  ManagerHome home;
  Places places;
  check_types<std::set<int>, std::unordered_set<std::string>, std::map<int, std::string>,
              std::unordered_map<std::string, double>>(places);
}

TEST_CASE("tuples, optionals, variants and containers of all these go through every container and channel") {
  ManagerHome home;
  Places places;
  check_types<std::pair<int, std::string>, std::tuple<>, std::tuple<int, bool, float>,
              std::optional<std::optional<int>>, Choice, Nested, std::chrono::milliseconds>(places);
}
