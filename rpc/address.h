// Where managers live: a private folder for each user, in it a folder for each manager.
//
//   /dev/shm/commonhold-<uid>/            0700, owned by the user; COMMONHOLD_HOME names another place
//     stock/                              the manager "stock"
//       segment  locks  bell              the shared memory (shm/segment.h)
//       socket                            the server listens here
//       authkey                           0600; only when the server made the key itself (rpc/authentication.h)
//     anonymous-4711-9f86d081/            a manager without a name of its own
//
// Thread safety: no state but the environment, which is read at each call.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace commonhold::rpc {

// A name or a folder that cannot be used; what() names the value and says what to do.
class AddressError : public std::runtime_error {
 public:
  enum class Code { kInvalid, kPermission, kSystem };
  AddressError(Code code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Code code() const { return code_; }

 private:
  Code code_;
};

inline constexpr char kHomeVariable[] = "COMMONHOLD_HOME";
inline constexpr std::size_t kMaxManagerName = 63;
inline constexpr char kAnonymousPrefix[] = "anonymous-";

struct ManagerAddress {
  std::string name;        // for people; a folder's last component
  std::string folder;      // absolute, without a slash at the end
  bool under_root = true;  // false: a folder that was given as a path

  std::string segment_file() const { return folder + "/segment"; }
  std::string locks_file() const { return folder + "/locks"; }
  std::string socket_file() const { return folder + "/socket"; }
  std::string key_file() const { return folder + "/authkey"; }
  bool is_anonymous() const { return name.starts_with(kAnonymousPrefix); }
  // Whether it has a segment: a manager that a server serves, or could serve again.
  bool exists() const;
};

// The folder of the user's managers; it need not exist.
std::string runtime_root();

// Makes the user's folder where it is missing. Throws AddressError when it is not a directory, belongs to
// somebody else or lets others in.
void prepare_runtime_root();

// The place of a manager that is named by `name_or_folder`: 1 to 63 of [A-Za-z0-9._-], not beginning with '.'
// or "anonymous-"; or, with a slash in it, its folder. Throws AddressError. Touches no file.
ManagerAddress address_of(std::string_view name_or_folder);

// The place for a new manager without a name: "anonymous-<pid>-<random>".
ManagerAddress anonymous_address();

// Of a name or folder that somebody serves or served, "anonymous-..." included. As address_of otherwise.
ManagerAddress existing_address(std::string_view name_or_folder);

// 1 to 63 of [A-Za-z0-9._-], not beginning with '.': what a folder of the root is called.
bool is_manager_name(std::string_view name);

// Makes the manager's own folder where it is missing, mode 0700, and checks it like the root. True when it was made.
bool prepare_folder(const ManagerAddress& address);

// Throws AddressError when the manager's folder belongs to another user: nobody joins another's, root neither.
void require_own(const ManagerAddress& address);

// Everything in the runtime root that looks like a manager, in the order of names.
std::vector<ManagerAddress> managers_of_user();

// Who holds the locks of a folder, as the kernel says.
struct Occupants {
  int server_pid = 0;        // 0: no server runs
  bool has_clients = false;  // some client session is alive
};
// REQUIRES: this process has no segment of this folder open: closing a second descriptor of the lock file
// would give up its locks.
Occupants occupants_of(const ManagerAddress& address);

}  // namespace commonhold::rpc
