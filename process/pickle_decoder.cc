#include "process/pickle_decoder.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include <commonhold/errors.h>

#include "process/pickle_opcodes.h"
#include "process/utf8.h"

namespace commonhold::detail {

namespace {

constexpr unsigned kOldestProtocol = 2, kNewestProtocol = 5;

std::string printable(std::string_view text) {
  constexpr std::size_t kMost = 80;
  std::string shown(text.substr(0, kMost));
  for (char& byte : shown) {
    if (byte < ' ' || byte > '~') byte = '?';
  }
  return text.size() > kMost ? shown + "..." : shown;
}

// A number in two's complement, of at most 8 bytes.
std::int64_t signed_number(std::string_view bytes) {
  std::uint64_t word = !bytes.empty() && (bytes.back() & 0x80) != 0 ? ~std::uint64_t{0} : 0;
  for (std::size_t i = bytes.size(); i != 0; --i) word = word << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return static_cast<std::int64_t>(word);
}

}  // namespace

// ---- errors

void PickleDecoder::damaged(const std::string& what) const {
  throw TypeMismatch(
      fmt::format("recv() met a message of {} bytes that is no pickle: {} before byte {}", in_.size(), what, at_));
}

void PickleDecoder::refuse_class(std::string_view module, std::string_view name) const {
  throw TypeMismatch(
      fmt::format("a pickle of {}.{} cannot be read here: only None, bool, int, float, str, bytes, "
                  "bytearray (protocol 5), list, tuple, dict, set and frozenset (protocol 4) can",
                  printable(module), printable(name)));
}

void PickleDecoder::refuse_opcode(unsigned char code) {
  switch (code) {
    case opcode::kGlobal:
    case opcode::kInst: {
      const std::string_view module = line();
      refuse_class(module, line());
    }
    case opcode::kStackGlobal: {
      const Pickle::Value name = into_.values_[pop()], module = into_.values_[pop()];
      if (name.kind != Kind::kStr || module.kind != Kind::kStr) damaged("a class without a name");
      refuse_class(into_.bytes(module), into_.bytes(name));
    }
    case opcode::kExtension1:
    case opcode::kExtension2:
    case opcode::kExtension4:
      throw TypeMismatch("a pickle with a registered extension (copyreg.add_extension) cannot be read here");
    case opcode::kPersistentId:
    case opcode::kBinaryPersistentId:
      throw TypeMismatch("a pickle with a persistent id cannot be read here");
    case opcode::kNextBuffer:
    case opcode::kReadonlyBuffer:
      throw TypeMismatch("a pickle with a buffer outside of it cannot be read here");
    default:
      damaged(fmt::format("unknown opcode {:#04x}", code));
  }
}

// ---- bytes

std::string_view PickleDecoder::take(std::uint64_t size) {
  if (size > in_.size() - at_) damaged("it is cut short");
  const std::string_view taken = in_.substr(at_, size);
  at_ += size;
  return taken;
}

std::uint64_t PickleDecoder::number(int bytes) {
  std::uint64_t value = 0;
  const std::string_view taken = take(static_cast<std::uint64_t>(bytes));
  for (std::size_t i = taken.size(); i != 0; --i) value = value << 8 | static_cast<unsigned char>(taken[i - 1]);
  return value;
}

std::string_view PickleDecoder::line() {
  const std::size_t end = in_.find('\n', at_);
  if (end == std::string_view::npos) damaged("a line without an end");
  const std::string_view found = take(end - at_);
  take(1);
  return found;
}

// ---- the stack

PickleDecoder::Index PickleDecoder::top() {
  if (stack_.size() == (marks_.empty() ? 0 : marks_.back())) damaged("a missing value");
  return stack_.back();
}

PickleDecoder::Index PickleDecoder::pop() {
  const Index value = top();
  stack_.pop_back();
  return value;
}

std::size_t PickleDecoder::take_mark() {
  if (marks_.empty()) damaged("a missing mark");
  const std::size_t begin = marks_.back();
  marks_.pop_back();
  return begin;
}

PickleDecoder::Index PickleDecoder::make(Kind kind, std::uint64_t word, std::uint64_t size) {
  if (into_.values_.size() == std::numeric_limits<Index>::max()) {
    throw LimitReached("a pickle of more than 4294967295 values");
  }
  into_.values_.push_back({kind, word, size});
  return static_cast<Index>(into_.values_.size() - 1);
}

void PickleDecoder::push_container(Kind kind, std::size_t begin) {
  if (begin > stack_.size()) damaged("a missing value");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(begin);
  into_.elements_.emplace_back(first, stack_.end());
  stack_.erase(first, stack_.end());
  push_new(kind, into_.elements_.size() - 1);
}

void PickleDecoder::push_slice(Kind kind, std::uint64_t size) {
  const std::size_t begin = at_;
  const std::string_view bytes = take(size);
  if (kind == Kind::kStr && first_invalid_utf8(bytes) != bytes.size()) damaged("a str that is no UTF-8");
  push_new(kind, begin, size);
}

void PickleDecoder::push_long(std::uint64_t size) {
  const std::size_t begin = at_;
  std::string_view bytes = take(size);
  // What repeats the sign says nothing.
  const auto is_spare = [&] {
    const char sign = (bytes[bytes.size() - 2] & 0x80) != 0 ? '\xff' : '\0';
    return bytes.back() == sign;
  };
  while (bytes.size() > 8 && is_spare()) bytes.remove_suffix(1);
  if (bytes.size() <= 8) {
    push_new(Kind::kInt, static_cast<std::uint64_t>(signed_number(bytes)));
  } else if (bytes.size() == 9 && bytes[8] == 0) {
    push_new(Kind::kNatural, static_cast<std::uint64_t>(signed_number(bytes.substr(0, 8))));
  } else {
    push_new(Kind::kLargeInt, begin, bytes.size());
  }
}

void PickleDecoder::add_to(Kind kind, std::size_t begin) {
  const std::size_t floor = marks_.empty() ? 0 : marks_.back();
  if (begin <= floor || begin > stack_.size()) damaged("a missing container");
  const Pickle::Value& container = into_.values_[stack_[begin - 1]];
  if (container.kind != kind) damaged("another container than was expected");
  if (kind == Kind::kDict && (stack_.size() - begin) % 2 != 0) damaged("a key without a value");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(begin);
  auto& elements = into_.elements_[container.word];
  elements.insert(elements.end(), first, stack_.end());
  stack_.erase(first, stack_.end());
}

// ---- the memo

// Python counts its indices from 0 or 1 on: none is as large as the pickle.
void PickleDecoder::memoize(std::uint64_t at) {
  if (at >= in_.size()) damaged("an index of the memo that is too large");
  const Index value = top();
  if (at >= memo_.size()) memo_.resize(at + 1, std::numeric_limits<Index>::max());
  memo_[at] = value;
}

void PickleDecoder::recall(std::uint64_t at) {
  if (at >= memo_.size() || memo_[at] == std::numeric_limits<Index>::max()) damaged("something never memoized");
  push(memo_[at]);
}

// ---- opcodes

bool PickleDecoder::step_value(unsigned char code) {
  switch (code) {
    case opcode::kNone:
      return push_new(Kind::kNone), true;
    case opcode::kTrue:
    case opcode::kFalse:
      return push_new(Kind::kBool, code == opcode::kTrue), true;
    case opcode::kInt1:
    case opcode::kInt2:
      return push_new(Kind::kInt, number(code == opcode::kInt1 ? 1 : 2)), true;
    case opcode::kInt4:
      return push_long(4), true;
    case opcode::kLong1:
      return push_long(number(1)), true;
    case opcode::kLong4: {
      const std::uint64_t size = number(4);
      if (size > std::numeric_limits<std::int32_t>::max()) damaged("an int of a negative length");
      return push_long(size), true;
    }
    case opcode::kFloat: {
      std::uint64_t bits = 0;
      for (const char one : take(8)) bits = bits << 8 | static_cast<unsigned char>(one);
      return push_new(Kind::kFloat, bits), true;
    }
    case opcode::kStr1:
      return push_slice(Kind::kStr, number(1)), true;
    case opcode::kStr4:
      return push_slice(Kind::kStr, number(4)), true;
    case opcode::kStr8:
      return push_slice(Kind::kStr, number(8)), true;
    case opcode::kBytes1:
      return push_slice(Kind::kBytes, number(1)), true;
    case opcode::kBytes4:
      return push_slice(Kind::kBytes, number(4)), true;
    case opcode::kBytes8:
    case opcode::kByteArray8:
      return push_slice(Kind::kBytes, number(8)), true;
    default:
      return false;
  }
}

bool PickleDecoder::step_container(unsigned char code) {
  const std::size_t height = stack_.size() - (marks_.empty() ? 0 : marks_.back());
  const auto topmost = [&](std::size_t count) {
    if (height < count) damaged("a missing value");
    return stack_.size() - count;
  };
  switch (code) {
    case opcode::kMark:
      return marks_.push_back(stack_.size()), true;
    case opcode::kEmptyList:
      return push_container(Kind::kList, stack_.size()), true;
    case opcode::kEmptyTuple:
      return push_container(Kind::kTuple, stack_.size()), true;
    case opcode::kEmptyDict:
      return push_container(Kind::kDict, stack_.size()), true;
    case opcode::kEmptySet:
      return push_container(Kind::kSet, stack_.size()), true;
    case opcode::kTuple1:
    case opcode::kTuple2:
    case opcode::kTuple3:
      return push_container(Kind::kTuple, topmost(std::size_t{1} + code - opcode::kTuple1)), true;
    case opcode::kTuple:
      return push_container(Kind::kTuple, take_mark()), true;
    case opcode::kFrozenset:
      return push_container(Kind::kFrozenset, take_mark()), true;
    case opcode::kAppend:
      return add_to(Kind::kList, topmost(1)), true;
    case opcode::kAppends:
      return add_to(Kind::kList, take_mark()), true;
    case opcode::kSetItem:
      return add_to(Kind::kDict, topmost(2)), true;
    case opcode::kSetItems:
      return add_to(Kind::kDict, take_mark()), true;
    case opcode::kAddItems:
      return add_to(Kind::kSet, take_mark()), true;
    case opcode::kPop:
      return pop(), true;
    case opcode::kPopMark:
      return stack_.resize(take_mark()), true;
    default:
      return false;
  }
}

bool PickleDecoder::step_memo(unsigned char code) {
  switch (code) {
    case opcode::kMemoize:
      return memoize(memo_.size()), true;
    case opcode::kPut1:
      return memoize(number(1)), true;
    case opcode::kPut4:
      return memoize(number(4)), true;
    case opcode::kGet1:
      return recall(number(1)), true;
    case opcode::kGet4:
      return recall(number(4)), true;
    default:
      return false;
  }
}

bool PickleDecoder::step() {
  const unsigned char code = byte();
  if (step_value(code) || step_container(code) || step_memo(code)) return true;
  if (code == opcode::kStop) return false;
  if (code == opcode::kFrame) {
    if (number(8) > in_.size() - at_) damaged("a frame longer than the message");
  } else if (code == opcode::kProtocol) {
    if (number(1) > kNewestProtocol) damaged("an unknown protocol");
  } else {
    refuse_opcode(code);
  }
  return true;
}

void PickleDecoder::decode() {
  if (in_.size() < 2 || static_cast<unsigned char>(in_[0]) != opcode::kProtocol ||
      static_cast<unsigned char>(in_[1]) < kOldestProtocol || static_cast<unsigned char>(in_[1]) > kNewestProtocol) {
    throw TypeMismatch(
        fmt::format("recv() met a message of {} bytes that is no pickle; recv_bytes() takes what send_bytes() "
                    "sent",
                    in_.size()));
  }
  while (step()) {
  }
  into_.root_ = pop();
  if (!stack_.empty() || !marks_.empty() || at_ != in_.size()) damaged("more than one value");
}

}  // namespace commonhold::detail
