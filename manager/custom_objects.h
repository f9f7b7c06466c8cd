// The objects of a program's own types (rpc/custom_types.h): the one thing that lives in the server's process and not
// in the segment. There each has a record of kind custom, by which it is referred to, named and destroyed like all
// others.
//
// Constructors, methods and destructors are user code: they run on threads of their own, never under a lock of ours and
// never on the event loop, so that one that waits holds up its caller alone. A method that runs keeps its object.
//
// A death of the server ends them all; their records stay until nobody refers to them, and calls are refused as `gone`.
//
// Thread safety: collect() from any thread, the rest on the event loop.
#pragma once

#include <kj/async.h>
#include <kj/memory.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "manager/refusal.h"
#include "rpc/custom_types.h"
#include "shm/segment.h"

namespace commonhold::manager {

class CustomObjects {
 public:
  struct Instance {
    std::shared_ptr<const rpc::CustomType> type;
    std::shared_ptr<void> object;
    std::mutex turn;  // of an exclusive type
  };
  struct Constructed {
    std::optional<Refusal> refusal;
    std::shared_ptr<Instance> instance;
  };
  struct Raised {
    std::string type, message;
  };
  struct Reply {
    std::optional<Refusal> refusal;
    std::optional<Raised> raised;
    rpc::CustomResult result;
  };

  CustomObjects(std::shared_ptr<shm::Segment> segment, std::optional<std::string> authkey)
      : segment_(std::move(segment)), authkey_(std::move(authkey)) {}

  // Makes an object of the type in "custom<TYPE>"; it has no record yet.
  kj::Promise<kj::Own<Constructed>> construct(const std::string& signature, std::string arguments);
  void add(shm::ObjectId id, std::shared_ptr<Instance> instance);
  // The record of what a constructor gave that had given it before.
  std::optional<shm::ObjectId> find(const std::shared_ptr<Instance>& instance);

  kj::Promise<kj::Own<Reply>> call(shm::ObjectId id, std::string method, std::string arguments);
  Result<std::vector<std::string>> methods(shm::ObjectId id);

  // Ends those whose record was destroyed.
  void collect();

 private:
  Result<std::shared_ptr<Instance>> instance_of(shm::ObjectId id);

  std::shared_ptr<shm::Segment> segment_;
  std::optional<std::string> authkey_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Instance>> instances_;  // by ObjectId::word(); guarded by mutex_
};

}  // namespace commonhold::manager
