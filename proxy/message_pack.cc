#include <commonhold/detail/message_pack.h>

#include <fmt/format.h>

#include <bit>

#include <commonhold/errors.h>

namespace commonhold::detail {

namespace {

constexpr unsigned char kNil = 0xc0, kFalse = 0xc2, kTrue = 0xc3, kBin8 = 0xc4, kExt8 = 0xc7, kFloat64 = 0xcb,
                        kUint8 = 0xcc, kInt8 = 0xd0, kFixExt1 = 0xd4, kStr8 = 0xd9, kArray16 = 0xdc, kMap16 = 0xde,
                        kFixMap = 0x80, kFixArray = 0x90, kFixStr = 0xa0;

// 0, 1 or 2 for lengths of one, two or four bytes: what is added to a tag of 8 bits.
int width_of(std::uint64_t size) {
  return size <= 0xff ? 0 : size <= 0xffff ? 1 : 2;
}

void limit(std::uint64_t size) {
  if (size > 0xffff'ffff) throw LimitReached(fmt::format("a compound value has a part of {} bytes or elements", size));
}

}  // namespace

// ---- writing

void Packer::head(unsigned char tag, std::uint64_t value, int bytes) {
  out_ += static_cast<char>(tag);
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) out_ += static_cast<char>(value >> shift & 0xff);
}

void Packer::null() {
  head(kNil, 0, 0);
}
void Packer::boolean(bool value) {
  head(value ? kTrue : kFalse, 0, 0);
}

void Packer::natural(std::uint64_t value) {
  if (value < 0x80) return head(static_cast<unsigned char>(value), 0, 0);
  const int width = value <= 0xffff'ffff ? width_of(value) : 3;
  head(static_cast<unsigned char>(kUint8 + width), value, 1 << width);
}

void Packer::integer(std::int64_t value) {
  if (value >= 0) return natural(static_cast<std::uint64_t>(value));
  if (value >= -32) return head(static_cast<unsigned char>(value), 0, 0);
  const int width = value >= INT8_MIN ? 0 : value >= INT16_MIN ? 1 : value >= INT32_MIN ? 2 : 3;
  head(static_cast<unsigned char>(kInt8 + width), static_cast<std::uint64_t>(value), 1 << width);
}

void Packer::real(double value) {
  head(kFloat64, std::bit_cast<std::uint64_t>(value), 8);
}

void Packer::text(std::string_view value) {
  limit(value.size());
  if (value.size() < 32) {
    head(static_cast<unsigned char>(kFixStr + value.size()), 0, 0);
  } else {
    const int width = width_of(value.size());
    head(static_cast<unsigned char>(kStr8 + width), value.size(), 1 << width);
  }
  out_ += value;
}

void Packer::bytes(std::string_view value) {
  limit(value.size());
  const int width = width_of(value.size());
  head(static_cast<unsigned char>(kBin8 + width), value.size(), 1 << width);
  out_ += value;
}

void Packer::sequence(std::size_t count) {
  limit(count);
  if (count < 16) return head(static_cast<unsigned char>(kFixArray + count), 0, 0);
  count <= 0xffff ? head(kArray16, count, 2) : head(kArray16 + 1, count, 4);
}

void Packer::mapping(std::size_t count) {
  limit(count);
  if (count < 16) return head(static_cast<unsigned char>(kFixMap + count), 0, 0);
  count <= 0xffff ? head(kMap16, count, 2) : head(kMap16 + 1, count, 4);
}

void Packer::extension(std::int8_t type, std::string_view value) {
  limit(value.size());
  if (std::has_single_bit(value.size()) && value.size() <= 16) {
    head(static_cast<unsigned char>(kFixExt1 + std::countr_zero(value.size())), 0, 0);
  } else {
    const int width = width_of(value.size());
    head(static_cast<unsigned char>(kExt8 + width), value.size(), 1 << width);
  }
  out_ += static_cast<char>(type);
  out_ += value;
}

void Nested::refuse_depth() {
  throw LimitReached(fmt::format("structs in one another are stored up to {} levels deep", kMostLevels));
}

// ---- reading

void Unpacker::refuse(const char* expected) const {
  const std::string found = left_.empty() ? "the end" : fmt::format("{:02x}", static_cast<unsigned char>(left_[0]));
  throw CorruptSegment(fmt::format("a compound value holds {} where {} was expected ({} bytes from its end)", found,
                                   expected, left_.size()));
}

std::string_view Unpacker::take(std::uint64_t size) {
  if (size > left_.size()) refuse("more bytes");
  const std::string_view taken = left_.substr(0, size);
  left_.remove_prefix(size);
  return taken;
}

unsigned char Unpacker::tag() {
  if (left_.empty()) refuse("a value");
  return static_cast<unsigned char>(left_[0]);
}

std::uint64_t Unpacker::number(int bytes) {
  std::uint64_t value = 0;
  for (const char byte : take(static_cast<std::uint64_t>(bytes))) {
    value = value << 8 | static_cast<unsigned char>(byte);
  }
  return value;
}

Unpacker::Next Unpacker::next() {
  const unsigned char found = tag();
  if (found < 0x80 || found >= 0xe0 || (found >= kUint8 && found <= kInt8 + 3)) return Next::kInteger;
  if ((found & 0xf0) == kFixMap || found == kMap16 || found == kMap16 + 1) return Next::kMapping;
  if ((found & 0xf0) == kFixArray || found == kArray16 || found == kArray16 + 1) return Next::kSequence;
  if ((found & 0xe0) == kFixStr || (found >= kStr8 && found <= kStr8 + 2)) return Next::kText;
  if (found >= kBin8 && found <= kBin8 + 2) return Next::kBytes;
  switch (found) {
    case kNil:
      return Next::kNull;
    case kFalse:
    case kTrue:
      return Next::kBool;
    case kFloat64:
      return Next::kReal;
    case kFixExt1 + 3:
      return left_.size() > 1 && left_[1] == kLinkExtension ? Next::kLink : Next::kOther;
    default:
      return has_token() ? Next::kLink : Next::kOther;
  }
}

// An extension with a length of its own comes next, and holds a token that another process sent.
bool Unpacker::has_token() const {
  if (!received_ || left_.empty()) return false;
  const auto found = static_cast<unsigned char>(left_[0]);
  if (found >= kFixExt1 && found <= kFixExt1 + 4) return left_.size() > 1 && left_[1] == kTokenExtension;
  if (found < kExt8 || found > kExt8 + 2) return false;
  const std::size_t type_at = 1 + (std::size_t{1} << (found - kExt8));
  return left_.size() > type_at && left_[type_at] == kTokenExtension;
}

bool Unpacker::null() {
  if (tag() != kNil) return false;
  take(1);
  return true;
}

bool Unpacker::boolean() {
  const unsigned char found = tag();
  if (found != kTrue && found != kFalse) refuse("true or false");
  take(1);
  return found == kTrue;
}

std::uint64_t Unpacker::natural() {
  const unsigned char found = tag();
  if (found >= 0x80 && (found < kUint8 || found > kUint8 + 3)) refuse("a natural number");
  take(1);
  return found < 0x80 ? found : number(1 << (found - kUint8));
}

std::int64_t Unpacker::integer() {
  const unsigned char found = tag();
  if (found >= 0xe0) return static_cast<std::int8_t>(take(1)[0]);
  if (found < kInt8 || found > kInt8 + 3) return static_cast<std::int64_t>(natural());
  take(1);
  switch (found - kInt8) {
    case 0:
      return static_cast<std::int8_t>(number(1));
    case 1:
      return static_cast<std::int16_t>(number(2));
    case 2:
      return static_cast<std::int32_t>(number(4));
    default:
      return static_cast<std::int64_t>(number(8));
  }
}

double Unpacker::real() {
  if (tag() != kFloat64) refuse("a floating point number");
  take(1);
  return std::bit_cast<double>(number(8));
}

std::string_view Unpacker::text() {
  const unsigned char found = tag();
  if ((found & 0xe0) == kFixStr) {
    take(1);
    return take(found & 0x1f);
  }
  if (found < kStr8 || found > kStr8 + 2) refuse("a text");
  take(1);
  return take(number(1 << (found - kStr8)));
}

std::string_view Unpacker::bytes() {
  const unsigned char found = tag();
  if (found < kBin8 || found > kBin8 + 2) refuse("bytes");
  take(1);
  return take(number(1 << (found - kBin8)));
}

std::size_t Unpacker::count(unsigned char found, unsigned char fix, unsigned char tag16) {
  std::uint64_t elements = 0;
  if ((found & 0xf0) == fix) {
    take(1);
    elements = found & 0x0f;
  } else {
    if (found != tag16 && found != tag16 + 1) refuse(fix == kFixArray ? "an array" : "a map");
    take(1);
    elements = number(found == tag16 ? 2 : 4);
  }
  if (elements > left_.size()) refuse("as many elements as announced");  // each has a byte at least
  return elements;
}

std::size_t Unpacker::sequence() {
  return count(tag(), kFixArray, kArray16);
}
std::size_t Unpacker::mapping() {
  return count(tag(), kFixMap, kMap16);
}

std::string_view Unpacker::extension(std::int8_t type) {
  const unsigned char found = tag();
  std::uint64_t size = 0;
  if (found >= kFixExt1 && found <= kFixExt1 + 4) {
    take(1);
    size = std::uint64_t{1} << (found - kFixExt1);
  } else {
    if (found < kExt8 || found > kExt8 + 2) refuse("an extension");
    take(1);
    size = number(1 << (found - kExt8));
  }
  if (left_.empty() || static_cast<std::int8_t>(left_[0]) != type) refuse("an extension of another type");
  take(1);
  return take(size);
}

void Unpacker::expect_count(std::size_t found, std::size_t expected) const {
  if (found == expected) return;
  throw CorruptSegment(fmt::format("a compound value has {} parts where its type has {}", found, expected));
}

std::size_t Unpacker::index(std::size_t count) {
  const std::uint64_t found = natural();
  if (found < count) return found;
  throw CorruptSegment(fmt::format("a variant's alternative {} is stored, where its type has {}", found, count));
}

void Unpacker::end() const {
  if (!left_.empty()) refuse("the end");
}

}  // namespace commonhold::detail
