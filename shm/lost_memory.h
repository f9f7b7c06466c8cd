// The last line of a structure's audit: memory that belongs to it, and that neither it nor its heap knows of.
#pragma once

#include <string>

namespace commonhold::shm {

template <typename Audit>
void report_lost_memory(Audit& audit) {
  if (!audit.error.empty() || (audit.lost_blocks == 0 && audit.lost_chunks == 0)) return;
  audit.error =
      std::to_string(audit.lost_blocks) + " blocks and " + std::to_string(audit.lost_chunks) + " chunks are lost";
}

}  // namespace commonhold::shm
