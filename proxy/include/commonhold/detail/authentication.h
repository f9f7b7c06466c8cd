// Proofs that both ends of a connection know a key, for the layers that may not include rpc/.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace commonhold::detail {

inline constexpr std::size_t kChallengeBytes = 32;

enum class End { kConnector, kListener };

// New random bytes.
std::string make_challenge();
// What `end` answers, given what both ends asked. REQUIRES: challenges of kChallengeBytes. An empty key is as good as
// any.
std::string prove_key(std::string_view key, End end, std::string_view listener_challenge,
                      std::string_view connector_challenge);
// Compares in constant time.
bool proofs_equal(std::string_view expected, std::string_view found);

}  // namespace commonhold::detail
