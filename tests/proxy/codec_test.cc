// How C++ types become items, names and printed text.
#include <commonhold/detail/encoded.h>
#include <commonhold/detail/print.h>
#include <commonhold/detail/signature.h>
#include <commonhold/errors.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <span>

namespace shop {

struct Point {
  int x, y;
  bool operator==(const Point&) const = default;
};
struct Padded {
  char kind;
  double price;
  bool operator==(const Padded&) const = default;
};
enum class Color : std::uint8_t { kRed = 1, kBlue = 200 };

struct Person {
  std::string name;
  int age = 0;
  bool operator==(const Person&) const = default;
};

struct Price {
  double amount;
  int currency;
};
struct Order {
  int number;
  double weight;
  short counts[3];
  char name[32];
  bool paid;
  Point from;
  unsigned flags;
  Price price;
};
struct Derived : Point {
  float z;
};
struct Timed {
  std::chrono::milliseconds at;  // a class with constructors: one opaque part
  int level;
};
struct Wide {  // more parts than are looked at
  int numbers[400];
  char last;
};
class Hidden {
 public:
  int sum() const { return a_ + b_; }

 private:
  int a_ = 0, b_ = 0;
};
struct Pointing {
  int number;
  const char* name[2];
};
struct Referring {
  const double& number;
};
struct Nothing {};
struct BehindEmpty {
  int number;
  Nothing nothing;
  char* name;
};
struct Viewing {
  int number;
  std::string_view name;
};
struct Card {
  std::string owner;
  std::vector<Person> others;
  std::optional<Point> at;
  bool operator==(const Card&) const = default;
};

struct NoDefault {
  explicit NoDefault(int given) : number(given) {}
  int number;
};

}  // namespace shop

template <>
struct commonhold::Codec<shop::Person> {
  static constexpr std::string_view name = "person";
  static std::string encode(const shop::Person& person) { return std::to_string(person.age) + " " + person.name; }
  static shop::Person decode(std::string_view bytes) {
    const auto space = bytes.find(' ');
    return {std::string(bytes.substr(space + 1)), std::stoi(std::string(bytes.substr(0, space)))};
  }
};

template <>
struct commonhold::Codec<shop::Card>
    : commonhold::Members<"card", &shop::Card::owner, &shop::Card::others, &shop::Card::at> {};
template <>
inline constexpr int commonhold::layout_version<shop::Hidden> = 2;

using namespace commonhold;
using namespace commonhold::detail;

namespace {

template <typename T>
std::string bytes_of(const T& value) {
  const Encoded<T> encoded(value);
  const Item item = encoded.item();
  return {static_cast<const char*>(item.data), item.size};
}

template <typename T>
void check_round_trip(const T& value) {
  INFO(type_name<T>() << " " << printed(value));
  CHECK(decode<T>(bytes_of(value)) == value);
}

template <typename T>
void check_limits() {
  using Limits = std::numeric_limits<T>;
  for (T value : {Limits::min(), Limits::max(), Limits::lowest(), T(0), T(1), T(-1), T(37)}) {
    check_round_trip(value);
    check_round_trip(std::vector<T>{value, value});
  }
}

}  // namespace

TEST_CASE("every number comes back as it was stored") {
  check_limits<std::int8_t>();
  check_limits<std::uint8_t>();
  check_limits<std::int16_t>();
  check_limits<std::uint16_t>();
  check_limits<std::int32_t>();
  check_limits<std::uint32_t>();
  check_limits<std::int64_t>();
  check_limits<std::uint64_t>();
  check_limits<long long>();
  check_limits<char>();
  check_limits<float>();
  check_limits<double>();
  check_round_trip(true);
  check_round_trip(false);
  check_round_trip(shop::Color::kBlue);
  CHECK(std::isnan(decode<double>(bytes_of(std::nan("")))));
  CHECK(std::signbit(decode<double>(bytes_of(-0.0))));
}

TEST_CASE("texts, bytes, structs and containers come back as they were stored") {
  check_round_trip(std::string());
  check_round_trip(std::string("with \0 inside", 13));
  check_round_trip(std::string(100'000, 'x'));
  check_round_trip(std::vector<std::byte>{std::byte{0}, std::byte{255}});
  check_round_trip(shop::Point{1, -2});
  check_round_trip(shop::Padded{'a', 2.5});
  check_round_trip(shop::Person{"Anna", 33});
  check_round_trip(std::vector<std::string>{"a", "", std::string(300, 'b')});
  check_round_trip(std::vector<bool>{true, false, true});
  check_round_trip(std::map<std::string, int>{{"a", 1}, {"b", -1}});
  check_round_trip(std::unordered_map<int, std::vector<double>>{{1, {1.5}}, {2, {}}});
  check_round_trip(std::set<std::string>{"x", "y"});
  check_round_trip(std::pair<int, std::string>{1, "one"});
  check_round_trip(std::tuple<bool, double, std::optional<int>>{true, 1.25, std::nullopt});
  check_round_trip(std::optional<std::optional<int>>{std::optional<int>()});
  check_round_trip(std::optional<std::optional<int>>{});
  check_round_trip(std::array<std::string, 2>{"a", "b"});
  check_round_trip(std::vector<shop::Person>{{"Anna", 33}, {"Bert", 44}});
  check_round_trip(std::vector<shop::Point>{{1, 2}, {3, 4}});
  check_round_trip(std::vector<shop::Color>{shop::Color::kRed, shop::Color::kBlue});
  check_round_trip(std::vector<int>(70'000, 7));
  CHECK(decode<shop::NoDefault>(bytes_of(shop::NoDefault(5))).number == 5);
}

TEST_CASE("equal structs have equal bytes, whatever their padding held") {
  alignas(shop::Padded) unsigned char first[sizeof(shop::Padded)], second[sizeof(shop::Padded)];
  std::memset(first, 0x11, sizeof first);
  std::memset(second, 0xee, sizeof second);
  auto* a = new (first) shop::Padded;
  auto* b = new (second) shop::Padded;
  a->kind = b->kind = 'k';
  a->price = b->price = 1.5;
  CHECK(bytes_of(*a) == bytes_of(*b));
}

TEST_CASE("zero and minus zero are one key") {
  const EncodedKey<double> zero(0.0), minus(-0.0);
  CHECK(std::memcmp(zero.item().data, minus.item().data, 8) == 0);
}

TEST_CASE("signatures name the types") {
  CHECK(type_names<std::string, std::int64_t>() == "text,int64");
  CHECK(type_name<long>() == "int64");
  CHECK(type_name<unsigned char>() == "uint8");
  CHECK(type_name<char>() == "char");
  CHECK(type_name<float>() == "float");
  CHECK(type_name<std::vector<std::byte>>() == "bytes");
  CHECK(type_name<shop::Point>() == "struct<shop::Point,8:i4*2>");
  CHECK(type_name<shop::Color>() == "enum<shop::Color,uint8>");
  CHECK(type_name<shop::Person>() == "person");
  CHECK(type_name<std::vector<std::map<std::string, int>>>() == "vector<map<text,int32>>");
  CHECK(type_name<std::unordered_map<int, bool>>() == type_name<std::map<int, bool>>());
  CHECK(type_name<std::pair<int, double>>() == type_name<std::tuple<int, double>>());
  CHECK(type_name<std::optional<std::string>>() == "optional<text>");
}

TEST_CASE("a struct's signature has its scalars in their order, arrays and inner structs flattened") {
  CHECK(type_name<shop::Order>() == "struct<shop::Order,88:i4 f8 i2*3 c1*32 b1 i4*2 u4 f8 i4>");
  CHECK(type_name<shop::Derived>() == "struct<shop::Derived,12:i4*2 f4>");
  CHECK(type_name<shop::Timed>() == "struct<shop::Timed,16:o8 i4>");
  CHECK(type_name<shop::Hidden>() == "struct<shop::Hidden v2,8>");
  CHECK(type_name<shop::Wide>() == "struct<shop::Wide,1604:i4*256>");
  CHECK(type_name<std::array<short, 3>>() == "struct<std::array<short, 3ul>,6:i2*3>");
}

TEST_CASE("what points to memory of this process cannot be stored, wherever it stands") {
  STATIC_REQUIRE(!Storable<int*>);
  STATIC_REQUIRE(!Storable<std::string_view>);
  STATIC_REQUIRE(!Storable<std::span<int>>);
  STATIC_REQUIRE(!Storable<std::reference_wrapper<int>>);
  STATIC_REQUIRE(!Storable<std::vector<int>::iterator>);
  STATIC_REQUIRE(!Storable<std::array<const char*, 2>>);
  STATIC_REQUIRE(!Storable<shop::Pointing>);
  STATIC_REQUIRE(!Storable<shop::Viewing>);
  STATIC_REQUIRE(!Storable<shop::Referring>);
  STATIC_REQUIRE(!Storable<shop::BehindEmpty>);
  STATIC_REQUIRE(!Storable<std::initializer_list<int>>);
  STATIC_REQUIRE(Storable<shop::Order>);
}

TEST_CASE("a list of members is stored with the members' types in its signature") {
  CHECK(type_name<shop::Card>() == "card<text,vector<person>,optional<struct<shop::Point,8:i4*2>>>");
  const shop::Card card{"Ann", {{"Bob", 3}}, shop::Point{1, 2}};
  check_round_trip(card);
  check_round_trip(std::map<std::string, shop::Card>{{"a", card}, {"b", {}}});
  CHECK_THROWS_AS(decode<shop::Card>(bytes_of(std::pair(std::string("Ann"), 5))), CorruptSegment);
}

TEST_CASE("a variant is stored as the number of its alternative and the value") {
  using Choice = std::variant<std::monostate, int, std::string, int>;
  CHECK(type_name<std::variant<int, std::string>>() == "variant<int32,text>");
  for (const Choice& value :
       {Choice(), Choice(std::in_place_index<1>, 5), Choice("a"), Choice(std::in_place_index<3>, 5)}) {
    check_round_trip(value);
  }
  CHECK_THROWS_AS((decode<std::variant<int, bool>>(bytes_of(std::tuple(2, 5)))), CorruptSegment);
  CHECK_THROWS_AS((decode<std::variant<int, bool>>(bytes_of(std::tuple(1, 5)))), CorruptSegment);
}

TEST_CASE("a signature that is too long ends in a hash of all of it") {
  const std::string common(400, 'x');
  const std::string a = fitted_signature(common + "a"), b = fitted_signature(common + "b");
  CHECK(a.size() == 255);
  CHECK(a != b);
  CHECK(fitted_signature("short") == "short");
}

TEST_CASE("types without a stored form are refused when compiling") {
  STATIC_REQUIRE(!Storable<int*>);
  STATIC_REQUIRE(!Storable<std::string_view>);
  STATIC_REQUIRE(!Storable<std::unique_ptr<int>>);
  STATIC_REQUIRE(!Storable<const int>);
  STATIC_REQUIRE(Storable<std::unordered_map<int, int>>);
  STATIC_REQUIRE(!StorableKey<std::unordered_map<int, int>>);
}

TEST_CASE("values print as in JSON") {
  CHECK(printed(std::string("a \"quoted\" \\ \n\x01")) == R"("a \"quoted\" \\ \n\u0001")");
  CHECK(printed(std::string("grün")) == "\"grün\"");
  CHECK(printed(true) == "true");
  CHECK(printed(std::int8_t{-5}) == "-5");
  CHECK(printed(std::uint8_t{65}) == "65");
  CHECK(printed(0.1) == "0.1");
  CHECK(printed(1e300) == "1e+300");
  CHECK(printed(0.1f) == "0.1");
  CHECK(printed(std::vector<std::string>{"a", "b"}) == R"(["a", "b"])");
  CHECK(printed(std::map<std::string, int>{{"a", 1}, {"b", 2}}) == R"({"a": 1, "b": 2})");
  CHECK(printed(std::pair<int, bool>{1, true}) == "(1, true)");
  CHECK(printed(std::optional<int>()) == "null");
  CHECK(printed(std::vector<std::byte>{std::byte{0x61}, std::byte{0x0f}}) == "<2 bytes: 61 0f>");
  CHECK(printed(shop::Color::kBlue) == "200");
  CHECK(printed(shop::Person{"Anna", 3}) == "<person>");
  std::mt19937_64 random(Catch::rngSeed());
  for (int i = 0; i < 10'000; ++i) {
    const auto number = std::bit_cast<double>(random());
    if (std::isfinite(number)) CHECK(std::strtod(printed(number).c_str(), nullptr) == number);
  }
}

TEST_CASE("what a codec did not write is refused, never followed") {
  CHECK_THROWS_AS(decode<std::int64_t>("1234567"), CorruptSegment);
  CHECK_THROWS_AS(decode<std::vector<int>>(""), CorruptSegment);
  CHECK_THROWS_AS(decode<std::vector<int>>("\xc0"), CorruptSegment);
  CHECK_THROWS_AS(decode<std::vector<int>>("\xdd\xff\xff\xff\xff"), CorruptSegment);
  CHECK_THROWS_AS(decode<std::vector<std::string>>("\x91\xdb\xff\xff\xff\xff"), CorruptSegment);
  CHECK_THROWS_AS((decode<std::pair<int, int>>("\x91\x01")), CorruptSegment);
  CHECK_THROWS_AS((decode<std::pair<int, int>>("\x92\x01\x01\x01")), CorruptSegment);
  // Any bytes at all: an exception or a value, nothing else.
  std::mt19937_64 random(Catch::rngSeed());
  using Deep = std::map<std::string, std::vector<std::tuple<bool, double, std::optional<shop::Point>, std::set<int>>>>;
  std::string sound = bytes_of(Deep{{"a", {{true, 1.5, shop::Point{1, 2}, {1, 2, 300}}}}, {"b", {}}});
  for (int i = 0; i < 100'000; ++i) {
    std::string bytes = sound;
    for (int changes = 1 + random() % 4; changes > 0; --changes) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    try {
      (void)decode<Deep>(bytes);
    } catch (const CorruptSegment&) {
    }
  }
}
