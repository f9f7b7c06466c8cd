// Pickles as bytes: what each protocol of Python writes is read, and what is none of our values is refused.
#include <commonhold/any.h>
#include <commonhold/detail/pickle.h>
#include <commonhold/errors.h>

#include <catch2/catch.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "support/python_pickles.h"
#include "support/python_program.h"
#include "support/refusal.h"

using namespace commonhold;
using namespace commonhold::test;
using Catch::Contains;
using detail::Pickle;
using namespace std::string_literals;

namespace {

std::string read_as_any(const std::string& bytes) {
  const Pickle pickle(bytes);
  std::ostringstream out;
  out << detail::unpickle<Any>(pickle, pickle.root());
  return out.str();
}

// A pickle of protocol 4 of these opcodes.
std::string of_opcodes(const std::string& opcodes) {
  return "\x80\x04" + opcodes + ".";
}
std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::string mismatch(const std::string& bytes) {
  return refusal<TypeMismatch>([&] { Pickle pickle(bytes); });
}
std::string limit(const std::string& bytes) {
  return refusal<LimitReached>([&] { Pickle pickle(bytes); });
}

}  // namespace

TEST_CASE("what Python writes in each protocol from 2 to 5 is read, and what is written again is equal in Python") {
  PythonPeer python(std::string(kCorpus) + R"(
for protocol in (2, 3, 4, 5):
    for value, text in corpus + (newer if protocol > 3 else []):
        peer.send((protocol, text, repr(value)[:50]))
        peer.send_bytes(pickle.dumps(value, protocol))
        back = pickle.loads(peer.recv_bytes())
        assert back == value and type(back) is type(value), (value, back)
)");
  int count = 0;
  try {
    for (;; ++count) {
      const auto [protocol, text, name] =
          python.peer().recv<std::tuple<int, std::optional<std::string>, std::string>>();
      const std::string bytes = python.peer().recv_bytes();
      INFO(name << " in protocol " << protocol);
      if (text) CHECK(read_as_any(bytes) == *text);
      python.peer().send_bytes(written_again(bytes));
    }
  } catch (const EndOfFile&) {
  }
  CHECK(count == 4 * 24 + 2 * 7);
  CHECK(python.status() == 0);
}

TEST_CASE("sets and bytes of protocols that have none, and objects of classes, are refused by their names") {
  PythonPeer python(R"(
import collections, datetime, functools, pickle
Pair = collections.namedtuple('Pair', 'a b')
class Mine:
    def __reduce__(self):
        return print, ('this must never be printed',)
for value in ({1}, frozenset(), bytearray(b'x'), collections.OrderedDict(a=1), collections.defaultdict(int), Pair(1, 2), 1j,
              datetime.timedelta(1), range(3), Mine(), Mine, len, functools.partial(len), ValueError('x')):
    for protocol in (2, 3, 4, 5):
        if protocol > 3 and isinstance(value, (set, frozenset)) or protocol == 5 and isinstance(value, bytearray):
            continue
        of_old = {'__builtin__': 'builtins'} if protocol == 2 else {}
        peer.send(type(value).__name__)
        peer.send_bytes(pickle.dumps([1, {'x': value}], protocol))
)");
  int count = 0;
  try {
    for (;; ++count) {
      const std::string type = python.peer().recv<std::string>();
      INFO(type);
      CHECK_THAT(
          mismatch(python.peer().recv_bytes()),
          Catch::Matchers::Matches("a pickle of [a-z_]+\\.[A-Za-z_]+ cannot be read here: only None, bool, int.*"));
    }
  } catch (const EndOfFile&) {
  }
  CHECK(count == 11 * 4 + 2 + 2 + 3);
  // Text of a peer's in an error is short and printable.
  CHECK_THAT(mismatch(of_opcodes("cos\x1b[2J\n"s + std::string(200, 's') + "\n")),
             Contains("a pickle of os?[2J." + std::string(80, 's') + "... cannot"));
  for (const char* opcodes : {"\x82\x01", "\x83\x01\x01", "\x84\x01\x01\x01\x01"}) {
    CHECK_THAT(mismatch(of_opcodes(opcodes)), Contains("registered extension"));
  }
  CHECK_THAT(mismatch(of_opcodes("Pid\n")), Contains("persistent id"));
  CHECK_THAT(mismatch(of_opcodes("NQ")), Contains("persistent id"));
  CHECK_THAT(mismatch(of_opcodes("\x97")), Contains("a buffer outside of it"));
}

TEST_CASE("values that hold themselves, and those nested too deeply, are refused") {
  PythonPeer python(R"(
import pickle
a = []; a.append(a)
b = {}; b['b'] = [b]
c = ([],); c[0].append(c)
d = ([], 1, 2, 3); d[0].append(d)
for value in (a, b, c, d):
    for protocol in (2, 3, 4, 5):
        peer.send_bytes(pickle.dumps(value, protocol))
)");
  for (int i = 0; i < 16; ++i) CHECK_THAT(mismatch(python.peer().recv_bytes()), Contains("holds itself"));
  const auto nested = [](int levels) { return of_opcodes(repeated("]", levels) + repeated("a", levels - 1)); };
  CHECK(read_as_any(nested(128)) == repeated("[", 128) + repeated("]", 128));
  CHECK_THAT(limit(nested(129)), Contains("more than 128 levels"));
  CHECK_THAT(limit(nested(1'000'000)), Contains("more than 128 levels"));
  CHECK_THAT(limit(of_opcodes(")"s + repeated("\x85", 1'000'000))), Contains("more than 128 levels"));
  // A part that is deep enough by itself, and is mentioned again further down.
  CHECK_THAT(limit(of_opcodes("]"s + repeated("]", 99) + repeated("a", 98) + "\x94" + "a" + repeated("]", 40) + "h\0"s +
                              repeated("a", 41))),
             Contains("more than 128 levels"));
}

TEST_CASE(
    "a small pickle of a value that is huge when it is written out is refused, and takes neither time nor memory") {
  // Each list has the one before it ten times.
  std::string bomb = "]\x94";
  for (int level = 0; level < 100; ++level) {
    const std::string before = "h"s + static_cast<char>(level);
    bomb += "](" + repeated(before, 10) + "e\x94";
  }
  CHECK_THAT(limit(of_opcodes("("s + bomb + "t")), Contains("so often"));
  std::string texts = "X"s + "\0\0\x10\0"s + std::string(1 << 20, 'x') + "\x94";
  CHECK_THAT(limit(of_opcodes("("s + texts + repeated("h\0"s, 1'000'000) + "t")), Contains("so often"));
  // Parts that are shared as programs share them are read.
  const std::string row = "}(h\0K\1h\1K\2u"s;
  CHECK(Pickle(of_opcodes("\x8c\x0a" + std::string(10, 'a') + "\x94" + "0" + "\x8c\x0a" + std::string(10, 'b') +
                          "\x94" + "0](" + repeated(row, 50'000) + "e"))
            .root()
            .kind == Pickle::Kind::kList);
}

TEST_CASE("lengths, indices and counts that no bytes stand behind are refused before memory is taken for them") {
  for (const std::string& opcodes : std::vector<std::string>{"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
                                                             "\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
                                                             "B\xff\xff\xff\xff",
                                                             "X\xff\xff\xff\x7f",
                                                             "C\x05" + "abc"s,
                                                             "\x8b\xff\xff\xff\xff",
                                                             "\x8b\xff\xff\xff\x7f",
                                                             "\x8a\x09",
                                                             "G1234567",
                                                             "\x95\xff\xff\xff\xff\xff\xff\xff\xff" + "N"s,
                                                             "\x96\0\0\0\0\1\0\0\0"s,
                                                             "Nr\xff\xff\xff\x7f",
                                                             "j\0\0\0\0"s,
                                                             "h\0"s,
                                                             "N(\x85",
                                                             "NN(\x87",
                                                             "(Na",
                                                             "Na",
                                                             "]NNN",
                                                             "",
                                                             "N(",
                                                             "e",
                                                             "]e",
                                                             "}(Nu",
                                                             "}Ns",
                                                             "}(NNe",
                                                             "](NNu",
                                                             ")(Ne",
                                                             "\x8f(NNu",
                                                             "(",
                                                             "1",
                                                             "0",
                                                             "N0",
                                                             "q\0"s,
                                                             "\x94",
                                                             "\x93",
                                                             "NN\x93",
                                                             "N\x8c\1x\x93",
                                                             "cos",
                                                             "cos\nsystem",
                                                             "\x80\x06N",
                                                             "I5\n",
                                                             "N.N",
                                                             "NN",
                                                             "\x8c\1\xff",
                                                             "\x8c\2\xc0\x80",
                                                             "\x8c\4\xf4\x90\x80\x80",
                                                             "\x8c\3\xe0\x9f\xbf",
                                                             "\x8c\1\xc3"}) {
    INFO(Catch::Detail::stringify(opcodes));
    CHECK_THROWS_AS(Pickle(of_opcodes(opcodes)), TypeMismatch);
  }
  // Numbers longer than they need be.
  CHECK(read_as_any(of_opcodes("\x8a\x0a" + std::string(10, '\xff'))) == "-1");
  CHECK(read_as_any(of_opcodes("\x8a\x0a\x05" + std::string(9, '\0'))) == "5");
  // What Python's "surrogatepass" writes for a file name that is no text.
  CHECK(Pickle(of_opcodes("\x8c\3\xed\xb2\x80")).root().kind == Pickle::Kind::kStr);
  for (const std::string& bytes : {""s, "\x80"s, "\x80\x04"s, "\x80\x01N."s, "\x80\x06N."s, "(I1\nt."s, "\x80\x04N"s}) {
    CHECK_THROWS_AS(Pickle(bytes), TypeMismatch);
  }
}
