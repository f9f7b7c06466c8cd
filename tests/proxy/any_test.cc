// Values of whatever type, side by side.
#include <commonhold/any.h>

#include <catch2/catch.hpp>
#include <sstream>

#include <commonhold/manager.h>

using namespace commonhold;

namespace {

std::string printed(const Any& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

}  // namespace

TEST_CASE("an Any knows its type and gives its value back") {
  REQUIRE(Any().is_null());
  REQUIRE(Any(nullptr).is_null());
  REQUIRE(Any(true).as<bool>());
  REQUIRE(Any(5).type() == Any::Type::kInt);
  REQUIRE(Any(5).as<int>() == 5);
  REQUIRE(Any(5).as<std::uint8_t>() == 5);
  REQUIRE(Any(5).as<double>() == 5.0);
  REQUIRE(Any(2.5f).as<double>() == 2.5);
  REQUIRE(Any("text").as<std::string>() == "text");
  REQUIRE(Any(Any::Bytes{std::byte{1}}).as<Any::Bytes>().size() == 1);
  REQUIRE(Any(std::vector<int>{1, 2}).as<std::vector<long>>() == std::vector<long>{1, 2});
  REQUIRE(Any(std::map<std::string, int>{{"a", 1}}).as<std::map<std::string, double>>().at("a") == 1.0);
  REQUIRE(Any(std::pair(1, "x")).as<std::pair<int, std::string>>() == std::pair<int, std::string>(1, "x"));
  REQUIRE(Any(std::optional<int>()).is_null());
  REQUIRE_FALSE(Any().as<std::optional<int>>().has_value());
  REQUIRE(Any::list(1, "a", nullptr).at(1) == "a");
  REQUIRE(Any::map({{"k", 1}}).at("k") == 1);
  REQUIRE(Any::list(1, 2).size() == 2);
}

TEST_CASE("a value asked for as another type is a TypeMismatch that names both") {
  try {
    (void)Any("seven").as<int>();
    FAIL("no error");
  } catch (const TypeMismatch& error) {
    REQUIRE(std::string(error.what()) == "the value \"seven\" is of type text, and was asked for as int32");
  }
  REQUIRE_THROWS_AS(Any(2.5).as<int>(), TypeMismatch);
  REQUIRE_THROWS_AS(Any(1).as<bool>(), TypeMismatch);
  REQUIRE_THROWS_AS(Any(300).as<std::uint8_t>(), TypeMismatch);
  REQUIRE_THROWS_AS(Any(-1).as<unsigned>(), TypeMismatch);
  REQUIRE_THROWS_AS(Any::list(1, "a").as<std::vector<int>>(), TypeMismatch);
  REQUIRE_THROWS_AS(Any(5).at(0), TypeMismatch);
  REQUIRE_THROWS_AS(Any::list(1).at(1), IndexError);
  REQUIRE_THROWS_AS(Any::map({}).at("k"), KeyError);
  REQUIRE_THROWS_AS(Any(~std::uint64_t{0}), ValueError);
  REQUIRE_FALSE(Any("x").is<int>());
  REQUIRE(Any(7).is<int>());
  REQUIRE_FALSE(Any(300).is<std::uint8_t>());
}

TEST_CASE("an Any prints as people write it") {
  REQUIRE(printed({}) == "null");
  REQUIRE(printed(true) == "true");
  REQUIRE(printed(-3) == "-3");
  REQUIRE(printed(0.1) == "0.1");
  REQUIRE(printed("a\n") == R"("a\n")");
  REQUIRE(printed(Any::list(1, Any::list(), "x")) == R"([1, [], "x"])");
  REQUIRE(printed(Any::map({{"k", 1}, {2, nullptr}})) == R"({2: null, "k": 1})");
}

TEST_CASE("Anys are equal when type and value are, and have an order") {
  REQUIRE(Any(1) == Any(1));
  REQUIRE(Any(1) != Any(1.0));
  REQUIRE(Any(1) != Any("1"));
  REQUIRE(Any(std::numeric_limits<double>::quiet_NaN()) == Any(std::numeric_limits<double>::quiet_NaN()));
  REQUIRE(Any::list(1, 2) < Any::list(1, 3));
  REQUIRE(Any() < Any(false));
  Any sum(1);
  sum += 2;
  sum += 0.5;
  REQUIRE(sum == 3.5);
  Any text("a");
  text += "b";
  REQUIRE(text == "ab");
  REQUIRE_THROWS_AS(text += 1, TypeMismatch);
}

TEST_CASE("a dict of Any holds every type and gives each back as it was") {
  Manager manager;
  auto dict = manager.dict<std::string, Any>();
  const std::map<std::string, Any> all{{"null", nullptr},
                                       {"bool", true},
                                       {"int", -5},
                                       {"real", 2.5},
                                       {"text", ""},
                                       {"bytes", Any::Bytes{std::byte{0}, std::byte{255}}},
                                       {"list", Any::list(1, "two", Any::list(3.0))},
                                       {"map", Any::map({{"k", Any::map({{1, true}})}})}};
  dict.update(all);
  for (const auto& [key, value] : all) REQUIRE(dict.at(key) == value);
  REQUIRE(dict == all);
  dict["int"] += 1;
  REQUIRE(dict.at("int") == -4);
  dict["new"] = "text";
  REQUIRE(dict.at("new").as<std::string>() == "text");
  REQUIRE(dict.pop("bool") == true);
  REQUIRE(dict.exchange("int", "now text") == Any(-4));
  Any expected = 0;
  REQUIRE_FALSE(dict.compare_exchange("int", expected, 1));
  REQUIRE(expected == "now text");
  REQUIRE(dict.compare_exchange("int", expected, 1));
  REQUIRE(dict.update("int", [](Any value) { return Any(value.as<int>() * 10); }) == 10);
  REQUIRE(dict.get_many(std::vector<std::string>{"int", "none"})[0] == Any(10));
  REQUIRE(dict.popitem() == std::pair<std::string, Any>("new", "text"));
  REQUIRE(manager.objects().at(0).type == "dict<text,any>");
}

TEST_CASE("a list of Any holds every type, in order") {
  Manager manager;
  auto list = manager.list<Any>({1, "two", 3.0, nullptr});
  list.push_back(Any::list(4, 5));
  REQUIRE(list.at(1) == "two");
  REQUIRE(list.items() == std::vector<Any>{1, "two", 3.0, nullptr, Any::list(4, 5)});
  REQUIRE(list.index("two") == 1);
  list.remove(3.0);
  list.set(0, "one");
  REQUIRE(list.pop() == Any::list(4, 5));
  REQUIRE(list.pop(0) == "one");
  list.extend(std::vector<Any>{true, false});
  list.sort();
  REQUIRE(list.items() == std::vector<Any>{nullptr, false, true, "two"});
  std::ostringstream out;
  out << list;
  REQUIRE(out.str() == R"([null, false, true, "two"])");
}

TEST_CASE("an Any that refers to an object keeps it alive and gives its proxy") {
  Manager manager;
  auto dict = manager.dict<std::string, Any>();
  dict["log"] = manager.list<std::string>({"start"});
  dict["deep"] = Any::list(1, Any::map({{"inner", manager.dict<std::string, int>({{"x", 1}})}}));
  REQUIRE(dict.at("log").is_reference());
  REQUIRE(dict.at("log").type_name() == "list<text>");
  REQUIRE(dict.at("log").is<List<std::string>>());
  REQUIRE_FALSE(dict.at("log").is<List<int>>());
  dict.at("log").as<List<std::string>>().push_back("more");
  REQUIRE(dict.at("log").as<List<std::string>>().size() == 2);
  REQUIRE(dict.at("deep").at(1).at("inner").as<Dict<std::string, int>>().at("x") == 1);
  REQUIRE(dict.at("log") == dict.at("log"));
  REQUIRE_THROWS_AS(dict.at("log").as<List<int>>(), TypeMismatch);
  REQUIRE_THROWS_AS(dict.at("log").as<int>(), TypeMismatch);
  REQUIRE(printed(dict.at("log")).substr(0, 12) == "<list<text> ");
  auto keyed = manager.dict<Any, int>();
  keyed[1] = 10;
  keyed["one"] = 11;
  REQUIRE(keyed.at(1) == 10);
  REQUIRE_THROWS_AS(keyed.put(dict, 1), UsageError);
}

TEST_CASE("objects that contain themselves can be read and printed, and go when they are let go") {
  Manager manager;
  auto keep = manager.lock();
  {
    auto self = manager.list<Any>();
    self.push_back(self);
    self.push_back(1);
    REQUIRE(self.at(0).as<List<Any>>().same_as(self));
    std::ostringstream out;
    out << self;
    REQUIRE(out.str().substr(0, 12) == "[<list<any> ");
    REQUIRE(manager.objects().size() == 2);
  }
  for (int i = 0; i < 500 && manager.objects().size() != 1; ++i) usleep(10'000);
  REQUIRE(manager.objects().size() == 1);
}
