// Pickles for tests: what Python writes of many values, and our own writing of what was read.
#pragma once

#include <commonhold/detail/pickle.h>

#include <bit>
#include <string>
#include <vector>

#include "support/python_program.h"

namespace commonhold::test {

// Values, and how an Any of each is printed.
inline constexpr const char* kCorpus = R"(
import collections, pickle
word = 'said again and again'
shared = [word, (word, word), {'k': word}]
corpus = [
    (None, 'null'), (True, 'true'), (-5, '-5'), (70000, '70000'), (-2**40, '-1099511627776'), (2**63 - 1, str(2**63 - 1)),
    (-2**63, str(-2**63)), (2.5, '2.5'), ('', '""'), ('x' * 300, '"' + 'x' * 300 + '"'), ((), '[]'), ((1,), '[1]'), ((1, 2), '[1, 2]'),
    ((1, 2, 3), '[1, 2, 3]'), ((1, 2, 3, 4), '[1, 2, 3, 4]'), ([], '[]'), ([1], '[1]'), ([1, [2, [3]]], '[1, [2, [3]]]'),
    ({}, '{}'), ({'a': 1}, '{"a": 1}'), ({1: (2,), 'x': None}, '{1: [2], "x": null}'),
    ([shared, shared], str([[word, [word, word], {'k': word}]] * 2).replace("'", '"')),
    (list(range(3000)), str(list(range(3000)))), ({i: str(i) for i in range(2500)}, None),
]
newer = [({1, 2}, '[1, 2]'), (frozenset({7}), '[7]'), (set(), '[]'), (b'', '<0 bytes>'), (b'\0\1', '<2 bytes: 00 01>'),
         (b'y' * 300, None), ({(1, frozenset({2})): {3}}, '{[1, [2]]: [3]}')]
)";

// The same value, written by us.
inline void write_again(const detail::Pickle& in, const detail::Pickle::Value& value, detail::PickleWriter& out) {
  using Kind = detail::Pickle::Kind;
  using Container = detail::PickleWriter::Container;
  const auto container = [&](Container kind) {
    out.open(kind);
    for (std::size_t i = 0; i < in.size(value); ++i) write_again(in, in.element(value, i), out);
    out.close(kind);
  };
  switch (value.kind) {
    case Kind::kNone:
      return out.none();
    case Kind::kBool:
      return out.boolean(value.word != 0);
    case Kind::kInt:
      return out.integer(static_cast<std::int64_t>(value.word));
    case Kind::kNatural:
      return out.natural(value.word);
    case Kind::kLargeInt:
      return out.str("a large int");
    case Kind::kFloat:
      return out.real(std::bit_cast<double>(value.word));
    case Kind::kStr:
      return out.str(in.bytes(value));
    case Kind::kBytes:
      return out.bytes(in.bytes(value));
    case Kind::kList:
      return container(Container::kList);
    case Kind::kTuple:
      return container(Container::kTuple);
    case Kind::kDict:
      return container(Container::kDict);
    case Kind::kSet:
      return container(Container::kSet);
    case Kind::kFrozenset:
      return container(Container::kFrozenset);
  }
}
inline std::string written_again(const std::string& bytes) {
  const detail::Pickle pickle(bytes);
  detail::PickleWriter out;
  write_again(pickle, pickle.root(), out);
  return out.take();
}

// Every value of the corpus in every protocol, none longer than `most`.
inline std::vector<std::string> corpus(std::size_t most) {
  PythonPeer python(std::string(kCorpus) + R"(
for protocol in (2, 3, 4, 5):
    for value, text in corpus + newer:
        peer.send_bytes(pickle.dumps(value, protocol))
for value, text in corpus + newer:
    peer.send_bytes(pickle.dumps(bytearray(b'array'), 5))
)");
  std::vector<std::string> pickles;
  try {
    for (;;) {
      std::string bytes = python.peer().recv_bytes();
      if (bytes.size() <= most) pickles.push_back(std::move(bytes));
    }
  } catch (const EndOfFile&) {
  }
  return pickles;
}

}  // namespace commonhold::test
