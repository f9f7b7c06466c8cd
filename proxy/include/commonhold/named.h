// named("scores"): asks for the object of that name, made when there is none.
#pragma once

#include <string>
#include <string_view>

namespace commonhold {

class Named {
 public:
  const std::string& name() const { return name_; }

 private:
  friend Named named(std::string_view name);
  struct Secret {};  // so that no braced list becomes a Named
  Named(Secret, std::string_view name) : name_(name) {}
  std::string name_;
};

inline Named named(std::string_view name) {
  return Named(Named::Secret{}, name);
}

}  // namespace commonhold
