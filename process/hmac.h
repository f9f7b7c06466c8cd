// Keyed hashes by name, as Python's handshake uses them: OpenSSL's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace commonhold::detail {

// OpenSSL's libcrypto is loaded by the first call: to have it loaded costs every program a millisecond when it
// starts, and few talk with Python. SystemError when it cannot be loaded.
void load_hmac();

// The HMAC of `message` under `key`. Hashes: "md5", "sha256", "sha384", "sha3_256", "sha3_384". Nothing for another
// name, and for one that the machine's rules forbid. Loads it, if need be.
std::optional<std::string> hmac(std::string_view hash, std::string_view key, std::string_view message);
// Whether `found` is that HMAC. Compares in constant time.
bool is_hmac(std::string_view found, std::string_view hash, std::string_view key, std::string_view message);

}  // namespace commonhold::detail
