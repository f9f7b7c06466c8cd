// A program that is linked with the library can be its own server: executed again with COMMONHOLD_BOOTSTRAP set, it
// never reaches main(). The request's words are in rpc/spawn.h.
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <string>

#include "manager/serve.h"
#include "rpc/spawn.h"

namespace commonhold::manager {

namespace {

// Runs when the library is loaded, after the constructors of the libraries that it needs and of the sources before it.
__attribute__((constructor)) void take_over_when_asked() {
  rpc::serve_in_this_image = serve_on_request;
  const char* value = getenv(rpc::kBootstrapVariable);
  if (value == nullptr || getauxval(AT_SECURE) != 0) return;
  std::string words(value);
  unsetenv(rpc::kBootstrapVariable);
  auto request = rpc::SpawnRequest::from_environment(words);
  if (!request) {
    fprintf(stderr, "commonhold: %s is \"%s\", which is no request; it is set by the library alone, unset it\n",
            rpc::kBootstrapVariable, words.c_str());
    _exit(2);
  }
  _exit(serve_on_request(*request));
}

}  // namespace

}  // namespace commonhold::manager
