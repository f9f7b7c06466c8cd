#include "manager/examination.h"

#include <fmt/format.h>
#include <unistd.h>

#include "manager/adoption.h"
#include "manager/control.h"
#include "manager/inspection.h"
#include "rpc/folder_removal.h"
#include "shm/extents.h"
#include "shm/object_types.h"
#include "shm/references.h"

namespace commonhold::manager {

const char* to_string(FolderState state) {
  switch (state) {
    case FolderState::kServed:
      return "served";
    case FolderState::kOrphaned:
      return "server died, clients live";
    case FolderState::kStopped:
      return "stopped";
    case FolderState::kAbandoned:
      return "server died";
    case FolderState::kForeign:
      return "of another version";
    case FolderState::kUnfinished:
      return "unfinished";
    case FolderState::kStrange:
      return "no manager's folder";
  }
  return "unknown";
}

bool FolderReport::is_of_no_use() const {
  return state == FolderState::kUnfinished ||
         (address.is_anonymous() && (state == FolderState::kAbandoned || state == FolderState::kForeign));
}

FolderReport examine_folder(const rpc::ManagerAddress& address) {
  FolderReport report;
  report.address = address;
  rpc::Occupants occupants = rpc::occupants_of(address);
  report.server_pid = occupants.server_pid;
  report.state = occupants.server_pid != 0 ? FolderState::kServed
                 : occupants.has_clients   ? FolderState::kOrphaned
                                           : FolderState::kAbandoned;
  if (report.state == FolderState::kAbandoned) {
    if (auto objection = rpc::why_not_a_managers(address)) {
      report.state = FolderState::kStrange;
      report.note = *objection;
      return report;
    }
  }
  try {
    auto segment = shm::Segment::open(address.folder);
    shm::for_each_object(*segment, [&](const shm::ObjectInfo&) { ++report.objects; });
    for (const SessionSummary& session : summarize_sessions(*segment)) report.sessions += session.is_server ? 0 : 1;
    report.memory = shm::memory_use(*segment);
    const bool in_good_order = segment->header().server_session.load(std::memory_order_acquire) == 0;
    if (report.state == FolderState::kAbandoned && !address.is_anonymous() && in_good_order) {
      report.state = FolderState::kStopped;
    }
  } catch (const shm::SegmentError& error) {
    report.note = error.what();
    bool nobody = report.state == FolderState::kAbandoned;
    if (nobody && error.code() == shm::SegmentError::Code::kForeignLayout) report.state = FolderState::kForeign;
    if (nobody && error.code() == shm::SegmentError::Code::kNotFound) report.state = FolderState::kUnfinished;
  }
  return report;
}

std::vector<FolderReport> examine_folders() {
  std::vector<FolderReport> reports;
  for (const rpc::ManagerAddress& address : rpc::managers_of_user()) reports.push_back(examine_folder(address));
  return reports;
}

std::vector<std::string> audit_unserved(const rpc::ManagerAddress& address) {
  Tenure tenure(address, 0, [](const std::string&) {});
  shm::Segment& segment = *tenure.segment();
  shm::ThreadContext* me = segment.here();
  std::vector<std::string> found;
  shm::for_each_object(segment, [&](const shm::ObjectInfo& info) {
    std::string called =
        fmt::format("object {}.{} \"{}\" ({})", info.id.index, info.id.generation, info.name, info.signature);
    const shm::ObjectType* type = shm::object_type(info.kind);
    if (type == nullptr) {
      found.push_back(fmt::format("{} is of a kind that this version does not know", called));
    } else if (!segment.holds(info.control, 8)) {
      found.push_back(fmt::format("{}: its control block at {:#x} is outside the segment", called, info.control));
    } else if (type->audit != nullptr) {
      std::string error = type->audit(*me, {&segment, info.id.index, info.control});
      if (!error.empty()) found.push_back(fmt::format("{}: {}", called, error));
    }
  });
  return found;
}

std::optional<std::string> clean_folder(const rpc::ManagerAddress& address) {
  // A server may have come and gone since somebody looked.
  if (!examine_folder(address).is_of_no_use()) return "a server was there meanwhile";
  return rpc::remove_if_dead(address);
}

void clean_ended_folders() {
  (void)rpc::remove_ended_folders();
}

std::shared_ptr<shm::Segment> open_to_look(const rpc::ManagerAddress& address) {
  try {
    return shm::Segment::open(address.folder);
  } catch (const shm::SegmentError& error) {
    if (error.code() != shm::SegmentError::Code::kNotFound) throw ControlError(error.what());
    throw ControlError(
        fmt::format("there is no manager \"{}\" ({} has no segment); `commonhold list` names those that are",
                    address.name, address.folder));
  }
}

}  // namespace commonhold::manager
