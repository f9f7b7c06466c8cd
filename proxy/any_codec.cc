// An Any as it is stored, and as it is sent.
#include <commonhold/any.h>

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "proxy/object.h"

namespace commonhold {

using detail::ItemKind;
using detail::Word;

namespace {

std::string_view view_of(const Any::Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

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
