// What is in the user's runtime root: which managers are served, which were left by a server that died, and whether
// what they hold is sound.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rpc/address.h"
#include "shm/extents.h"
#include "shm/segment.h"

namespace commonhold::manager {

enum class FolderState {
  kServed,      // a server runs
  kOrphaned,    // no server, but clients live: a new server of the name carries on
  kStopped,     // neither: it was detached in good order, or recovered since, and waits for the next server of its name
  kAbandoned,   // neither: its server died; a new server of the name finds the objects
  kForeign,     // neither, and this version cannot read the segment
  kUnfinished,  // there is no whole segment in it: its server died while it made the folder
  kStrange,     // nothing proves that it is a manager's: nobody touches it
};

const char* to_string(FolderState state);

struct FolderReport {
  rpc::ManagerAddress address;
  FolderState state = FolderState::kUnfinished;
  int server_pid = 0;
  std::uint32_t objects = 0;  // unknown (0) for foreign, unfinished and strange ones
  shm::MemoryUse memory;
  std::uint32_t sessions = 0;  // clients
  std::string note;            // why it is foreign, unfinished or strange

  // Nothing can ever be done with it but removing it: no server adopts what is unfinished, or has no name to be asked
  // for. The objects of a named manager are for the next server of the name and version, however its last one ended.
  bool is_of_no_use() const;
};

// Every folder of the runtime root. REQUIRES: this process has no segment open (rpc::occupants_of).
std::vector<FolderReport> examine_folders();
FolderReport examine_folder(const rpc::ManagerAddress& address);

// Recovers a stopped or abandoned segment as its next server would and checks every object in it; a sentence for each
// thing that is wrong. Throws ServerError when somebody took it over meanwhile.
std::vector<std::string> audit_unserved(const rpc::ManagerAddress& address);

// Removes what is of no use (rpc/folder_removal.h); why not otherwise.
std::optional<std::string> clean_folder(const rpc::ManagerAddress& address);
// Finishes removals that were killed.
void clean_ended_folders();

// Opens a manager's segment to look into it, joining nothing. Throws ControlError when there is none.
std::shared_ptr<shm::Segment> open_to_look(const rpc::ManagerAddress& address);

}  // namespace commonhold::manager
