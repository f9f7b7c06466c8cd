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

void Any::refuse_real(long double value) {
  throw ValueError(fmt::format("{} is too large for an Any, which holds numbers as double", value));
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

}  // namespace commonhold
