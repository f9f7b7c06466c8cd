#include "process/python_handshake.h"

#include <optional>
#include <utility>

#include "process/hmac.h"

namespace commonhold::detail {

namespace {

constexpr std::string_view kChallengeWord = "#CHALLENGE#", kWelcomeWord = "#WELCOME#", kFailureWord = "#FAILURE#";
constexpr std::string_view kOurHash = "sha256", kOldHash = "md5";
constexpr std::size_t kOurRandomBytes = 40, kOldNonceBytes = 20, kOldDigestBytes = 16, kMostNameBytes = 16;

std::string random_bytes(std::size_t size) {
  std::string bytes;
  while (bytes.size() < size) bytes += make_challenge();
  bytes.resize(size);
  return bytes;
}

std::string in_braces(std::string_view name) {
  return std::string("{").append(name).append("}");
}

// The hash that "{name}..." names; nothing when it names none.
std::optional<std::string_view> named_hash(std::string_view text) {
  if (!text.starts_with('{')) return std::nullopt;
  const std::size_t end = text.substr(0, kMostNameBytes).find('}');
  if (end == std::string_view::npos) return std::nullopt;
  return text.substr(1, end - 1);
}

// What an end that knows the key says to a nonce; nothing to one that no Python sends.
std::optional<std::string> digest_of(std::string_view key, std::string_view nonce) {
  if (nonce.size() == kOldNonceBytes) return hmac(kOldHash, key, nonce);
  const auto hash = named_hash(nonce);
  if (!hash || nonce.size() < kOldNonceBytes) return std::nullopt;
  const auto digest = hmac(*hash, key, nonce);
  if (!digest) return std::nullopt;
  return in_braces(*hash) + *digest;
}

// Whether `digest` is one of our nonce: by whatever hash it names, as the nonce is under each of them.
bool is_digest(std::string_view key, std::string_view nonce, std::string_view digest) {
  if (digest.size() == kOldDigestBytes) return is_hmac(digest, kOldHash, key, nonce);
  const auto hash = named_hash(digest);
  return hash && is_hmac(digest.substr(hash->size() + 2), *hash, key, nonce);
}

class PythonHandshake : public Handshake {
 public:
  PythonHandshake(End end, std::string key)
      : end_(end),
        key_(std::move(key)),
        nonce_(in_braces(kOurHash) + random_bytes(kOurRandomBytes)),
        awaited_(end == End::kListener ? Awaited::kDigest : Awaited::kChallenge) {
    load_hmac();
  }

  std::string opening() override { return end_ == End::kListener ? challenge() : std::string(); }

  Reply hear(std::string_view message) override {
    switch (awaited_) {
      case Awaited::kChallenge:
        return hear_challenge(message);
      case Awaited::kWelcome:
        return hear_welcome(message);
      case Awaited::kDigest:
        break;
    }
    return hear_digest(message);
  }

 private:
  enum class Awaited { kChallenge, kWelcome, kDigest };

  std::string challenge() const { return std::string(kChallengeWord) + nonce_; }

  Reply hear_challenge(std::string_view message) {
    if (!message.starts_with(kChallengeWord)) return {Reply::Outcome::kRefused, {}, unexpected(kChallengeWord)};
    const auto digest = digest_of(key_, message.substr(kChallengeWord.size()));
    if (!digest) {
      return {Reply::Outcome::kRefused, {}, "the other end's challenge is none of Python's: is it a Python program?"};
    }
    awaited_ = Awaited::kWelcome;
    return {Reply::Outcome::kGoesOn, *digest};
  }

  Reply hear_welcome(std::string_view message) {
    if (message == kFailureWord) {
      return {Reply::Outcome::kRefused, {}, "the other end refused this one's proof: the authkeys differ"};
    }
    if (message != kWelcomeWord) return {Reply::Outcome::kRefused, {}, unexpected(kWelcomeWord)};
    if (end_ == End::kListener) return {Reply::Outcome::kProved};
    awaited_ = Awaited::kDigest;
    return {Reply::Outcome::kGoesOn, challenge()};
  }

  Reply hear_digest(std::string_view message) {
    if (!is_digest(key_, nonce_, message)) {
      return {Reply::Outcome::kRefused, std::string(kFailureWord),
              end_ == End::kListener ? "a client does not know the authkey" : "the listener does not know the authkey"};
    }
    if (end_ == End::kConnector) return {Reply::Outcome::kProved, std::string(kWelcomeWord)};
    awaited_ = Awaited::kChallenge;
    return {Reply::Outcome::kGoesOn, std::string(kWelcomeWord)};
  }

  const End end_;
  const std::string key_, nonce_;
  Awaited awaited_;
};

}  // namespace

std::unique_ptr<Handshake> python_handshake(End end, std::string key) {
  return std::make_unique<PythonHandshake>(end, std::move(key));
}

}  // namespace commonhold::detail
