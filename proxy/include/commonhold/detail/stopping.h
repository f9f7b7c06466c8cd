// What the waits outside of shared memory ask about the thread's StopScope (stop.h).
#pragma once

#include <commonhold/detail/call.h>

namespace commonhold::detail {

// Readable once the thread's waits shall end; -1 when there is no scope, or no descriptor to be had.
COMMONHOLD_CALL int stop_descriptor();
// Throws Stopped, with what was waited for: "accept()".
COMMONHOLD_CALL void end_if_stopped(const char* what);
COMMONHOLD_CALL bool in_stop_scope() noexcept;

}  // namespace commonhold::detail
