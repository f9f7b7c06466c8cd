#include <commonhold/detail/pickle.h>

#include <commonhold/any.h>
#include <fmt/format.h>

#include <algorithm>

#include <commonhold/errors.h>

#include "process/pickle_decoder.h"

namespace commonhold::detail {

namespace {

using Kind = Pickle::Kind;

bool is_container(Kind kind) {
  return kind >= Kind::kList;
}

// How much a value is when it is written out, as a C++ value is: without parts that it shares with others.
class Extent {
 public:
  using Elements = std::vector<std::vector<std::uint32_t>>;
  // A pickle writes a part once, and then two bytes or five each time it is mentioned again: dicts of the same keys are
  // some times larger than their pickle. One that is larger than this was made to fill our memory.
  static constexpr std::uint64_t kFactor = 32, kGrace = std::uint64_t{4} << 20;

  Extent(const std::vector<Pickle::Value>& values, const Elements& elements, std::uint64_t pickle_bytes)
      : values_(values), elements_(elements), most_(pickle_bytes * kFactor + kGrace), known_(elements.size()) {}

  // TypeMismatch for a value that holds itself; LimitReached.
  void check(const Pickle::Value& value) { measure(value, 0); }

 private:
  struct Size {
    std::uint64_t units = 0;  // one for each value and each byte of a text
    unsigned levels = 0;      // of containers, this one included
    bool entered = false;     // and when `units` is 0, not left yet
  };

  Size measure(const Pickle::Value& value, unsigned above) {
    if (!is_container(value.kind)) {
      return {1 + (value.kind == Kind::kStr || value.kind == Kind::kBytes ? value.size : 0), 0, true};
    }
    Size& size = known_[value.word];
    if (size.units == 0) {
      if (size.entered) throw TypeMismatch("a pickle of a value that holds itself cannot be read here");
      if (above == Any::kMaxLevels) too_deep();
      size.entered = true;
      Size sum{1, 0, true};
      for (const std::uint32_t element : elements_[value.word]) {
        const Size part = measure(values_[element], above + 1);
        sum.units += part.units;
        sum.levels = std::max(sum.levels, part.levels);
        if (sum.units > most_) too_large();
      }
      ++sum.levels;
      size = sum;
    }
    if (above + size.levels > Any::kMaxLevels) too_deep();
    return size;
  }

  [[noreturn]] static void too_deep() {
    throw LimitReached(fmt::format("a pickle of containers in one another in more than {} levels", Any::kMaxLevels));
  }
  [[noreturn]] void too_large() const {
    throw LimitReached(
        fmt::format("a pickle that mentions parts of itself so often that they would be more than {} values "
                    "and bytes",
                    most_));
  }

  const std::vector<Pickle::Value>& values_;
  const Elements& elements_;
  const std::uint64_t most_;
  std::vector<Size> known_;  // of each container
};

const char* name_of(Kind kind) {
  constexpr const char* kNames[] = {"None",  "a bool", "an int",  "an int", "an int", "a float",    "a str",
                                    "bytes", "a list", "a tuple", "a dict", "a set",  "a frozenset"};
  return kNames[static_cast<std::size_t>(kind)];
}

}  // namespace

Pickle::Pickle(std::string message) : message_(std::move(message)) {
  PickleDecoder(*this).decode();
  Extent(values_, elements_, message_.size()).check(root());
}

void Pickle::mismatch(const Value& found, const std::string& wanted) const {
  std::string what = name_of(found.kind);
  if (found.kind == Kind::kInt) what += fmt::format(", {}", static_cast<std::int64_t>(found.word));
  if (found.kind == Kind::kNatural) what += fmt::format(", {}", found.word);
  if (found.kind == Kind::kLargeInt) what += fmt::format(" of {} bytes, and C++ has 8", found.size);
  if (found.kind == Kind::kList || found.kind == Kind::kTuple) what += fmt::format(" of {} elements", size(found));
  throw TypeMismatch(fmt::format("recv() of {} met {}", wanted, what));
}

void unpickle_any(const Pickle& in, const Pickle::Value& from, Any& value) {
  switch (from.kind) {
    case Kind::kNone:
      value = Any();
      return;
    case Kind::kBool:
      value = Any(from.word != 0);
      return;
    case Kind::kInt:
      value = Any(static_cast<std::int64_t>(from.word));
      return;
    case Kind::kNatural:
    case Kind::kLargeInt:
      in.mismatch(from, "any");
    case Kind::kFloat:
      value = Any(unpickle<double>(in, from));
      return;
    case Kind::kStr:
      value = Any(in.bytes(from));
      return;
    case Kind::kBytes:
      value = Any(unpickle<Any::Bytes>(in, from));
      return;
    case Kind::kDict: {
      Any::Map map;
      for (std::size_t i = 0; i + 1 < in.size(from); i += 2) {
        Any key;
        unpickle_any(in, in.element(from, i), key);
        unpickle_any(in, in.element(from, i + 1), map[std::move(key)]);
      }
      value = Any(std::move(map));
      return;
    }
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kSet:
    case Kind::kFrozenset: {
      Any::List list(in.size(from));
      for (std::size_t i = 0; i < list.size(); ++i) unpickle_any(in, in.element(from, i), list[i]);
      value = Any(std::move(list));
      return;
    }
  }
}

}  // namespace commonhold::detail
