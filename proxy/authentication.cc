#include <commonhold/detail/authentication.h>
#include <errno.h>

#include <algorithm>

#include <commonhold/errors.h>

#include "rpc/authentication.h"

namespace commonhold::detail {

namespace {

static_assert(kChallengeBytes == rpc::kNonceBytes);

rpc::Nonce nonce_of(std::string_view challenge) {
  rpc::Nonce nonce{};
  std::copy_n(challenge.begin(), std::min(challenge.size(), nonce.size()), nonce.begin());
  return nonce;
}

}  // namespace

std::string make_challenge() {
  try {
    const rpc::Nonce nonce = rpc::make_nonce();
    return std::string(nonce.begin(), nonce.end());
  } catch (const rpc::AddressError& error) {
    throw SystemError(EIO, error.what());
  }
}

std::string prove_key(std::string_view key, End end, std::string_view listener_challenge,
                      std::string_view connector_challenge) {
  // Authkey is never empty: a byte that is no part of any key's meaning goes before it.
  try {
    const auto role = end == End::kConnector ? rpc::Role::kConnector : rpc::Role::kListener;
    const auto proof = rpc::prove(rpc::Authkey(std::string("k").append(key)), role, nonce_of(listener_challenge),
                                  nonce_of(connector_challenge));
    return std::string(proof.begin(), proof.end());
  } catch (const rpc::AddressError& refusal) {
    throw ValueError(refusal.what());
  }
}

bool proofs_equal(std::string_view expected, std::string_view found) {
  rpc::Proof proof{};
  if (expected.size() != proof.size()) return false;
  std::copy(expected.begin(), expected.end(), proof.begin());
  return rpc::proof_is(proof, found.data(), found.size());
}

}  // namespace commonhold::detail
