// Bytes that no writer of ours made, in the place of an item's: whoever reads them gets an Error, whatever they are.
#include <commonhold/dict.h>
#include <commonhold/manager.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;

namespace {

using Random = std::mt19937_64;

struct Point {
  std::int64_t x = 0, y = 0;
  bool operator==(const Point&) const = default;
};
enum class Colour : std::uint8_t { kRed, kGreen };

// A list in a list in a list ..., as MessagePack.
std::string lists_in_lists(std::size_t levels) {
  return std::string(levels, '\x91') + '\x01';
}

Any deep(unsigned levels) {
  Any value(1);
  for (unsigned i = 0; i < levels; ++i) value = i % 2 == 0 ? Any(Any::List{value}) : Any::map({{"k", value}});
  return value;
}

// Changes some bytes: to others, to the tags of long lengths, cut off, doubled.
std::string spoiled(std::string bytes, Random& random) {
  for (std::uint64_t left = 1 + random() % 4; left != 0 && !bytes.empty(); --left) {
    const std::size_t at = random() % bytes.size();
    switch (random() % 6) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(0xc0 + random() % 0x20);  // the tags with lengths behind them
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.insert(at, std::string(1 + random() % 5, '\xff'));
        break;
      case 4:
        bytes.erase(at, 1 + random() % 3);
        break;
      default:
        bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ 1u << random() % 8);
    }
  }
  return bytes;
}

std::string encoded(const auto& value) {
  const detail::Encoded<std::remove_cvref_t<decltype(value)>> made(value);
  const detail::Item item = made.item();
  return {static_cast<const char*>(item.data), item.size};
}

// Counts what was read; everything else must be an Error.
template <typename T>
int read(const std::string& bytes) {
  try {
    if constexpr (std::is_same_v<T, Any>) {
      detail::Unpacker in(bytes);
      const Any value = Any::unpack(in);
      std::ostringstream() << value;
      return value == value ? 1 : 0;
    } else {
      (void)detail::decode<T>(bytes);
      return 1;
    }
  } catch (const Error&) {
    return 0;
  }
}

template <typename T>
void read_much_garbage(const T& sample, Random& random) {
  const std::string sound = encoded(sample);
  int sound_still = read<T>(sound);
  CHECK(sound_still == 1);
  for (int round = 0; round < 4000; ++round) {
    std::string bytes = round % 8 == 0 ? std::string(random() % 40, '\0') : spoiled(sound, random);
    if (round % 8 == 0) {
      for (char& byte : bytes) byte = static_cast<char>(random());
    }
    sound_still += read<T>(bytes);
  }
  CHECK(sound_still < 4000);
}

}  // namespace

TEST_CASE("an Any nested in more than 128 levels is refused as it is made, and nothing walks deeper") {
  const Any most = deep(Any::kMaxLevels);
  CHECK_THROWS_AS(Any(Any::List{most}), LimitReached);
  CHECK_THROWS_AS(Any::map({{"k", most}}), LimitReached);
  Any list = Any::list(1);
  CHECK_THROWS_AS(list += Any::list(most), LimitReached);

  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, Any>();
  dict.put("deep", most);
  CHECK(dict.at("deep") == most);
  std::ostringstream out;
  out << dict;
  CHECK(out.str().size() > Any::kMaxLevels);
}

TEST_CASE("stored lists that are nested deeper than any Any are refused by everybody who reads them") {
  ManagerHome home;
  Manager manager;
  auto dict = manager.dict<std::string, Any>();
  const detail::Encoded<std::string> key("deep");
  const auto put = [&](const std::string& bytes) {
    detail::dict_put(*detail::Access::handle(dict), key.item(),
                     {detail::ItemKind::kCompound, bytes.data(), bytes.size()});
  };
  put(lists_in_lists(Any::kMaxLevels));
  CHECK(dict.at("deep").is_list());
  for (std::size_t levels : {std::size_t{Any::kMaxLevels + 1}, std::size_t{1'000'000}}) {
    put(lists_in_lists(levels));
    CHECK_THROWS_AS(dict.at("deep"), CorruptSegment);
    CHECK_THROWS_AS(dict.items(), CorruptSegment);
    put(std::string(levels, '\x81'));  // maps, whose keys are maps
    CHECK_THROWS_AS(dict.at("deep"), CorruptSegment);
  }
}

TEST_CASE("garbage in the place of an item's bytes is an Error for values of every type") {
  Random random(Catch::rngSeed());
  using Text = std::string;
  const Text long_text(300, 't');
  read_much_garbage(std::vector<Text>{"a", long_text, "", "bcd"}, random);
  read_much_garbage(std::deque<std::int64_t>{-1, 5, 1 << 20, std::int64_t{1} << 40}, random);
  read_much_garbage(std::vector<double>{0.5, -1e300}, random);
  read_much_garbage(std::set<Text>{"x", "y", long_text}, random);
  read_much_garbage(std::map<Text, std::vector<std::optional<int>>>{{"k", {1, std::nullopt}}, {"l", {}}}, random);
  read_much_garbage(std::unordered_map<std::int64_t, Text>{{1, "one"}, {-70'000, long_text}}, random);
  read_much_garbage(std::tuple<bool, std::uint16_t, Text, Colour>{true, 700, "text", Colour::kGreen}, random);
  read_much_garbage(std::vector<Point>{{1, 2}, {3, 4}}, random);
  read_much_garbage(std::array<std::pair<int, float>, 3>{{{1, 2.f}, {3, 4.f}, {5, 6.f}}}, random);
  read_much_garbage(std::vector<std::vector<std::byte>>{{std::byte{1}}, std::vector<std::byte>(400)}, random);
  read_much_garbage(Any::list(1, "two", 3.0, Any::map({{"k", nullptr}, {5, long_text}}), Any(Any::Bytes(7))), random);
}
