#include "process/native_handshake.h"

#include <utility>

namespace commonhold::detail {

namespace {

constexpr std::string_view kChallengeWord = "#CHALLENGE#", kAnswerWord = "#ANSWER#", kWelcomeWord = "#WELCOME#",
                           kFailureWord = "#FAILURE#";

class NativeListener : public Handshake {
 public:
  explicit NativeListener(std::string key) : key_(std::move(key)), challenge_(make_challenge()) {}

  std::string opening() override { return std::string(kChallengeWord) + challenge_; }

  Reply hear(std::string_view message) override {
    const std::size_t proof_at = kAnswerWord.size() + kChallengeBytes;
    if (!message.starts_with(kAnswerWord) || message.size() <= proof_at) {
      // Python answers a challenge with 16 bytes, or says by which hash.
      const bool is_python = message.size() == 16 || message.starts_with('{');
      return {Reply::Outcome::kRefused, {}, unexpected(kAnswerWord) + (is_python ? kPythonHint : "")};
    }
    const std::string theirs(message.substr(kAnswerWord.size(), kChallengeBytes));
    if (!proofs_equal(prove_key(key_, End::kConnector, challenge_, theirs), message.substr(proof_at))) {
      return {Reply::Outcome::kRefused, std::string(kFailureWord), "a client does not know the authkey"};
    }
    return {Reply::Outcome::kProved, std::string(kWelcomeWord) + prove_key(key_, End::kListener, challenge_, theirs)};
  }

 private:
  static constexpr const char* kPythonHint = " A Python program needs a Listener with Protocol::kPython";
  const std::string key_, challenge_;
};

class NativeConnector : public Handshake {
 public:
  explicit NativeConnector(std::string key) : key_(std::move(key)), mine_(make_challenge()) {}

  Reply hear(std::string_view message) override {
    if (message == kFailureWord) {
      return {Reply::Outcome::kRefused, {}, "the other end refused this one's proof: the authkeys differ"};
    }
    if (theirs_.empty()) {
      if (!message.starts_with(kChallengeWord) || message.size() != kChallengeWord.size() + kChallengeBytes) {
        return {Reply::Outcome::kRefused, {}, unexpected(kChallengeWord)};
      }
      theirs_ = message.substr(kChallengeWord.size());
      return {Reply::Outcome::kGoesOn,
              std::string(kAnswerWord) + mine_ + prove_key(key_, End::kConnector, theirs_, mine_)};
    }
    if (!message.starts_with(kWelcomeWord)) return {Reply::Outcome::kRefused, {}, unexpected(kWelcomeWord)};
    if (!proofs_equal(prove_key(key_, End::kListener, theirs_, mine_), message.substr(kWelcomeWord.size()))) {
      return {Reply::Outcome::kRefused, {}, "the listener does not know the authkey"};
    }
    return {Reply::Outcome::kProved};
  }

 private:
  const std::string key_, mine_;
  std::string theirs_;  // the listener's challenge, once it has come
};

}  // namespace

std::unique_ptr<Handshake> native_handshake(End end, std::string key) {
  if (end == End::kListener) return std::make_unique<NativeListener>(std::move(key));
  return std::make_unique<NativeConnector>(std::move(key));
}

}  // namespace commonhold::detail
