// The objects that are used while others write garbage into their segment: one of every kind, and what is in them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace commonhold::test {

namespace damaged {

using Text = std::string;
struct Wide {
  std::int64_t parts[9] = {};
  bool operator==(const Wide&) const = default;
};
using Nested = std::vector<std::map<Text, std::int64_t>>;

}  // namespace damaged

// Makes and fills the objects, in the manager of that name.
void make_objects_to_damage(const char* manager);

}  // namespace commonhold::test
