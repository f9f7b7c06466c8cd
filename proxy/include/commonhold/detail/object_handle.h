// What every proxy holds: a shared object of some manager, kept alive as long as any copy of the handle lives.
//
// One reference per process and object is noted in the segment; it goes with the last handle. A forked
// child's handles note references of its own at its first use of any shared object.
//
// Thread safety: as std::shared_ptr. A death drops the process's references.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <commonhold/detail/call.h>
#include <commonhold/detail/item.h>

namespace commonhold::detail {

struct Object;  // proxy/object.h

enum class ObjectKind : std::uint8_t {
  kNone = 0,
  kDict = 1,
  kList = 2,
  kValue = 3,
  kArray = 4,
  kLock = 5,
  kRLock = 6,
  kSemaphore = 7,
  kCondition = 8,
  kEvent = 9,
  kBarrier = 10,
  kRwLock = 11,
  kQueue = 12,
  kPriorityQueue = 13,
  kNamespace = 14,
  kSet = 15,
  kCustom = 16,
};

class ObjectHandle {
 public:
  ObjectHandle() = default;
  explicit ObjectHandle(std::shared_ptr<Object> object) : object_(std::move(object)) {}
  // No moves: a proxy that was moved from goes on to name its object.
  ObjectHandle(const ObjectHandle&) = default;
  ObjectHandle& operator=(const ObjectHandle&) = default;
  ~ObjectHandle() = default;
  Object& operator*() const { return *object_; }
  const std::shared_ptr<Object>& shared() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  // The same object of the same manager.
  bool operator==(const ObjectHandle& other) const { return object_ == other.object_; }

 private:
  std::shared_ptr<Object> object_;
};

// What it takes to make an object, or to find one and to be sure that it is what was meant.
struct ObjectRequest {
  ObjectKind kind = ObjectKind::kNone;
  std::string signature;
  std::uint64_t arguments[4] = {};  // as in rpc/commonhold.capnp, ObjectPlan
  std::string data = {};            // likewise
  std::uint32_t compared = 0;       // likewise: which options an object of that name must have
};
// One of the arguments that the object was made from.
COMMONHOLD_CALL std::uint64_t argument_of(Object& object, unsigned index);

// T's request without options. Never destroyed: destructors of static objects may ask for it.
template <typename T>
const ObjectRequest& request_of() {
  static const auto* request = new ObjectRequest(T::request());
  return *request;
}

// Text that another program of the same user turns into a handle of the same object (attach.h).
COMMONHOLD_CALL std::string token_of(Object& object);
// The same for a message: the object lives until the token was attached once, for an hour at most, whoever dies.
// OutOfMemory.
COMMONHOLD_CALL std::string token_in_flight(Object& object);
// A request without a kind takes an object of every type.
COMMONHOLD_CALL ObjectHandle attach_token(std::string_view token, const ObjectRequest& request);

COMMONHOLD_CALL std::string name_of(Object& object);  // empty: anonymous
COMMONHOLD_CALL std::string signature_of(Object& object);
COMMONHOLD_CALL std::string description_of(Object& object);  // for messages: dict "scores" (dict<text,int64>)

// Not 0 when this process must look at its handles before it uses one: it was forked, or an object vanished
// meanwhile.
extern std::atomic<unsigned> attention;
// Notes this process's references; throws ObjectGone when this object is no longer there.
COMMONHOLD_CALL void attend(Object& object);
inline void check(Object& object) {
  if (attention.load(std::memory_order_relaxed) != 0) [[unlikely]]
    attend(object);
}

[[noreturn]] void throw_key_error(Object& object, const std::string& key);
[[noreturn]] void throw_attribute_error(Object& object, std::string_view name);
[[noreturn]] void throw_index_error(Object& object, std::int64_t index, std::uint64_t size);
[[noreturn]] void throw_empty(Object& object, const char* operation);
[[noreturn]] void throw_no_such_value(Object& object, const std::string& value);

// How proxies are made from handles; every proxy type is its friend.
struct Access {
  template <typename Proxy>
  static Proxy make(ObjectHandle handle) {
    return Proxy(std::move(handle));
  }
  template <typename Proxy>
  static const ObjectHandle& handle(const Proxy& proxy) {
    return proxy.handle_;
  }
};

}  // namespace commonhold::detail
