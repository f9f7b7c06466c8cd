#include <commonhold/name_space.h>

#include <commonhold/detail/dict_calls.h>
#include <commonhold/detail/encoded_batch.h>

namespace commonhold {

using detail::EncodedKey;

std::optional<Any> Namespace::find(std::string_view name) const {
  const EncodedKey<std::string> key(name);
  return detail::reading_links<Any>([&]() -> std::optional<Any> {
    detail::StoredItem stored;
    if (!detail::dict_get_item(*handle_, key.item(), stored)) return std::nullopt;
    return detail::decode<Any>(*handle_, stored);
  });
}

Any Namespace::at(std::string_view name) const {
  if (auto value = find(name)) return *std::move(value);
  detail::throw_attribute_error(*handle_, name);
}

bool Namespace::has(std::string_view name) const {
  return detail::dict_contains(*handle_, EncodedKey<std::string>(name).item());
}

void Namespace::set(std::string_view name, const Any& value) const {
  detail::dict_put(*handle_, EncodedKey<std::string>(name).item(), detail::Encoded<Any>(*handle_, value).item());
}

void Namespace::del(std::string_view name) const {
  if (!detail::dict_erase(*handle_, EncodedKey<std::string>(name).item(), nullptr)) {
    detail::throw_attribute_error(*handle_, name);
  }
}

void Namespace::update(const std::map<std::string, Any>& attributes) const {
  detail::dict_put_many(*handle_, detail::PairBatch<std::string, Any>(attributes, *handle_).items());
}

Watch Namespace::watch(std::string_view name) const {
  const EncodedKey<std::string> key(name);
  const detail::Item item = key.item();
  return detail::watch(handle_, &item);
}

std::map<std::string, Any> Namespace::items() const {
  return detail::reading_links<Any>([&] {
    std::map<std::string, Any> all;
    for (const auto& entry : detail::dict_snapshot(*handle_)) {
      all.emplace(entry.key(), detail::decode<Any>(*handle_, entry.value_kind, entry.value()));
    }
    return all;
  });
}

bool Namespace::replaced(std::string_view name, const Any& seen, const Any& next) const {
  switch (detail::dict_compare_exchange(*handle_, EncodedKey<std::string>(name).item(),
                                        detail::Encoded<Any>(*handle_, seen).item(),
                                        detail::Encoded<Any>(*handle_, next).item(), nullptr)) {
    case detail::Exchange::kDone:
      return true;
    case detail::Exchange::kDifferent:
      return false;
    case detail::Exchange::kAbsent:
      break;
  }
  detail::throw_attribute_error(*handle_, name);
}

std::ostream& operator<<(std::ostream& out, const Namespace& space) {
  const char* between = "";
  out << "Namespace(";
  for (const auto& [name, value] : space.items()) {
    if (name.starts_with('_')) continue;
    out << between << name << '=' << value;
    between = ", ";
  }
  return out << ')';
}

}  // namespace commonhold
