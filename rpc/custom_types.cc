#include "rpc/custom_types.h"

#include <mutex>

namespace commonhold::rpc {

namespace {

// Registered as a rule by constructors of static objects, and used until the process ends.
struct Registered {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const CustomType>, std::less<>> types;
  static Registered& instance() {
    static auto* registered = new Registered;
    return *registered;
  }
};

}  // namespace

void register_custom_type(CustomType type) {
  Registered& registered = Registered::instance();
  auto shared = std::make_shared<const CustomType>(std::move(type));
  std::lock_guard hold(registered.mutex);
  registered.types[shared->name] = shared;
}

std::shared_ptr<const CustomType> find_custom_type(std::string_view name) {
  Registered& registered = Registered::instance();
  std::lock_guard hold(registered.mutex);
  auto found = registered.types.find(name);
  return found == registered.types.end() ? nullptr : found->second;
}

bool has_custom_types() {
  Registered& registered = Registered::instance();
  std::lock_guard hold(registered.mutex);
  return !registered.types.empty();
}

}  // namespace commonhold::rpc
