#include <commonhold/any.h>
#include <commonhold/detail/pickle.h>
#include <fmt/format.h>

#include <bit>
#include <limits>

#include "process/pickle_opcodes.h"
#include "process/utf8.h"

namespace commonhold::detail {

namespace {

// The newest one that every Python from 3.4 on reads: older ones know no sets, nor bytes of 4 GiB.
constexpr char kWrittenProtocol = 4;

}  // namespace

PickleWriter::PickleWriter() {
  put(opcode::kProtocol);
  out_ += kWrittenProtocol;
}

std::string PickleWriter::take() {
  put(opcode::kStop);
  return std::move(out_);
}

void PickleWriter::put_number(std::uint64_t value, int bytes) {
  for (; bytes > 0; --bytes, value >>= 8) out_ += static_cast<char>(value & 0xff);
}

void PickleWriter::none() {
  put(opcode::kNone);
}

void PickleWriter::boolean(bool value) {
  put(value ? opcode::kTrue : opcode::kFalse);
}

void PickleWriter::integer(std::int64_t value) {
  if (value >= 0) return natural(static_cast<std::uint64_t>(value));
  const auto bits = static_cast<std::uint64_t>(value);
  if (value >= std::numeric_limits<std::int32_t>::min()) {
    put(opcode::kInt4);
    return put_number(bits, 4);
  }
  put(opcode::kLong1);
  put_number(8, 1);
  put_number(bits, 8);
}

void PickleWriter::natural(std::uint64_t value) {
  if (value <= 0xff) {
    put(opcode::kInt1);
    put_number(value, 1);
  } else if (value <= 0xffff) {
    put(opcode::kInt2);
    put_number(value, 2);
  } else if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) {
    put(opcode::kInt4);
    put_number(value, 4);
  } else {
    // A ninth byte for what would be negative in eight.
    const int bytes = value >> 63 != 0 ? 9 : 8;
    put(opcode::kLong1);
    put_number(static_cast<std::uint64_t>(bytes), 1);
    put_number(value, 8);
    if (bytes == 9) put_number(0, 1);
  }
}

void PickleWriter::real(double value) {
  put(opcode::kFloat);
  const auto bits = std::bit_cast<std::uint64_t>(value);
  for (int shift = 56; shift >= 0; shift -= 8) out_ += static_cast<char>(bits >> shift & 0xff);
}

void PickleWriter::str(std::string_view value) {
  if (const std::size_t at = first_invalid_utf8(value); at != value.size()) {
    throw ValueError(
        fmt::format("a text of {} bytes is no UTF-8 (byte {} is {:#04x}), and cannot be a str of Python's: "
                    "send bytes, as std::vector<std::byte> or by send_bytes()",
                    value.size(), at, static_cast<unsigned char>(value[at])));
  }
  const int width = value.size() <= 0xff ? 1 : value.size() <= 0xffff'ffff ? 4 : 8;
  put(width == 1 ? opcode::kStr1 : width == 4 ? opcode::kStr4 : opcode::kStr8);
  put_number(value.size(), width);
  out_ += value;
}

void PickleWriter::bytes(std::string_view value) {
  const int width = value.size() <= 0xff ? 1 : value.size() <= 0xffff'ffff ? 4 : 8;
  put(width == 1 ? opcode::kBytes1 : width == 4 ? opcode::kBytes4 : opcode::kBytes8);
  put_number(value.size(), width);
  out_ += value;
}

void PickleWriter::open(Container container) {
  if (container == Container::kList) put(opcode::kEmptyList);
  if (container == Container::kDict) put(opcode::kEmptyDict);
  if (container == Container::kSet) put(opcode::kEmptySet);
  put(opcode::kMark);
}

void PickleWriter::close(Container container) {
  switch (container) {
    case Container::kList:
      return put(opcode::kAppends);
    case Container::kTuple:
      return put(opcode::kTuple);
    case Container::kDict:
      return put(opcode::kSetItems);
    case Container::kSet:
      return put(opcode::kAddItems);
    case Container::kFrozenset:
      return put(opcode::kFrozenset);
  }
}

void PickleWriter::refuse(const std::string& what) {
  throw UsageError(
      what +
      " cannot be sent to Python (Protocol::kPython): null, bool, integers, floating point numbers, texts, "
      "bytes, and containers of such can");
}

void pickle_any(PickleWriter& out, const Any& value, bool as_key) {
  using Container = PickleWriter::Container;
  switch (value.type()) {
    case Any::Type::kNull:
      return out.none();
    case Any::Type::kBool:
      return out.boolean(value.as<bool>());
    case Any::Type::kInt:
      return out.integer(value.as<std::int64_t>());
    case Any::Type::kReal:
      return out.real(value.as<double>());
    case Any::Type::kText:
      return out.str(value.as<std::string>());
    case Any::Type::kBytes: {
      const auto bytes = value.as<Any::Bytes>();
      return out.bytes({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    case Any::Type::kList: {
      const Container container = as_key ? Container::kTuple : Container::kList;
      out.open(container);
      for (std::size_t i = 0; i < value.size(); ++i) pickle_any(out, value.at(i), as_key);
      return out.close(container);
    }
    case Any::Type::kMap:
      if (as_key) PickleWriter::refuse("a map that is a key or an element of a set");
      out.open(Container::kDict);
      for (const auto& [key, mapped] : value.as<Any::Map>()) {
        pickle_any(out, key, true);
        pickle_any(out, mapped, false);
      }
      return out.close(Container::kDict);
    case Any::Type::kReference:
      PickleWriter::refuse("a shared object");
  }
}

}  // namespace commonhold::detail
