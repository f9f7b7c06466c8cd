#include "rpc/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "rpc/address.h"

namespace commonhold::rpc {

namespace {

// Calls use(socket address) with an address for FOLDER/name: the path itself, or when that is too long one through an
// open descriptor of the folder. Returns what `use` returns, -1 with errno when the folder cannot be opened.
template <typename Use>
int with_socket_address(const std::string& folder, const char* name, Use&& use) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::string path = folder + "/" + name;
  if (path.size() < sizeof address.sun_path) {
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return use(reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(sizeof address));
  }
  int directory = open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return -1;
  path = fmt::format("/proc/self/fd/{}/{}", directory, name);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  int result = use(reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(sizeof address));
  int error = errno;
  close(directory);
  errno = error;
  return result;
}

AddressError listen_error(const char* doing, const std::string& folder, int error) {
  return AddressError(AddressError::Code::kSystem,
                      fmt::format("{} {}/socket failed: {}", doing, folder, std::strerror(error)));
}

}  // namespace

int listen_in_folder(const std::string& folder) {
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) throw listen_error("making the socket for", folder, errno);
  constexpr const char* kTemporary = "socket.new";
  std::string temporary = folder + "/" + kTemporary;
  unlink(temporary.c_str());
  int bound = with_socket_address(
      folder, kTemporary, [&](const sockaddr* address, socklen_t size) { return bind(listener, address, size); });
  if (bound != 0 || chmod(temporary.c_str(), 0600) != 0 || listen(listener, 1024) != 0 ||
      rename(temporary.c_str(), (folder + "/socket").c_str()) != 0) {
    int error = errno;
    close(listener);
    unlink(temporary.c_str());
    throw listen_error("listening at", folder, error);
  }
  return listener;
}

int connect_to_folder(const std::string& folder, std::chrono::milliseconds within) {
  struct stat status;
  if (lstat((folder + "/socket").c_str(), &status) != 0) return -1;
  if (!S_ISSOCK(status.st_mode)) {  // no link is followed to somebody else's
    errno = ENOTSOCK;
    return -1;
  }
  int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0) return -1;
  if (within.count() > 0) {
    // A connect() waits as long as a send while the server's queue of connections is full.
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(within);
    timeval limit = {};
    limit.tv_sec = seconds.count();
    limit.tv_usec = std::chrono::duration_cast<std::chrono::microseconds>(within - seconds).count();
    (void)setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  int result;
  do {
    result = with_socket_address(
        folder, "socket", [&](const sockaddr* address, socklen_t size) { return connect(connection, address, size); });
  } while (result != 0 && errno == EINTR);
  if (result != 0 || fcntl(connection, F_SETFL, fcntl(connection, F_GETFL) | O_NONBLOCK) != 0) {
    int error = errno;
    close(connection);
    errno = error;
    return -1;
  }
  return connection;
}

bool peer_is_same_user(int socket, int* pid) {
  ucred peer = {};
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  if (pid != nullptr) *pid = peer.pid;
  return peer.uid == geteuid();
}

}  // namespace commonhold::rpc
