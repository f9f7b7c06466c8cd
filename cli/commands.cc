#include "cli/commands.h"

#include <commonhold/server.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <exception>

#include "cli/size.h"
#include "cli/table.h"
#include "manager/control.h"
#include "manager/examination.h"
#include "manager/inspection.h"

namespace commonhold::cli {

using manager::FolderState;

namespace {

std::string id_text(shm::ObjectId id) {
  return fmt::format("{}.{}", id.index, id.generation);
}

std::string thread_text(const manager::ThreadIdentity& thread) {
  if (thread.pid == 0) return "unknown";
  std::string text = fmt::format("{} {}", thread.pid, shm::printable(thread.program));
  if (thread.kernel_id != thread.pid) text += fmt::format(" (thread {})", thread.kernel_id);
  return text;
}

std::string name_text(const shm::ObjectInfo& info) {
  return info.name.empty() ? "-" : shm::printable(info.name);
}

std::string holder_text(const manager::LockHolder& holder) {
  using Use = manager::LockHolder::Use;
  std::string who = thread_text(holder.who);
  switch (holder.use) {
    case Use::kHolds:
      return who;
    case Use::kWrites:
      return who + " writes";
    case Use::kReads:
      return holder.times == 1 ? who + " reads" : fmt::format("{} reads {} times", who, holder.times);
    case Use::kPermits:
      return fmt::format("{} has {}", who, holder.times);
  }
  return who;
}

// "1 a, 2 b", "-" for none.
template <typename Things, typename Text>
std::string joined(const Things& things, Text&& text) {
  std::string all;
  for (const auto& thing : things) all += (all.empty() ? "" : ", ") + text(thing);
  return all.empty() ? "-" : all;
}

std::chrono::milliseconds to_milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

const char* empty_root_hint() {
  return "start one with: commonhold serve --name NAME";
}

}  // namespace

int saying_errors(const std::function<int()>& command) {
  try {
    return command();
  } catch (const std::exception& error) {
    fmt::print(stderr, "commonhold: {}\n", error.what());
    return 1;
  }
}

int say_usage_error(const std::string& what) {
  fmt::print(stderr, "commonhold: {}\n", what);
  return 2;
}

int list_managers() {
  Table table({"MANAGER", "STATE", "SERVER", "CLIENTS", "OBJECTS", "COMMITTED", "USED", "REUSABLE"});
  for (const auto& report : manager::examine_folders()) {
    if (report.state == FolderState::kStrange) continue;
    table.add({report.address.name, to_string(report.state),
               report.server_pid == 0 ? "-" : std::to_string(report.server_pid), std::to_string(report.sessions),
               std::to_string(report.objects), size_text(report.memory.committed), size_text(report.memory.used),
               size_text(report.memory.reusable)});
  }
  if (table.empty()) {
    fmt::print("no managers in {}; {}\n", rpc::runtime_root(), empty_root_hint());
    return 0;
  }
  table.print({2, 3, 4, 5, 6, 7});
  return 0;
}

int list_objects(const std::string& name) {
  auto segment = manager::open_to_look(rpc::existing_address(name));
  Table table({"ID", "NAME", "TYPE", "MEMORY", "USED BY", "IN OBJECTS"});
  std::uint32_t after = 0;
  do {
    for (const auto& object : manager::summarize_objects(*segment, after, 1000, after)) {
      table.add({id_text(object.info.id), name_text(object.info), shm::printable(object.info.signature),
                 size_text(object.bytes), std::to_string(object.sessions), std::to_string(object.info.held_inside)});
    }
  } while (after != 0);
  if (table.empty()) {
    fmt::print("\"{}\" holds no objects\n", shm::printable(name));
    return 0;
  }
  table.print({3, 4, 5});
  return 0;
}

int list_locks(const std::string& name) {
  auto segment = manager::open_to_look(rpc::existing_address(name));
  Table table({"LOCK OF", "ID", "HELD BY", "WAITING"});
  for (const auto& lock : manager::summarize_locks(*segment)) {
    bool tables = lock.object.kind == shm::ObjectKind::kNone;
    std::string of = tables ? "the segment's memory tables"
                            : fmt::format("{} {}", shm::printable(lock.object.signature), name_text(lock.object));
    if (!tables && lock.number != 0) of += fmt::format(" #{}", lock.number);
    std::string holders = joined(lock.holders, holder_text);
    if (lock.object.kind == shm::ObjectKind::kSemaphore && lock.number == 0) {
      holders += fmt::format("; {} left", lock.permits_left);
    }
    table.add({of, tables ? "-" : id_text(lock.object.id), holders, joined(lock.waiters, thread_text)});
  }
  if (table.empty()) {
    fmt::print("nobody holds a lock of \"{}\"\n", shm::printable(name));
    return 0;
  }
  table.print();
  return 0;
}

int stop(const std::string& name, double timeout_seconds) {
  manager::stop(rpc::existing_address(name), to_milliseconds(timeout_seconds));
  fmt::print("the server of \"{}\" has ended; its objects stay for the next one: commonhold serve --name {}\n", name,
             name);
  return 0;
}

int destroy(const std::string& name, double timeout_seconds) {
  manager::destroy(rpc::existing_address(name), to_milliseconds(timeout_seconds));
  fmt::print("\"{}\" and its objects are gone\n", name);
  return 0;
}

namespace {

// Prints what is wrong in a manager that no server serves; how much it is.
int print_audit(const rpc::ManagerAddress& address) {
  std::vector<std::string> faults;
  try {
    faults = manager::audit_unserved(address);
  } catch (const ServerError& error) {
    fmt::print("{}: not audited: {}\n", address.name, error.what());  // somebody serves it now, or it cannot be opened
  }
  for (const std::string& fault : faults) fmt::print("{}: unsound: {}\n", address.name, shm::printable(fault));
  return static_cast<int>(faults.size());
}

}  // namespace

int examine(bool clean) {
  int left = 0, unsound = 0;
  auto reports = manager::examine_folders();
  for (const auto& report : reports) {
    const std::string& name = report.address.name;
    switch (report.state) {
      case FolderState::kServed:
        fmt::print("{}: served by process {}, {} clients, {} objects\n", name, report.server_pid, report.sessions,
                   report.objects);
        continue;
      case FolderState::kOrphaned:
        fmt::print("{}: its server died, {} clients go on without; `commonhold serve --name {}` adopts it\n", name,
                   report.sessions, name);
        continue;
      case FolderState::kStopped:
        fmt::print(
            "{}: stopped; its objects wait for the next server ({} objects, {}); `commonhold destroy {}` removes "
            "them\n",
            name, report.objects, size_text(report.memory.used), name);
        unsound += print_audit(report.address);
        continue;
      case FolderState::kAbandoned:
        fmt::print("{}: its server died and nobody uses it: {} objects, {}\n", name, report.objects,
                   size_text(report.memory.used));
        unsound += print_audit(report.address);
        if (report.is_of_no_use()) break;
        fmt::print("{}: its objects wait for the next server; `commonhold destroy {}` removes them\n", name, name);
        continue;
      case FolderState::kForeign:
      case FolderState::kUnfinished:
        fmt::print("{}: {}: {}\n", name, to_string(report.state), report.note);
        if (report.is_of_no_use()) break;
        fmt::print("{}: its objects wait for a server of their version; `commonhold destroy {}` removes them\n", name,
                   name);
        continue;
      case FolderState::kStrange:
        fmt::print("{}: {}, left alone: {}\n", name, to_string(report.state), report.note);
        continue;
    }
    if (!clean) {
      ++left;
    } else if (auto objection = manager::clean_folder(report.address)) {
      fmt::print("{}: left alone: {}\n", name, *objection);
    } else {
      fmt::print("{}: removed {}\n", name, report.address.folder);
    }
  }
  if (clean) manager::clean_ended_folders();
  if (reports.empty()) fmt::print("nothing in {}\n", rpc::runtime_root());
  if (left != 0 && !clean) fmt::print("`commonhold doctor --clean` removes what no server can go on with\n");
  return unsound == 0 ? 0 : 1;
}

}  // namespace commonhold::cli
