// What a peer may send into a pipe that no Connection sends: an error of ours, and no more memory than it gave.
#include <commonhold/connection.h>
#include <commonhold/errors.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <random>
#include <string>

using namespace commonhold;

namespace {

// One packet, with a descriptor unless it is negative.
void send_raw(int socket, std::string_view bytes, int descriptor) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
  REQUIRE(sendmsg(socket, &message, 0) == static_cast<ssize_t>(bytes.size()));
}

struct Peers {
  explicit Peers(int type) { REQUIRE(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0); }
  ~Peers() { close(ends[1]); }
  Connection receiver() const { return Connection(ends[0]); }  // which closes it
  int sender() const { return ends[1]; }
  int ends[2];
};

}  // namespace

TEST_CASE("a long message whose file does not hold what its length says is refused before memory is taken for it") {
  const Peers peers(SOCK_SEQPACKET);
  Connection receiver = peers.receiver();
  const int file = memfd_create("test", MFD_CLOEXEC);
  REQUIRE(file >= 0);
  for (const off_t size : {off_t{1} << 40, off_t{1} << 62, off_t{1} << 20}) {
    REQUIRE(ftruncate(file, size) == 0);
    send_raw(peers.sender(), std::string(1, '\x01'), file);
    CHECK_THROWS_AS(receiver.recv_bytes(), SystemError);
  }
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  send_raw(peers.sender(), std::string(1, '\x01'), ends[0]);  // no file at all
  CHECK_THROWS_AS(receiver.recv_bytes(), SystemError);
  // And one that does hold it.
  const std::string whole(300'000, 'w');
  REQUIRE(ftruncate(file, 0) == 0);
  REQUIRE(pwrite(file, whole.data(), whole.size(), 0) == static_cast<ssize_t>(whole.size()));
  send_raw(peers.sender(), std::string(1, '\x01'), file);
  CHECK(receiver.recv_bytes() == whole);
  for (int fd : {file, ends[0], ends[1]}) close(fd);
}

TEST_CASE("packets that no Connection sends are errors of ours") {
  const Peers peers(SOCK_SEQPACKET);
  Connection receiver = peers.receiver();
  std::mt19937_64 random(Catch::rngSeed());
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(1 + random() % 40, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    bytes[0] = static_cast<char>(random() % 4);
    send_raw(peers.sender(), bytes, -1);
    try {
      if (random() % 2 == 0) {
        (void)receiver.recv_bytes();
      } else {
        (void)receiver.recv<std::string>();
      }
    } catch (const Error&) {
    }
  }
  receiver.close();
}

TEST_CASE("a stream that announces more than it sends is cut off, and takes no memory for what did not come") {
  for (const std::string& announced :
       {std::string("\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 12), std::string("\x7f\xff\xff\xff", 4)}) {
    const Peers peers(SOCK_STREAM);
    Connection receiver = peers.receiver();
    REQUIRE(write(peers.sender(), announced.data(), announced.size()) == static_cast<ssize_t>(announced.size()));
    REQUIRE(write(peers.sender(), "abc", 3) == 3);
    shutdown(peers.sender(), SHUT_WR);
    CHECK_THROWS_AS(receiver.recv_bytes(), SystemError);
  }
}
