#include <commonhold/manager.h>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>

#include "proxy/errors.h"
#include "proxy/fork_guard.h"
#include "proxy/manager_state.h"
#include "proxy/object.h"
#include "shm/lock_file.h"
#include "shm/printable.h"

namespace commonhold::detail {

namespace {

constexpr std::chrono::milliseconds kPatience{2000};
constexpr std::chrono::seconds kEndTimeout{10};

rpc::ManagerAddress resolve(std::string_view name_or_folder) {
  try {
    return rpc::existing_address(name_or_folder);
  } catch (const rpc::AddressError& error) {
    throw_address_error(error);
  }
}

std::shared_ptr<shm::Segment> open_segment(const rpc::ManagerAddress& address) {
  try {
    return shm::Segment::open(address.folder);
  } catch (const shm::SegmentError& error) {
    throw_segment_error(error, address.name);
  }
}

// They would end the name on its way, and another one be taken.
void refuse_null_bytes(std::string_view name) {
  const std::size_t at = name.find('\0');
  if (at == std::string_view::npos) return;
  throw NameError(
      NameError::Reason::kInvalid,
      fmt::format("the name \"{}\" goes on behind a null byte; names have none", shm::printable(name.substr(0, at))));
}

void check_object_name(std::string_view name) {
  if (name.empty()) {
    throw NameError(NameError::Reason::kInvalid,
                    "an object's name has at least one byte; an object without a name is made without named(...)");
  }
  refuse_null_bytes(name);
}

// Starts the killed server of an anonymous manager again. Another process of the program may do so at the same time:
// one of the two servers finds the other and ends.
void revive(ManagerState& manager) {
  if (manager.ended || !manager.address.exists()) return;
  // One thread at a time; in a forked child the parent's thread is not at it.
  const unsigned generation = ForkGuard::instance().generation();
  unsigned other = manager.reviving.load();
  if (other == generation || !manager.reviving.compare_exchange_strong(other, generation)) return;
  ServerPlan plan = manager.plan;
  plan.folder = manager.address.folder;
  try {
    StartedServer server = start_anonymous_server(plan);
    std::lock_guard hold(ForkGuard::instance().mutex);
    // After a shutdown() meanwhile nobody keeps it running.
    if (!manager.ended) std::swap(manager.lifeline, server.lifeline);
  } catch (const Error&) {
    // It runs already, or cannot: the one who connects will see.
  }
  manager.reviving = 0;
}

std::unique_ptr<ServerLink> make_link(ManagerState& manager) {
  ServerLink::Options options;
  options.address = manager.address;
  options.authkey = manager.plan.authkey;
  options.patience = kPatience;
  if (manager.anonymous) options.revive = [&manager] { revive(manager); };
  return std::make_unique<ServerLink>(std::move(options));
}

void give_link(ManagerState& manager) {
  manager.link = make_link(manager);
}

ServerLink& link_of(ManagerState& manager) {
  if (manager.ended) throw UsageError(fmt::format("the manager \"{}\" was shut down", manager.address.name));
  return *manager.link;
}

}  // namespace

namespace {

bool is_file(const std::string& path, int fd) {
  struct stat by_path, by_fd;
  return stat(path.c_str(), &by_path) == 0 && fstat(fd, &by_fd) == 0 && by_path.st_dev == by_fd.st_dev &&
         by_path.st_ino == by_fd.st_ino;
}

// The segment's and the lock file's names lead elsewhere, or nowhere: another server of the name can start.
bool name_is_free(const ManagerState& manager) {
  return !is_file(manager.address.segment_file(), manager.segment->memory_fd()) &&
         !is_file(manager.address.locks_file(), manager.segment->lock_fd());
}

// Whether the segment's server is still the one that was there when it had had so many. Its successor counts itself
// when it has the server's byte.
bool has_server(const ManagerState& manager, std::uint64_t starts) {
  // SYNC POINT: a server is counted.
  if (manager.segment->header().server_starts.load(std::memory_order_acquire) != starts) return false;
  // A server inside this process: its lock is not seen from here, but what it wrote is.
  const shm::Word session = manager.segment->header().server_session.load(std::memory_order_acquire);
  if (session != 0 && session <= shm::kMaxSessions &&
      manager.segment->session(static_cast<std::uint32_t>(session - 1)).pid.load(std::memory_order_relaxed) ==
          static_cast<shm::Word>(getpid())) {
    return true;
  }
  return shm::byte_is_locked(manager.segment->lock_fd(), shm::kServerByte);
}

// Waits for what a server does that has said that it ends.
template <typename Ended>
void wait_for_end(const ManagerState& manager, Ended&& ended) {
  const auto end = std::chrono::steady_clock::now() + kEndTimeout;
  while (!ended(manager)) {
    if (std::chrono::steady_clock::now() > end) {
      throw TimeoutError(
          fmt::format("the server of the manager \"{}\" said that it ends, and has not done so; "
                      "`commonhold doctor` shows what is in {}",
                      manager.address.name, manager.address.folder));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

BorrowedLink::BorrowedLink(ManagerState& manager) : manager_(manager) {
  (void)link_of(manager);
  {
    std::lock_guard hold(ForkGuard::instance().mutex);
    if (!manager.idle_links.empty()) {
      link_ = std::move(manager.idle_links.back());
      manager.idle_links.pop_back();
    }
  }
  if (link_ == nullptr) link_ = make_link(manager);
}

BorrowedLink::~BorrowedLink() {
  std::lock_guard hold(ForkGuard::instance().mutex);
  manager_.idle_links.push_back(std::move(link_));
}

std::shared_ptr<ManagerState> start_manager(const StartOptions& options) {
  if (options.authkey && (options.authkey->empty() || options.authkey->find('\0') != std::string::npos)) {
    throw ValueError("an authkey has at least one byte, and no null byte");
  }
  if (options.memory_limit != 0) {
    try {
      shm::Segment::check_memory_limit(options.memory_limit);
    } catch (const shm::SegmentError& error) {
      throw ValueError(error.what());
    }
  }
  ServerPlan plan{options.memory_limit, options.authkey, {}};
  if (!options.name.empty()) {
    refuse_null_bytes(options.name);
    // A folder as it is seen from here: the server works in another one.
    const bool is_folder = options.name.find('/') != std::string::npos;
    std::error_code no_folder;
    const std::string name = is_folder ? std::filesystem::absolute(options.name, no_folder).string() : options.name;
    if (no_folder) {
      throw SystemError(no_folder.value(), fmt::format("the folder that \"{}\" is relative to cannot be found: {}",
                                                       options.name, no_folder.message()));
    }
    start_named_server(name, plan);
    return connect_manager(name, {options.authkey});
  }
  auto manager = std::make_shared<ManagerState>();
  StartedServer server = start_anonymous_server(plan);
  manager->address = resolve(server.folder);
  manager->anonymous = true;
  manager->lifeline = std::move(server.lifeline);
  manager->plan = std::move(plan);
  manager->segment = open_segment(manager->address);
  give_link(*manager);
  return manager;
}

std::shared_ptr<ManagerState> connect_manager(std::string_view name_or_folder, const ConnectOptions& options) {
  auto manager = std::make_shared<ManagerState>();
  manager->address = resolve(name_or_folder);
  if (std::error_code error; !std::filesystem::exists(manager->address.folder, error)) {
    throw ServerGone(
        fmt::format("no manager \"{}\" is there: {} does not exist. Start it with `commonhold serve --name "
                    "{}`, or with Manager::start",
                    manager->address.name, manager->address.folder, manager->address.name));
  }
  try {
    rpc::require_own(manager->address);
  } catch (const rpc::AddressError& error) {
    throw_address_error(error);
  }
  manager->plan.authkey = options.authkey;
  give_link(*manager);
  (void)manager->link->facts(kPatience);
  manager->segment = open_segment(manager->address);
  return manager;
}

std::shared_ptr<ManagerState> connect_or_start_manager(const StartOptions& options) {
  if (options.name.empty()) throw ValueError("connect_or_start() of a manager without a name");
  constexpr int kTries = 10;  // a server may end, or be started by others, between the two
  for (int i = 1;; ++i) {
    try {
      return connect_manager(options.name, {options.authkey});
    } catch (const ServerGone&) {
    }
    try {
      return start_manager(options);
    } catch (const NameError& error) {
      if (error.reason() != NameError::Reason::kTaken || i == kTries) throw;
    }
  }
}

ObjectHandle open_object(const std::shared_ptr<ManagerState>& manager, Opening opening, std::string_view name,
                         const ObjectRequest& request) {
  if (opening != Opening::kAnonymous) check_object_name(name);
  std::shared_ptr<Object> object;
  const auto note = [&](const OpenedObject& opened) {
    object = find_or_add_object({manager->segment, manager, opened.id, opened.kind, opened.signature});
  };
  if (request.kind == ObjectKind::kCustom) {
    BorrowedLink(*manager)->open(opening, name, request, note);
  } else {
    link_of(*manager).open(opening, name, request, note);
  }
  return ObjectHandle(std::move(object));
}

ObjectHandle find_object(const std::shared_ptr<ManagerState>& manager, std::string_view name,
                         const ObjectRequest& request) {
  try {
    return open_object(manager, Opening::kOpen, name, request);
  } catch (const NameError& error) {
    if (error.reason() != NameError::Reason::kUnknown) throw;
    return {};
  }
}

ObjectHandle name_object(const std::shared_ptr<ManagerState>& manager, Object& object, std::string_view name,
                         bool or_open) {
  check_object_name(name);
  std::shared_ptr<Object> named;
  link_of(*manager).name(object.id, name, or_open, [&](const OpenedObject& opened) {
    named = find_or_add_object({manager->segment, manager, opened.id, opened.kind, opened.signature});
  });
  return ObjectHandle(std::move(named));
}

void require_own(const ManagerState& manager, Object& object, const char* use) {
  if (object.segment == manager.segment) return;
  throw UsageError(
      fmt::format("{} in the manager \"{}\" cannot use {}, which is in the manager of {}: make both in one", use,
                  manager.address.name, description_of(object), object.segment->folder()));
}

void remove_name(ManagerState& manager, std::string_view name) {
  check_object_name(name);
  link_of(manager).remove(name);
}

std::vector<ObjectInfo> list_objects(ManagerState& manager) {
  return link_of(manager).objects();
}

void shut_down(ManagerState& manager) {
  if (manager.ended) return;
  try {
    manager.link->shut_down();
  } catch (const ServerGone&) {
    // Another thread or process may have asked first.
    if (!name_is_free(manager)) throw;
  }
  wait_for_end(manager, name_is_free);
  OwnedFd lifeline;
  std::lock_guard hold(ForkGuard::instance().mutex);
  manager.ended = true;
  std::swap(manager.lifeline, lifeline);
}

void detach(ManagerState& manager) {
  if (manager.address.is_anonymous()) {
    throw UsageError(
        fmt::format("\"{}\" has no name by which another server could find its objects: it ends with its "
                    "last owner, or by shutdown()",
                    manager.address.name));
  }
  const std::uint64_t asked = link_of(manager).detach();
  wait_for_end(manager, [asked](const ManagerState& state) { return !has_server(state, asked); });
}

std::string manager_name(const ManagerState& manager) {
  return manager.address.name;
}

std::string manager_folder(const ManagerState& manager) {
  return manager.address.folder;
}

}  // namespace commonhold::detail
