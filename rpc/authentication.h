// The authkey and the proofs that both ends of a connection know it (commonhold.capnp, Door).
//
// Thread safety: values and free functions; nothing is shared.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "rpc/address.h"

namespace commonhold::rpc {

inline constexpr char kKeyVariable[] = "COMMONHOLD_AUTHKEY";
inline constexpr std::size_t kNonceBytes = 32;
inline constexpr std::size_t kProofBytes = 32;

using Nonce = std::array<unsigned char, kNonceBytes>;
using Proof = std::array<unsigned char, kProofBytes>;

// Any bytes, at least one. Wiped when it goes away.
class Authkey {
 public:
  explicit Authkey(std::string_view bytes);
  Authkey(const Authkey&) = default;
  Authkey& operator=(const Authkey&) = default;
  ~Authkey();

  static Authkey generate();  // 32 random bytes

  const std::string& bytes() const { return bytes_; }
  bool operator==(const Authkey&) const = default;

 private:
  std::string bytes_;
};

// The server's key: `given`, else COMMONHOLD_AUTHKEY, else what FOLDER/authkey holds from an earlier server,
// else a new one, which is written there. A key that came from outside is never written, and a file left of
// another time is removed. Throws AddressError.
Authkey key_for_server(const ManagerAddress& address, const std::optional<std::string>& given);

// The client's key: `given`, else COMMONHOLD_AUTHKEY, else FOLDER/authkey. nullopt: there is no file, so the
// server was given its key and this client was not.
std::optional<Authkey> key_for_client(const ManagerAddress& address, const std::optional<std::string>& given);

// The two ends of a manager's door, and of a Listener (process/listener.cc): a proof for one is none for another.
enum class Role { kClient, kServer, kConnector, kListener };

Nonce make_nonce();
Proof prove(const Authkey& key, Role role, const Nonce& server_nonce, const Nonce& client_nonce);
// Compares in constant time. False for bytes of another length.
bool proof_is(const Proof& expected, const void* bytes, std::size_t size);

}  // namespace commonhold::rpc
