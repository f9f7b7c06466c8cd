#include "manager/custom_objects.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <cstdlib>
#include <thread>
#include <typeinfo>

#include "shm/blocked_signals.h"
#include "shm/object_table.h"
#include "shm/printable.h"

namespace commonhold::manager {

namespace {

std::string name_of(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                    &std::free);
  return status == 0 ? name.get() : type.name();
}

// Runs user code; what it threw, in words.
template <typename Work>
std::optional<CustomObjects::Raised> caught(Work&& work) {
  try {
    work();
    return std::nullopt;
  } catch (const std::exception& error) {
    return CustomObjects::Raised{name_of(typeid(error)), error.what()};
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return CustomObjects::Raised{type == nullptr ? "unknown" : name_of(*type), "no std::exception, so it says no more"};
  }
}

// Gives what make(T&) made on a thread of its own. The thread may outlive the server: it owns all that it uses.
template <typename T, typename Make>
kj::Promise<kj::Own<T>> on_a_thread(Make&& make) {
  auto paf = kj::newPromiseAndCrossThreadFulfiller<kj::Own<T>>();
  // std::thread copies what it calls with, and a fulfiller cannot be copied.
  auto fulfiller = std::make_shared<kj::Own<kj::CrossThreadPromiseFulfiller<kj::Own<T>>>>(kj::mv(paf.fulfiller));
  const shm::BlockedSignals blocked;
  std::thread([fulfiller = std::move(fulfiller), make = std::forward<Make>(make)]() mutable {
    auto made = kj::heap<T>();
    make(*made);
    (*fulfiller)->fulfill(kj::mv(made));
  }).detach();
  return kj::mv(paf.promise);
}

std::string type_in(const std::string& signature) {
  constexpr std::string_view kBefore = "custom<";
  if (!signature.starts_with(kBefore) || !signature.ends_with('>')) return {};
  return signature.substr(kBefore.size(), signature.size() - kBefore.size() - 1);
}

}  // namespace

kj::Promise<kj::Own<CustomObjects::Constructed>> CustomObjects::construct(const std::string& signature,
                                                                          std::string arguments) {
  auto type = rpc::find_custom_type(type_in(signature));
  if (type == nullptr) {
    auto refused = kj::heap<Constructed>();
    refused->refusal = Refusal{
        FailureCode::UNKNOWN_TYPE,
        fmt::format("this server's program has registered no type for \"{}\"; register it before the manager is "
                    "started, in a program with one thread, or serve it with commonhold::Server in a program that "
                    "knows it",
                    signature)};
    return kj::mv(refused);
  }
  return on_a_thread<Constructed>([type = std::move(type), segment = segment_, authkey = authkey_,
                                   arguments = std::move(arguments)](Constructed& made) {
    made.instance = std::make_shared<Instance>();
    made.instance->type = type;
    auto raised = caught([&]() { made.instance->object = type->construct({segment, authkey, arguments}); });
    if (!raised && made.instance->object == nullptr) raised = Raised{"nothing", "it gave no object"};
    if (raised) {
      made.refusal = Refusal{FailureCode::INTERNAL, fmt::format("the constructor of {} raised {}: {}", type->name,
                                                                raised->type, raised->message)};
    }
  });
}

void CustomObjects::add(shm::ObjectId id, std::shared_ptr<Instance> instance) {
  std::lock_guard guard(mutex_);
  instances_.emplace(id.word(), std::move(instance));
}

std::optional<shm::ObjectId> CustomObjects::find(const std::shared_ptr<Instance>& instance) {
  std::lock_guard guard(mutex_);
  for (auto& [word, known] : instances_) {
    if (known->object == instance->object && known->type->name == instance->type->name) {
      return shm::ObjectId::from_word(word);
    }
  }
  return std::nullopt;
}

Result<std::shared_ptr<CustomObjects::Instance>> CustomObjects::instance_of(shm::ObjectId id) {
  std::lock_guard guard(mutex_);
  auto found = instances_.find(id.word());
  if (found != instances_.end()) return found->second;
  return Refusal{FailureCode::GONE,
                 fmt::format("the object {}.{} is no more: an object of a program's own type ends with the last that "
                             "refers to it, and with its server; make another one",
                             id.index, id.generation)};
}

kj::Promise<kj::Own<CustomObjects::Reply>> CustomObjects::call(shm::ObjectId id, std::string method,
                                                               std::string arguments) {
  auto found = instance_of(id);
  auto refused = kj::heap<Reply>();
  if (auto* refusal = std::get_if<Refusal>(&found)) {
    refused->refusal = std::move(*refusal);
    return kj::mv(refused);
  }
  auto instance = std::get<std::shared_ptr<Instance>>(std::move(found));
  if (instance->type->methods.count(method) == 0) {
    std::string known;
    for (auto& [name, body] : instance->type->methods) known += known.empty() ? name : fmt::format(", {}", name);
    refused->refusal =
        Refusal{FailureCode::UNKNOWN_METHOD, fmt::format("{} has no method \"{}\"; it has {}", instance->type->name,
                                                         shm::printable(method), known.empty() ? "none" : known)};
    return kj::mv(refused);
  }
  return on_a_thread<Reply>([instance = std::move(instance), method = std::move(method), segment = segment_,
                             authkey = authkey_, arguments = std::move(arguments)](Reply& reply) mutable {
    {
      std::unique_lock<std::mutex> turn(instance->turn, std::defer_lock);
      if (instance->type->exclusive) turn.lock();
      const auto& body = instance->type->methods.at(method);
      reply.raised = caught([&]() { reply.result = body(instance->object.get(), {segment, authkey, arguments}); });
    }
    if (reply.raised) {
      reply.raised->message =
          fmt::format("{}.{} raised {}: {}", instance->type->name, method, reply.raised->type, reply.raised->message);
    }
    // If this was the last use of the object, it ends here and not on the event loop.
    instance.reset();
  });
}

Result<std::vector<std::string>> CustomObjects::methods(shm::ObjectId id) {
  auto found = instance_of(id);
  if (auto* refusal = std::get_if<Refusal>(&found)) return std::move(*refusal);
  std::vector<std::string> names;
  for (auto& [name, body] : std::get<std::shared_ptr<Instance>>(found)->type->methods) names.push_back(name);
  return names;
}

void CustomObjects::collect() {
  std::vector<std::shared_ptr<Instance>> ended;
  {
    std::lock_guard guard(mutex_);
    std::erase_if(instances_, [&](auto& entry) {
      if (shm::object_control(*segment_, shm::ObjectId::from_word(entry.first)) != 0) return false;
      ended.push_back(std::move(entry.second));
      return true;
    });
  }
  if (ended.empty()) return;
  const shm::BlockedSignals blocked;
  std::thread([ended = std::move(ended)]() mutable { (void)caught([&]() { ended.clear(); }); }).detach();
}

}  // namespace commonhold::manager
