// Removing what managers leave behind: a folder is touched only after it is proven to be a manager's.
//
// What proves it:
//   - it is a directory of this user's, no symbolic link, and nobody else may enter it;
//   - every entry has the name and the type of a manager's file, belongs to this user and has no second name;
//   - a segment's header begins with the magic number; or the folder's name is one that only the library gives
//     ("anonymous-<pid>-<16 hex digits>", ".ended-<pid>-<name>").
// What proves that the manager is dead: the server's byte of the lock file can be locked, no session's byte is locked,
// and nobody has the segment open or mapped.
//
// Everything is done relative to open descriptors of the folders, and no symbolic link is followed.
//
// Thread safety: any thread. A death at any instruction leaves a folder that the next removal finishes.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "rpc/address.h"

namespace commonhold::rpc {

// Removes what a manager leaves in its folder, then the folder when it is empty. True when the folder is gone.
// REQUIRES: the caller holds the server's byte of the folder's lock file, or has made the folder.
bool remove_folder(const ManagerAddress& address);

// Takes back a folder in which the start of a server made no segment. What others make there meanwhile stays.
// REQUIRES: the caller has made the folder.
void remove_unfinished_folder(const ManagerAddress& address);

// Removes the folder if it is proven to be a manager's and the manager to be dead. What speaks against it otherwise, in
// words for a person: then nothing was changed. A folder without a segment, which may be in the making, is removed only
// when nothing in it has changed for `at_least_old`. One whose segment this process has open is not dead.
std::optional<std::string> remove_if_dead(const ManagerAddress& address,
                                          std::chrono::seconds at_least_old = std::chrono::seconds(0));

// Why the folder is not proven to be a manager's, or nothing when it is. Touches nothing.
std::optional<std::string> why_not_a_managers(const ManagerAddress& address);

// Removes what a removal was killed over; returns how many folders.
int remove_ended_folders();

// Removes what makers that died left under temporary names. REQUIRES: the caller holds the server's byte.
void remove_temporaries(const ManagerAddress& address);

}  // namespace commonhold::rpc
