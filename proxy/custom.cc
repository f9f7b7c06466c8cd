#include <commonhold/custom.h>

#include <fmt/format.h>

#include <cstring>
#include <map>
#include <mutex>

#include <commonhold/detail/signature.h>
#include <commonhold/type.h>

#include "proxy/errors.h"
#include "proxy/manager_state.h"
#include "proxy/object.h"
#include "rpc/custom_types.h"

namespace commonhold::detail {

namespace {

// What a constructor's or method's arguments and result are stored in, as far as their references are concerned.
struct Scope : Object {
  explicit Scope(std::shared_ptr<shm::Segment> in, std::shared_ptr<ManagerState> of = nullptr) {
    segment = std::move(in);
    manager = std::move(of);
    kind = ObjectKind::kCustom;
    signature = "a call";
  }
};

// The server that runs the calling thread's constructor or method.
thread_local const rpc::CustomCall* serving = nullptr;

struct Serving {
  explicit Serving(const rpc::CustomCall& call) : before(std::exchange(serving, &call)) {}
  ~Serving() { serving = before; }
  const rpc::CustomCall* before;
};

// The types of this program, by name and by class.
struct Known {
  struct Type {
    rpc::CustomType type;
    std::map<std::size_t, ConstructorBody> constructors;        // by the number of arguments
    std::vector<std::pair<std::string, std::string>> pointers;  // bytes of a pointer to member, its method's name
  };
  std::mutex mutex;
  std::map<std::string, Type, std::less<>> types;
  std::map<std::string, std::string> names;  // by the class's mangled name

  static Known& instance() {
    static auto* known = new Known;
    return *known;
  }
};

// Says which call it was about where bytes are not those of the parameters' types.
template <typename Read>
auto reading_arguments(const std::string& what, Read&& read) {
  try {
    return read();
  } catch (const CorruptSegment& error) {
    throw TypeMismatch(fmt::format("{} was called with other types than it takes: {}", what, error.what()));
  }
}

std::string counted(std::size_t arguments) {
  return fmt::format("{} argument{}", arguments, arguments == 1 ? "" : "s");
}

// REQUIRES: the mutex is held.
void publish(Known::Type& type) {
  rpc::register_custom_type(type.type);
}

ServerLink::Options link_options(const Object& object) {
  ServerLink::Options options;
  try {
    options.address = rpc::existing_address(object.segment->folder());
  } catch (const rpc::AddressError& error) {
    throw_address_error(error);
  }
  return options;
}

}  // namespace

// ---- clients

ObjectHandle open_custom(const std::shared_ptr<ManagerState>& manager, Opening opening, std::string_view name,
                         std::string_view type, const PackArguments& arguments) {
  Scope scope(manager->segment, manager);
  Packer out(scope);
  arguments(out);
  ObjectRequest request{ObjectKind::kCustom, fmt::format("custom<{}>", type), {}, out.take()};
  return open_object(manager, opening, name, request);
}

void call_custom(Object& object, const std::string& method, const PackArguments& arguments,
                 const std::function<void(Unpacker& in)>& read) {
  check(object);
  Packer out(object);
  arguments(out);
  const auto note = [&](std::string_view value) {
    if (!read) return;
    Unpacker in(value, object, false);
    reading_arguments(fmt::format("the result of {}.{}", object.signature, method), [&] { read(in), in.end(); });
  };
  const std::string bytes = out.take();
  MethodReply reply;
  if (object.manager != nullptr) {
    reply = BorrowedLink(*object.manager)->call_method(object.id, method, bytes, note);
  } else {
    reply = ServerLink(link_options(object)).call_method(object.id, method, bytes, note);
  }
  if (reply.raised) throw RemoteError(reply.message, reply.type);
}

std::vector<std::string> custom_methods(Object& object) {
  check(object);
  if (object.manager != nullptr) return BorrowedLink(*object.manager)->methods(object.id);
  return ServerLink(link_options(object)).methods(object.id);
}

// ---- the server's program

std::shared_ptr<ManagerState> serving_manager() {
  if (serving == nullptr) {
    throw UsageError("Manager::serving() is for constructors and methods that a server runs (commonhold/type.h)");
  }
  return connect_manager(serving->segment->folder(), {serving->authkey});
}

std::string registered_name(const std::type_info& type) {
  Known& known = Known::instance();
  std::lock_guard hold(known.mutex);
  auto found = known.names.find(type.name());
  if (found != known.names.end()) return found->second;
  throw UsageError(fmt::format("this program has not registered {}: make a commonhold::Type<{}> first", demangled(type),
                               demangled(type)));
}

std::string registered_method(const std::type_info& type, const void* pointer, std::size_t size) {
  const std::string name = registered_name(type);
  Known& known = Known::instance();
  std::lock_guard hold(known.mutex);
  const std::string bytes(static_cast<const char*>(pointer), size);
  for (auto& [registered, method] : known.types.at(name).pointers) {
    if (registered == bytes) return method;
  }
  throw UsageError(fmt::format("this method of {} was not registered: add it to its commonhold::Type", name));
}

void register_type(const std::type_info& type, const std::string& name) {
  if (name.empty() || name.find_first_of("<>,") != std::string::npos) {
    throw ValueError(fmt::format("\"{}\" is no name for a type: it needs characters, and none of < > ,", name));
  }
  Known& known = Known::instance();
  std::lock_guard hold(known.mutex);
  known.names[type.name()] = name;
  Known::Type& made = known.types[name];
  made = {};
  made.type.name = name;
  made.type.construct = [name](const rpc::CustomCall& call) {
    Scope scope(call.segment);
    Unpacker in(call.arguments, scope, false);
    const std::size_t arguments = in.sequence();
    ConstructorBody body;
    {
      Known& types = Known::instance();
      std::lock_guard look(types.mutex);
      auto& constructors = types.types.at(name).constructors;
      auto found = constructors.find(arguments);
      if (found != constructors.end()) body = found->second;
    }
    if (!body) throw TypeMismatch(fmt::format("{} has no constructor that takes {}", name, counted(arguments)));
    Serving here(call);
    return reading_arguments("the constructor of " + name, [&] { return body(in); });
  };
  publish(made);
}

void register_constructor(const std::string& type, std::size_t arguments, ConstructorBody body) {
  Known& known = Known::instance();
  std::lock_guard hold(known.mutex);
  known.types.at(type).constructors[arguments] = std::move(body);
}

void register_method(const std::string& type, const std::string& name, std::size_t arguments, MethodBody body,
                     const void* pointer, std::size_t pointer_size) {
  Known& known = Known::instance();
  std::lock_guard hold(known.mutex);
  Known::Type& changed = known.types.at(type);
  if (pointer != nullptr) {
    changed.pointers.emplace_back(std::string(static_cast<const char*>(pointer), pointer_size), name);
  }
  changed.type.methods[name] = [what = type + "." + name, arguments, body = std::move(body)](
                                   void* object, const rpc::CustomCall& call) {
    Scope scope(call.segment);
    Unpacker in(call.arguments, scope, false);
    const std::size_t given = in.sequence();
    if (given != arguments) {
      throw TypeMismatch(fmt::format("{} takes {}, and was called with {}", what, counted(arguments), given));
    }
    Packer out(scope);
    rpc::CustomResult result;
    MethodCall method{in, out, result.keep};
    Serving here(call);
    reading_arguments(what, [&] { body(object, method); });
    result.links = out.links();
    result.value = out.take();
    return result;
  };
  publish(changed);
}

void register_exclusive(const std::string& type) {
  Known& known = Known::instance();
  std::lock_guard hold(known.mutex);
  known.types.at(type).type.exclusive = true;
  publish(known.types.at(type));
}

}  // namespace commonhold::detail
