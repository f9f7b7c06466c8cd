#include <commonhold/any.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include <commonhold/detail/print.h>

#include "proxy/object.h"

namespace commonhold {

using detail::ItemKind;
using detail::Word;

namespace {

const char* name_of(Any::Type type) {
  constexpr const char* kNames[] = {"null", "bool", "int", "real", "text", "bytes", "list", "map", "reference"};
  return kNames[static_cast<std::size_t>(type)];
}

std::string shown(const Any& value) {
  std::ostringstream out;
  out << value;
  std::string text = out.str();
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

std::string_view view_of(const Any::Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// NaN equals itself, so that what is stored equals what is read.
std::weak_ordering compare(double a, double b) {
  if (a < b) return std::weak_ordering::less;
  if (a > b) return std::weak_ordering::greater;
  return std::isnan(a) <=> std::isnan(b);
}

}  // namespace

unsigned Any::levels() const {
  if (is_list()) return static_cast<const Nested<List>&>(*std::get<std::shared_ptr<const List>>(value_)).levels;
  if (is_map()) return static_cast<const Nested<Map>&>(*std::get<std::shared_ptr<const Map>>(value_)).levels;
  return 0;
}

namespace {

unsigned one_level_more(unsigned levels) {
  if (levels < Any::kMaxLevels) return levels + 1;
  throw LimitReached(fmt::format("an Any holds lists and maps in one another in at most {} levels", Any::kMaxLevels));
}

}  // namespace

std::shared_ptr<const Any::List> Any::nested(List list) {
  unsigned below = 0;
  for (const Any& element : list) below = std::max(below, element.levels());
  return std::make_shared<const Nested<List>>(std::move(list), one_level_more(below));
}

std::shared_ptr<const Any::Map> Any::nested(Map map) {
  unsigned below = 0;
  for (const auto& [key, mapped] : map) below = std::max({below, key.levels(), mapped.levels()});
  return std::make_shared<const Nested<Map>>(std::move(map), one_level_more(below));
}

std::string Any::type_name() const {
  if (is_reference()) return detail::signature_of(*std::get<detail::ObjectHandle>(value_));
  return name_of(type());
}

void Any::refuse_number(std::uint64_t value) {
  throw ValueError(fmt::format("{} does not fit in an Any, which holds integers up to {}", value,
                               std::numeric_limits<std::int64_t>::max()));
}

void Any::mismatch(const std::string& wanted) const {
  throw TypeMismatch(
      fmt::format("the value {} is of type {}, and was asked for as {}", shown(*this), type_name(), wanted));
}

bool Any::refers_to(const detail::ObjectRequest& request) const {
  const detail::Object& object = *std::get<detail::ObjectHandle>(value_);
  return detail::matches(request, object.kind, object.signature);
}

detail::ObjectHandle Any::opened(const detail::ObjectRequest& request) const {
  if (!is_reference() || !refers_to(request)) mismatch(request.signature);
  return std::get<detail::ObjectHandle>(value_);
}

const Any& Any::at(std::size_t index) const {
  if (!is_list()) mismatch("list");
  const List& list = *std::get<std::shared_ptr<const List>>(value_);
  if (index < list.size()) return list[index];
  throw IndexError(fmt::format("index {} is outside of {}, which has {} elements", index, shown(*this), list.size()));
}

const Any& Any::at(std::string_view key) const {
  if (!is_map()) mismatch("map");
  const Map& map = *std::get<std::shared_ptr<const Map>>(value_);
  const auto found = map.find(Any(key));
  if (found != map.end()) return found->second;
  throw KeyError(fmt::format("no key \"{}\" in {}", key, shown(*this)));
}

std::size_t Any::size() const {
  if (is_list()) return std::get<std::shared_ptr<const List>>(value_)->size();
  if (is_map()) return std::get<std::shared_ptr<const Map>>(value_)->size();
  if (is_text()) return std::get<std::string>(value_).size();
  if (is_bytes()) return std::get<Bytes>(value_).size();
  mismatch("a list, map, text or bytes");
}

Any& Any::operator+=(const Any& other) {
  if (is_int() && other.is_int()) {
    value_ = static_cast<std::int64_t>(static_cast<std::uint64_t>(std::get<std::int64_t>(value_)) +
                                       static_cast<std::uint64_t>(std::get<std::int64_t>(other.value_)));
  } else if (is_number() && other.is_number()) {
    value_ = as<double>() + other.as<double>();
  } else if (is_text() && other.is_text()) {
    std::get<std::string>(value_) += std::get<std::string>(other.value_);
  } else if (is_list() && other.is_list()) {
    List all = *std::get<std::shared_ptr<const List>>(value_);
    const List& more = *std::get<std::shared_ptr<const List>>(other.value_);
    all.insert(all.end(), more.begin(), more.end());
    value_ = nested(std::move(all));
  } else {
    throw TypeMismatch(fmt::format("cannot add {}, of type {}, to {}, of type {}", shown(other), other.type_name(),
                                   shown(*this), type_name()));
  }
  return *this;
}

bool operator==(const Any& a, const Any& b) {
  return std::is_eq(a <=> b);
}

std::weak_ordering operator<=>(const Any& a, const Any& b) {
  if (a.type() != b.type()) return a.type() <=> b.type();
  switch (a.type()) {
    case Any::Type::kNull:
      return std::weak_ordering::equivalent;
    case Any::Type::kBool:
      return std::get<bool>(a.value_) <=> std::get<bool>(b.value_);
    case Any::Type::kInt:
      return std::get<std::int64_t>(a.value_) <=> std::get<std::int64_t>(b.value_);
    case Any::Type::kReal:
      return compare(std::get<double>(a.value_), std::get<double>(b.value_));
    case Any::Type::kText:
      return std::get<std::string>(a.value_) <=> std::get<std::string>(b.value_);
    case Any::Type::kBytes:
      return view_of(std::get<Any::Bytes>(a.value_)) <=> view_of(std::get<Any::Bytes>(b.value_));
    case Any::Type::kList: {
      const auto& x = *std::get<std::shared_ptr<const Any::List>>(a.value_);
      const auto& y = *std::get<std::shared_ptr<const Any::List>>(b.value_);
      return std::lexicographical_compare_three_way(x.begin(), x.end(), y.begin(), y.end());
    }
    case Any::Type::kMap: {
      const auto& x = *std::get<std::shared_ptr<const Any::Map>>(a.value_);
      const auto& y = *std::get<std::shared_ptr<const Any::Map>>(b.value_);
      return std::lexicographical_compare_three_way(x.begin(), x.end(), y.begin(), y.end(),
                                                    [](const auto& m, const auto& n) -> std::weak_ordering {
                                                      if (const auto order = m.first <=> n.first; std::is_neq(order))
                                                        return order;
                                                      return m.second <=> n.second;
                                                    });
    }
    case Any::Type::kReference: {
      const detail::Object& x = *std::get<detail::ObjectHandle>(a.value_);
      const detail::Object& y = *std::get<detail::ObjectHandle>(b.value_);
      if (const auto order = x.id.word() <=> y.id.word(); std::is_neq(order)) return order;
      return std::compare_three_way()(x.segment.get(), y.segment.get());
    }
  }
  return std::weak_ordering::equivalent;
}

std::ostream& operator<<(std::ostream& out, const Any& value) {
  switch (value.type()) {
    case Any::Type::kNull:
      return out << "null";
    case Any::Type::kBool:
      return out << (std::get<bool>(value.value_) ? "true" : "false");
    case Any::Type::kInt:
      return out << std::get<std::int64_t>(value.value_);
    case Any::Type::kReal:
      return detail::print_real(out, std::get<double>(value.value_));
    case Any::Type::kText:
      return detail::print_text(out, std::get<std::string>(value.value_));
    case Any::Type::kBytes:
      return detail::print_bytes(out, view_of(std::get<Any::Bytes>(value.value_)));
    case Any::Type::kList: {
      const char* between = "";
      out << '[';
      for (const Any& element : *std::get<std::shared_ptr<const Any::List>>(value.value_)) {
        out << between << element;
        between = ", ";
      }
      return out << ']';
    }
    case Any::Type::kMap: {
      const char* between = "";
      out << '{';
      for (const auto& [key, mapped] : *std::get<std::shared_ptr<const Any::Map>>(value.value_)) {
        out << between << key << ": " << mapped;
        between = ", ";
      }
      return out << '}';
    }
    case Any::Type::kReference: {
      const detail::Object& object = *std::get<detail::ObjectHandle>(value.value_);
      return out << fmt::format("<{} {}.{}>", object.signature, object.id.index, object.id.generation);
    }
  }
  return out;
}

// ---- stored

void Any::pack(detail::Packer& out) const {
  switch (type()) {
    case Type::kNull:
      return out.null();
    case Type::kBool:
      return out.boolean(std::get<bool>(value_));
    case Type::kInt:
      return out.integer(std::get<std::int64_t>(value_));
    case Type::kReal:
      return out.real(std::get<double>(value_));
    case Type::kText:
      return out.text(std::get<std::string>(value_));
    case Type::kBytes:
      return out.bytes(view_of(std::get<Bytes>(value_)));
    case Type::kList: {
      const List& list = *std::get<std::shared_ptr<const List>>(value_);
      out.sequence(list.size());
      for (const Any& element : list) element.pack(out);
      return;
    }
    case Type::kMap: {
      const Map& map = *std::get<std::shared_ptr<const Map>>(value_);
      out.mapping(map.size());
      for (const auto& [key, mapped] : map) {
        key.pack(out);
        mapped.pack(out);
      }
      return;
    }
    case Type::kReference:
      return out.link(std::get<detail::ObjectHandle>(value_));
  }
}

Any Any::unpack(detail::Unpacker& in) {
  return unpack(in, 0);
}

// `levels`: how many lists and maps it is in. What no Any can be is refused before it is walked into.
Any Any::unpack(detail::Unpacker& in, unsigned levels) {
  using Next = detail::Unpacker::Next;
  const Next next = in.next();
  if (levels == kMaxLevels && (next == Next::kSequence || next == Next::kMapping)) {
    throw CorruptSegment(fmt::format("a stored value is nested in more than {} levels", kMaxLevels));
  }
  switch (next) {
    case Next::kNull:
      in.null();
      return {};
    case Next::kBool:
      return in.boolean();
    case Next::kInteger:
      return in.integer();
    case Next::kReal:
      return in.real();
    case Next::kText:
      return in.text();
    case Next::kBytes: {
      const std::string_view bytes = in.bytes();
      const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
      return Bytes(first, first + bytes.size());
    }
    case Next::kSequence: {
      List list;
      for (std::size_t left = in.sequence(); left != 0; --left) list.push_back(unpack(in, levels + 1));
      return list;
    }
    case Next::kMapping: {
      Map map;
      for (std::size_t left = in.mapping(); left != 0; --left) {
        Any key = unpack(in, levels + 1);
        map.insert_or_assign(std::move(key), unpack(in, levels + 1));
      }
      return map;
    }
    case Next::kLink: {
      Any value;
      value.value_ = in.link({});
      return value;
    }
    case Next::kOther:
      break;
  }
  throw TypeMismatch("a stored value has a part that only the C++ type knows that wrote it; it cannot be read as Any");
}

Any Any::decode(detail::Object& from, ItemKind kind, std::string_view bytes) {
  return decode_item(&from, kind, bytes);
}

Any Any::received(ItemKind kind, std::string_view bytes) {
  return decode_item(nullptr, kind, bytes);
}

Any Any::decode_item(detail::Object* from, ItemKind kind, std::string_view bytes) {
  auto word = [&] {
    Word value = 0;
    if (bytes.size() != sizeof value) detail::refuse_size(bytes.size(), sizeof value);
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  };
  switch (kind) {
    case ItemKind::kNull:
      return {};
    case ItemKind::kBool:
      return word() != 0;
    case ItemKind::kInt64:
      return static_cast<std::int64_t>(word());
    case ItemKind::kDouble:
      return std::bit_cast<double>(word());
    case ItemKind::kText:
      return bytes;
    case ItemKind::kBytes: {
      const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
      return Bytes(first, first + bytes.size());
    }
    case ItemKind::kReference: {
      if (from == nullptr) break;
      Any value;
      value.value_ = detail::open_link(*from, word(), {});
      return value;
    }
    case ItemKind::kCompound:
    case ItemKind::kLinked: {
      auto in = from == nullptr ? detail::Unpacker::received(bytes)
                                : detail::Unpacker(bytes, *from, kind == ItemKind::kLinked);
      Any value = unpack(in);
      in.end();
      return value;
    }
    case ItemKind::kStruct:
      break;
  }
  throw TypeMismatch(fmt::format("{} is the bytes of a C++ struct, which cannot be read as Any",
                                 from == nullptr ? "a message" : "an item of " + detail::description_of(*from)));
}

detail::Encoded<Any> detail::Encoded<Any>::to_send(const Any& value) {
  Encoded encoded;
  if (value.is_reference() || value.is_list() || value.is_map()) {
    Packer out = Packer::to_send();
    value.pack(out);
    encoded.kind_ = out.links().empty() ? ItemKind::kCompound : ItemKind::kLinked;
    encoded.bytes_ = out.take();
  } else {
    encoded.encode(nullptr, value);
  }
  return encoded;
}

void detail::Encoded<Any>::encode(Object* into, const Any& value) {
  auto word = [&](ItemKind kind, Word word) {
    kind_ = kind;
    word_ = word;
    is_word_ = true;
  };
  switch (value.type()) {
    case Any::Type::kNull:
      return;
    case Any::Type::kBool:
      return word(ItemKind::kBool, std::get<bool>(value.value_) ? 1 : 0);
    case Any::Type::kInt:
      return word(ItemKind::kInt64, static_cast<Word>(std::get<std::int64_t>(value.value_)));
    case Any::Type::kReal:
      return word(ItemKind::kDouble, std::bit_cast<Word>(std::get<double>(value.value_)));
    case Any::Type::kText:
      kind_ = ItemKind::kText;
      text_ = &std::get<std::string>(value.value_);
      return;
    case Any::Type::kBytes:
      kind_ = ItemKind::kBytes;
      bytes_ = view_of(std::get<Any::Bytes>(value.value_));
      return;
    case Any::Type::kReference:
      if (into == nullptr) throw UsageError("a reference to an object cannot be a key");
      return word(ItemKind::kReference, link_word(*into, std::get<ObjectHandle>(value.value_)));
    case Any::Type::kList:
    case Any::Type::kMap: {
      Packer out = into == nullptr ? Packer() : Packer(*into);
      value.pack(out);
      const bool links = !out.links().empty();
      kind_ = links ? ItemKind::kLinked : ItemKind::kCompound;
      bytes_ = links ? out.take_linked() : out.take();
      return;
    }
  }
}

}  // namespace commonhold
