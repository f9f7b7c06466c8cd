#include "process/hmac.h"

#include <dlfcn.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>

#include <commonhold/errors.h>

namespace commonhold::detail {

namespace {

#define COMMONHOLD_TEXT(x) #x
#define COMMONHOLD_VALUE(x) COMMONHOLD_TEXT(x)
// The one whose headers this was compiled with.
constexpr const char* kLibrary = "libcrypto.so." COMMONHOLD_VALUE(OPENSSL_SHLIB_VERSION);
#undef COMMONHOLD_VALUE
#undef COMMONHOLD_TEXT

struct Crypto {
  Crypto() {
    void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) {
      mac = reinterpret_cast<decltype(mac)>(dlsym(library, "EVP_Q_mac"));
      compare = reinterpret_cast<decltype(compare)>(dlsym(library, "CRYPTO_memcmp"));
    }
    if (mac != nullptr && compare != nullptr) return;
    const char* why = dlerror();
    throw SystemError(ENOENT, std::string("an authkey with Protocol::kPython needs OpenSSL's ") + kLibrary +
                                  ", which cannot be loaded: " + (why != nullptr ? why : "it lacks a function"));
  }
  decltype(&EVP_Q_mac) mac = nullptr;
  decltype(&CRYPTO_memcmp) compare = nullptr;
};

// A throw leaves it to the next call.
const Crypto& crypto() {
  static const Crypto loaded;
  return loaded;
}

// As OpenSSL names it.
const char* hash_named(std::string_view name) {
  if (name == "md5") return "MD5";
  if (name == "sha256") return "SHA256";
  if (name == "sha384") return "SHA384";
  if (name == "sha3_256") return "SHA3-256";
  if (name == "sha3_384") return "SHA3-384";
  return nullptr;
}

}  // namespace

void load_hmac() {
  crypto();
}

std::optional<std::string> hmac(std::string_view hash, std::string_view key, std::string_view message) {
  const char* algorithm = hash_named(hash);
  if (algorithm == nullptr) return std::nullopt;
  unsigned char digest[EVP_MAX_MD_SIZE];
  std::size_t size = 0;
  // An empty key is a key, and no null pointer.
  const void* key_bytes = key.empty() ? "" : key.data();
  if (crypto().mac(nullptr, "HMAC", nullptr, algorithm, nullptr, key_bytes, key.size(),
                   reinterpret_cast<const unsigned char*>(message.data()), message.size(), digest, sizeof digest,
                   &size) == nullptr) {
    return std::nullopt;
  }
  return std::string(reinterpret_cast<const char*>(digest), size);
}

bool is_hmac(std::string_view found, std::string_view hash, std::string_view key, std::string_view message) {
  const auto expected = hmac(hash, key, message);
  return expected && expected->size() == found.size() &&
         crypto().compare(expected->data(), found.data(), found.size()) == 0;
}

}  // namespace commonhold::detail
