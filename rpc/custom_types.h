// The types of a program's own that its server knows: how to make an object of each, and its methods. What crosses here
// is bytes (rpc/commonhold.capnp, Session.call); C++ types are the registering program's business.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shm/segment.h"

namespace commonhold::rpc {

// What a constructor or method is given.
struct CustomCall {
  std::shared_ptr<shm::Segment> segment;  // of the server that runs it
  std::optional<std::string> authkey;     // that the server was given
  std::string_view arguments;             // a MessagePack array
};

struct CustomResult {
  std::string value;                 // MessagePack
  std::vector<std::uint64_t> links;  // the objects that it refers to
  std::shared_ptr<void> keep;        // keeps them alive
};

// The functions run user code, and throw what it throws.
struct CustomType {
  std::string name;
  bool exclusive = false;  // one method of an object at a time
  std::function<std::shared_ptr<void>(const CustomCall& call)> construct;
  std::map<std::string, std::function<CustomResult(void* object, const CustomCall& call)>, std::less<>> methods;
};

// Adds a type, or changes it for objects that are made from now on.
void register_custom_type(CustomType type);
std::shared_ptr<const CustomType> find_custom_type(std::string_view name);  // nullptr: unknown
bool has_custom_types();

}  // namespace commonhold::rpc
