// Text as a message shows it.
#include "shm/printable.h"

#include <catch2/catch.hpp>

using namespace commonhold;
using shm::printable;

TEST_CASE("printable text is one line without control characters, and valid UTF-8 stays as it is") {
  CHECK(printable("plain \"text\" \\") == "plain \"text\" \\\\");
  CHECK(printable("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80") ==
        "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
  CHECK(printable(std::string_view("a\0b\n\r\t\x1b\x7f", 8)) == "a\\x00b\\x0a\\x0d\\x09\\x1b\\x7f");
  CHECK(printable("\xc2\x85\xc2\xa0") == "\\x85\xc2\xa0");
  CHECK(printable("\xff\xc3") == "\\xff\\xc3");
  CHECK(printable("\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80") == "\\xc0\\xaf\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
  CHECK(shm::printable_literal("\"a\\n\x07\"") == "\"a\\n\\x07\"");
  CHECK(printable("") == "");
}

TEST_CASE("printable text is cut at a character's end and says how long it was") {
  CHECK(printable("abcdef", 4) == "abcd... (6 bytes)");
  CHECK(printable("abc\xc3\xbc", 4) == "abc\xc3\xbc");
  CHECK(printable(std::string(1 << 20, 'x')).size() < 200);
}
