#include "rpc/authentication.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace commonhold::rpc {

namespace {

static_assert(kProofBytes == crypto_auth_hmacsha512256_BYTES);
constexpr std::size_t kMaxKeyBytes = 4096;

void fill_random(void* to, std::size_t size) {
  auto* at = static_cast<char*>(to);
  while (size != 0) {
    ssize_t got = getrandom(at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw AddressError(AddressError::Code::kSystem,
                         fmt::format("the kernel gave no random bytes for a key: {}", std::strerror(errno)));
    }
    at += got;
    size -= static_cast<std::size_t>(got);
  }
}

std::optional<Authkey> key_from_environment() {
  const char* text = std::getenv(kKeyVariable);
  if (text == nullptr || *text == '\0') return std::nullopt;
  return Authkey(text);
}

AddressError file_error(const char* doing, const std::string& path, int error) {
  auto code = error == EACCES || error == EPERM ? AddressError::Code::kPermission : AddressError::Code::kSystem;
  return AddressError(code, fmt::format("{} the key file {} failed: {}", doing, path, std::strerror(error)));
}

std::optional<Authkey> read_key_file(const std::string& path) {
  struct stat status;
  if (lstat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    throw AddressError(AddressError::Code::kSystem, fmt::format("the key file {} is no plain file; remove it", path));
  }
  int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) {
    if (errno == ENOENT) return std::nullopt;
    throw file_error("opening", path, errno);
  }
  std::string bytes(kMaxKeyBytes, '\0');
  ssize_t size = fstat(file, &status) == 0 ? read(file, bytes.data(), bytes.size()) : -1;
  int error = errno;
  close(file);
  if (size < 0) throw file_error("reading", path, error);
  if (status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
    throw AddressError(AddressError::Code::kPermission,
                       fmt::format("the key file {} can be used by others (user {}, mode {:04o}); run: chmod 600 {}",
                                   path, status.st_uid, status.st_mode & 07777, path));
  }
  if (size == 0) return std::nullopt;  // its writer died
  bytes.resize(static_cast<std::size_t>(size));
  return Authkey(bytes);
}

void write_key_file(const std::string& path, const Authkey& key) {
  std::string temporary = path + ".new";
  unlink(temporary.c_str());
  int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) throw file_error("making", temporary, errno);
  ssize_t written = write(file, key.bytes().data(), key.bytes().size());
  int error = errno;
  close(file);
  if (written != static_cast<ssize_t>(key.bytes().size()) || rename(temporary.c_str(), path.c_str()) != 0) {
    if (written >= 0) error = errno;
    unlink(temporary.c_str());
    throw file_error("writing", path, error);
  }
}

}  // namespace

Authkey::Authkey(std::string_view bytes) : bytes_(bytes) {
  if (bytes_.empty()) {
    throw AddressError(AddressError::Code::kInvalid,
                       "an empty authkey protects nothing; give at least one byte, or none "
                       "at all to have one made");
  }
  if (bytes_.size() > kMaxKeyBytes) {
    throw AddressError(AddressError::Code::kInvalid,
                       fmt::format("the authkey has {} bytes; {} are allowed", bytes_.size(), kMaxKeyBytes));
  }
}

Authkey::~Authkey() {
  sodium_memzero(bytes_.data(), bytes_.size());
}

Authkey Authkey::generate() {
  char bytes[32];
  fill_random(bytes, sizeof bytes);
  Authkey key(std::string_view(bytes, sizeof bytes));
  sodium_memzero(bytes, sizeof bytes);
  return key;
}

Authkey key_for_server(const ManagerAddress& address, const std::optional<std::string>& given) {
  std::optional<Authkey> key;
  if (given) {
    key = Authkey(*given);
  } else {
    key = key_from_environment();
  }
  if (key) {
    unlink(address.key_file().c_str());
    return *key;
  }
  key = read_key_file(address.key_file());
  if (key) return *key;
  key = Authkey::generate();
  write_key_file(address.key_file(), *key);
  return *key;
}

std::optional<Authkey> key_for_client(const ManagerAddress& address, const std::optional<std::string>& given) {
  if (given) return Authkey(*given);
  if (auto key = key_from_environment()) return key;
  return read_key_file(address.key_file());
}

Nonce make_nonce() {
  Nonce nonce;
  fill_random(nonce.data(), nonce.size());
  return nonce;
}

namespace {

// With the null at their ends.
std::string_view words_of(Role role) {
  switch (role) {
    case Role::kClient:
      return {"commonhold 1 client", 20};
    case Role::kServer:
      return {"commonhold 1 server", 20};
    case Role::kConnector:
      return {"commonhold 1 connector", 23};
    default:
      return {"commonhold 1 listener", 22};
  }
}

}  // namespace

Proof prove(const Authkey& key, Role role, const Nonce& server_nonce, const Nonce& client_nonce) {
  const std::string_view words = words_of(role);
  Proof proof;
  crypto_auth_hmacsha512256_state state;
  crypto_auth_hmacsha512256_init(&state, reinterpret_cast<const unsigned char*>(key.bytes().data()),
                                 key.bytes().size());
  crypto_auth_hmacsha512256_update(&state, reinterpret_cast<const unsigned char*>(words.data()), words.size());
  crypto_auth_hmacsha512256_update(&state, server_nonce.data(), server_nonce.size());
  crypto_auth_hmacsha512256_update(&state, client_nonce.data(), client_nonce.size());
  crypto_auth_hmacsha512256_final(&state, proof.data());
  sodium_memzero(&state, sizeof state);
  return proof;
}

bool proof_is(const Proof& expected, const void* bytes, std::size_t size) {
  return size == expected.size() && sodium_memcmp(expected.data(), bytes, size) == 0;
}

}  // namespace commonhold::rpc
