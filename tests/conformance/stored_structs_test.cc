// Structs, user types and shared objects go through every container and channel.
#include "conformance/stored_types.h"
#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

namespace shop {

struct Point {
  int x, y;
  auto operator<=>(const Point&) const = default;
};
struct Padded {
  char letter;
  double number;
  short counts[3];
  auto operator<=>(const Padded&) const = default;
};
struct Person {
  std::string name;
  std::vector<int> marks;
  std::optional<Point> at;
  auto operator<=>(const Person&) const = default;
};
struct Team {
  Person lead;
  std::map<std::string, Person> members;
  bool operator==(const Team&) const = default;
};
struct Account {  // with a shared object inside
  std::string owner;
  List<int> bookings;
  bool operator==(const Account& other) const { return owner == other.owner && bookings.same_as(other.bookings); }
  explicit Account(List<int> of) : bookings(std::move(of)) {}
  Account(std::string name, List<int> of) : owner(std::move(name)), bookings(std::move(of)) {}
};
class Celsius {  // a class with a Codec
 public:
  explicit Celsius(double degrees) : degrees_(degrees) {}
  double degrees() const { return degrees_; }
  bool operator==(const Celsius&) const = default;

 private:
  double degrees_;
  std::string note_;
};

}  // namespace shop

template <>
struct commonhold::Codec<shop::Person>
    : commonhold::Members<"person", &shop::Person::name, &shop::Person::marks, &shop::Person::at> {};
template <>
struct commonhold::Codec<shop::Team> : commonhold::Members<"team", &shop::Team::lead, &shop::Team::members> {};
template <>
struct commonhold::Codec<shop::Celsius> {
  static constexpr std::string_view name = "celsius";
  static std::string encode(const shop::Celsius& value) { return std::to_string(value.degrees()); }
  static shop::Celsius decode(std::string_view bytes) { return shop::Celsius(std::stod(std::string(bytes))); }
};

namespace commonhold::test {

template <>
struct Samples<shop::Point> {
  static std::vector<shop::Point> values(const Manager&) { return {{0, 0}, {1, -1}, {2, 3}}; }
};
template <>
struct Samples<shop::Padded> {
  static std::vector<shop::Padded> values(const Manager&) {
    return {{'a', 1.5, {}}, {'b', -2, {1, 2}}, {'c', 0, {3, 4, 5}}};
  }
};
template <>
struct Samples<shop::Person> {
  static std::vector<shop::Person> values(const Manager&) {
    return {{}, {"Ann", {1, 2}, std::nullopt}, {"Bob", {}, shop::Point{1, 2}}};
  }
};
template <>
struct Samples<shop::Team> {
  static std::vector<shop::Team> values(const Manager&) {
    return {{}, {{"Ann", {}, {}}, {}}, {{"Bob", {1}, {}}, {{"c", {"Cid", {2, 3}, shop::Point{}}}}}};
  }
};
template <>
struct Samples<shop::Celsius> {
  static std::vector<shop::Celsius> values(const Manager&) {
    return {shop::Celsius(0), shop::Celsius(-5), shop::Celsius(20.5)};
  }
};
template <detail::Proxy T>
struct Samples<T> {
  static std::vector<T> values(const Manager& manager) { return {make(manager), make(manager), make(manager)}; }
  static T make(const Manager& manager) {
    if constexpr (std::is_same_v<T, Lock>) return manager.lock();
    if constexpr (std::is_same_v<T, Event>) return manager.event();
    if constexpr (std::is_same_v<T, Value<bool>>) return manager.value<bool>(true);
    if constexpr (std::is_same_v<T, Queue<std::string>>) return manager.queue<std::string>();
    if constexpr (std::is_same_v<T, List<int>>) return manager.list<int>({1, 2});
    if constexpr (std::is_same_v<T, Dict<std::string, List<int>>>) return manager.dict<std::string, List<int>>();
  }
};
template <>
struct Samples<Any> {
  static std::vector<Any> values(const Manager& manager) {
    return {nullptr, Any::list(1, "a", true), manager.list<int>()};
  }
};

// A reference is no key.
template <>
void check_dict_keys<Any>(const Manager& manager, const std::vector<Any>& v) {
  auto dict = manager.dict<Any, int>();
  dict.put(v[1], 1);
  CHECK(dict.at(v[1]) == 1);
  CHECK_THROWS_AS(dict.put(v[2], 2), UsageError);
}

}  // namespace commonhold::test

TEST_CASE("structs go through every container and channel") {
  ManagerHome home;
  Places places;
  check_types<shop::Point, shop::Padded>(places);
}

TEST_CASE("user types with a list of members or a codec go through every container and channel") {
  ManagerHome home;
  Places places;
  check_types<shop::Person, shop::Team, shop::Celsius>(places);
}

TEST_CASE("shared objects and values of any type go through every container and channel") {
  ManagerHome home;
  Places places;
  check_types<Lock, Event, Value<bool>, Queue<std::string>, List<int>, Dict<std::string, List<int>>, Any>(places);
}
