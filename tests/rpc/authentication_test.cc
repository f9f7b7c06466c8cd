#include "rpc/authentication.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "support/server_ground.h"

using namespace commonhold;
using namespace commonhold::rpc;

TEST_CASE("a proof depends on the key, the role and both nonces") {
  Authkey key("secret"), other("Secret");
  Nonce a = make_nonce(), b = make_nonce();
  REQUIRE(a != b);
  Proof proof = prove(key, Role::kClient, a, b);
  REQUIRE(prove(key, Role::kClient, a, b) == proof);
  REQUIRE(prove(other, Role::kClient, a, b) != proof);
  REQUIRE(prove(key, Role::kServer, a, b) != proof);
  REQUIRE(prove(key, Role::kClient, b, a) != proof);
  REQUIRE(proof_is(proof, proof.data(), proof.size()));
  REQUIRE_FALSE(proof_is(proof, proof.data(), proof.size() - 1));
  REQUIRE_FALSE(proof_is(proof, nullptr, 0));
}

TEST_CASE("a proof is the HMAC-SHA512-256 that the schema describes") {
  // python3: hmac.new(b"key", b"commonhold 1 client\0" + bytes(range(32)) + bytes(range(32, 64)),
  // "sha512").digest()[:32]
  Nonce server, client;
  for (unsigned char i = 0; i < 32; ++i) {
    server[i] = i;
    client[i] = static_cast<unsigned char>(32 + i);
  }
  std::string hex;
  for (unsigned char byte : prove(Authkey("key"), Role::kClient, server, client)) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  REQUIRE(hex == "f0d7f57887392abfa74be77706182c431edf39f4b45131a454aba357036c576f");
}

TEST_CASE("a server without a key makes one that its successor and the user's clients find") {
  test::ServerGround ground;
  ManagerAddress address = address_of("stock");
  prepare_folder(address);
  REQUIRE_FALSE(key_for_client(address, std::nullopt));
  Authkey key = key_for_server(address, std::nullopt);
  REQUIRE(key.bytes().size() == 32);
  struct stat status;
  REQUIRE(stat(address.key_file().c_str(), &status) == 0);
  REQUIRE((status.st_mode & 0777) == 0600);
  REQUIRE(key_for_server(address, std::nullopt) == key);
  REQUIRE(key_for_client(address, std::nullopt) == key);
  REQUIRE(key_for_client(address, "other")->bytes() == "other");
}

TEST_CASE("a key that was given is never written, and replaces one that was") {
  test::ServerGround ground;
  ManagerAddress address = address_of("stock");
  prepare_folder(address);
  (void)key_for_server(address, std::nullopt);
  REQUIRE(key_for_server(address, "given").bytes() == "given");
  REQUIRE_FALSE(std::filesystem::exists(address.key_file()));
  setenv(kKeyVariable, "of the environment", 1);
  REQUIRE(key_for_server(address, std::nullopt).bytes() == "of the environment");
  REQUIRE(key_for_client(address, std::nullopt)->bytes() == "of the environment");
  REQUIRE(key_for_client(address, "given")->bytes() == "given");
  unsetenv(kKeyVariable);
  REQUIRE_FALSE(std::filesystem::exists(address.key_file()));
}

TEST_CASE("empty and enormous keys, and a key file that others can read, are refused") {
  test::ServerGround ground;
  REQUIRE_THROWS_WITH(Authkey(""), Catch::Contains("at least one byte"));
  REQUIRE_THROWS_WITH(Authkey(std::string(5000, 'k')), Catch::Contains("5000"));
  ManagerAddress address = address_of("stock");
  prepare_folder(address);
  std::ofstream(address.key_file()) << "secret";
  chmod(address.key_file().c_str(), 0644);
  REQUIRE_THROWS_WITH(key_for_client(address, std::nullopt), Catch::Contains("chmod 600 " + address.key_file()));
}
