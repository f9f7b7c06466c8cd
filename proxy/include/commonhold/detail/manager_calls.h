// What the library does for Manager: starting and finding servers, making and finding objects.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <commonhold/detail/object_handle.h>

namespace commonhold {

struct StartOptions {
  std::string name = {};                    // empty: an anonymous manager, which ends with its last user
  std::uint64_t memory_limit = 0;           // bytes; 0: all that the file system holds
  std::optional<std::string> authkey = {};  // any bytes; else COMMONHOLD_AUTHKEY, else a key that the server makes
};

struct ConnectOptions {
  std::optional<std::string> authkey = {};  // else COMMONHOLD_AUTHKEY, else the key in the manager's folder
};

// A live object of a manager, as the server lists it.
struct ObjectInfo {
  std::string name;              // empty: anonymous
  std::string type;              // its signature: "dict<text,int64>"
  std::uint64_t bytes = 0;       // memory that it owns
  unsigned processes = 0;        // that refer to it
  std::uint64_t created_ns = 0;  // since 1970, UTC
  std::uint64_t id = 0;          // one object for ever
};

}  // namespace commonhold

namespace commonhold::detail {

struct ManagerState;  // proxy/manager_state.h

enum class Opening : std::uint8_t { kAnonymous, kCreate, kOpen, kOpenOrCreate };

std::shared_ptr<ManagerState> start_manager(const StartOptions& options);
std::shared_ptr<ManagerState> connect_manager(std::string_view name_or_folder, const ConnectOptions& options);
// ValueError for no name.
std::shared_ptr<ManagerState> connect_or_start_manager(const StartOptions& options);
ObjectHandle open_object(const std::shared_ptr<ManagerState>& manager, Opening opening, std::string_view name,
                         const ObjectRequest& request);
// The object of that name; an empty handle when there is none.
ObjectHandle find_object(const std::shared_ptr<ManagerState>& manager, std::string_view name,
                         const ObjectRequest& request);
// Names an anonymous object of this manager and gives it. With `or_open`, gives the object that has the name already.
ObjectHandle name_object(const std::shared_ptr<ManagerState>& manager, Object& object, std::string_view name,
                         bool or_open);
// Throws UsageError unless the object is one of this manager's.
void require_own(const ManagerState& manager, Object& object, const char* use);
void remove_name(ManagerState& manager, std::string_view name);
std::vector<ObjectInfo> list_objects(ManagerState& manager);
void shut_down(ManagerState& manager);
void detach(ManagerState& manager);
std::string manager_name(const ManagerState& manager);
std::string manager_folder(const ManagerState& manager);

// For a child process at its end: drops its references and sessions. Where other threads may be at work on shared
// objects until the process is gone, its sessions end as by a death.
void leave_all_sessions() noexcept;

}  // namespace commonhold::detail
