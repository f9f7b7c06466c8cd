// Processes with a fresh program image, for when fork is too much: a parent with many threads, with much memory, with
// libraries that do not stand a fork.
//
//   void count(std::string manager, int times);               // any function with a name, or a captureless lambda
//
//   int main() {
//     commonhold::run_if_fresh();                              // a fresh process runs its function here and ends
//     auto worker = commonhold::Process::fresh<count>("stock", 5);
//     worker.start();
//   }
//
// The program is executed again, from its own file as it is loaded now. In the new process everything before
// run_if_fresh() happens as in every run of the program; then the function is called with the arguments, which
// travelled by the codecs of shared objects (codec.h). Nothing else is shared: objects are reached by their manager's
// name or by token (attach.h). Name, daemon flag, authkey, environment, working folder and descriptors without
// close-on-exec are inherited.
#pragma once

#include <commonhold/process.h>

namespace commonhold {

// REQUIRES: called at the start of main(), before threads are started. Returns at once in a process that is not a fresh
// one; Process::start throws ProcessError for a fresh Process when it was not called in this program.
void run_if_fresh();

}  // namespace commonhold
