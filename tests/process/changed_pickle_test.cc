// Pickles of Python's with bytes changed: a value that Python reads as well, or an error of ours.
#include <commonhold/any.h>
#include <commonhold/detail/pickle.h>
#include <commonhold/errors.h>

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "support/python_pickles.h"
#include "support/python_program.h"

using namespace commonhold;
using namespace commonhold::test;
using detail::Pickle;

namespace {

std::string changed(std::string bytes, std::mt19937_64& random, const std::vector<std::string>& others) {
  const auto below = [&](std::size_t limit) { return limit == 0 ? 0 : random() % limit; };
  for (std::size_t times = 1 + below(4); times != 0; --times) {
    const std::size_t at = below(bytes.size());
    switch (below(7)) {
      case 0:
        bytes[at] = static_cast<char>(random());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(8));
        break;
      case 2:
        bytes.erase(at, 1 + below(4));
        break;
      case 3:
        bytes.insert(at, 1, "\x80\x95.N(KMJ\x8a\x8bGXCB]e)}u\x8f\x91\x85\x86\x87ta01qrhj\x94\x93\x52"[below(32)]);
        break;
      case 4:
        bytes.resize(at);
        break;
      case 5: {
        const std::string& other = others[below(others.size())];
        bytes.insert(at, other.substr(below(other.size()), below(20)));
        break;
      }
      default:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(12)));
    }
    if (bytes.empty()) bytes.assign(1, '\x80');
  }
  return bytes;
}

}  // namespace

TEST_CASE("every change of a real pickle's bytes is a value or an error of ours") {
  const std::vector<std::string> pickles = corpus(2000);
  REQUIRE(pickles.size() > 100);
  std::mt19937_64 random(Catch::rngSeed());
  int values = 0, mismatches = 0, limits = 0;
  for (int i = 0; i < 300'000; ++i) {
    const std::string bytes = changed(pickles[random() % pickles.size()], random, pickles);
    try {
      const Pickle pickle(bytes);
      try {
        (void)detail::unpickle<Any>(pickle, pickle.root());
      } catch (const TypeMismatch&) {  // a large int
      }
      try {
        (void)detail::unpickle<std::map<std::string, std::vector<int>>>(pickle, pickle.root());
      } catch (const TypeMismatch&) {
      }
      ++values;
    } catch (const TypeMismatch&) {
      ++mismatches;
    } catch (const LimitReached&) {
      ++limits;
    }
  }
  INFO(values << " values, " << mismatches << " mismatches, " << limits << " limits");
  CHECK(values > 1000);
  CHECK(mismatches > 1000);
}

TEST_CASE("a changed pickle that is read here has the same value in Python") {
  const std::vector<std::string> pickles = corpus(300);
  std::mt19937_64 random(Catch::rngSeed());
  PythonPeer python(R"(
import pickle
def same_form(value):
    if isinstance(value, (set, frozenset)):
        return (type(value).__name__, sorted(map(repr, map(same_form, value))))
    if isinstance(value, dict):
        return [(same_form(k), same_form(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(same_form, value)]
    if type(value) is int and not -2**63 <= value < 2**64:
        return repr('a large int')
    return repr(bytes(value) if isinstance(value, bytearray) else value)
def read(data):
    try:
        return same_form(pickle.loads(data))  # which has no classes, or we would not have read it
    except TypeError:
        return 'unhashable'
while True:
    try:
        theirs, ours = peer.recv()
    except EOFError:
        break
    a, b = read(theirs), read(ours)
    # Here a key may be what Python cannot hash: a list, or a bytearray, which is bytes here.
    peer.send((a == b or a == 'unhashable', f'{theirs}: {a} {b}'))
)");
  const auto as_bytes = [](const std::string& text) {
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    return std::vector<std::byte>(first, first + text.size());
  };
  int compared = 0;
  for (int i = 0; i < 1'000'000 && compared < 10'000; ++i) {
    const std::string bytes = changed(pickles[random() % pickles.size()], random, pickles);
    std::string again;
    try {
      again = written_again(bytes);
    } catch (const Error&) {
      continue;
    }
    python.peer().send(std::pair(as_bytes(bytes), as_bytes(again)));
    const auto [same, what] = python.peer().recv<std::pair<bool, std::string>>();
    INFO(what);
    CHECK(same);
    ++compared;
  }
  CHECK(compared == 10'000);
  python.peer().close();
  CHECK(python.status() == 0);
}
