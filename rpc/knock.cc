#include "rpc/knock.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>

#include "shm/version.h"

namespace commonhold::rpc {

namespace {

constexpr std::uint32_t kProtocolVersion = 1;

Answer read_admission(schema::Admission::Reader admission, const Proof& expected) {
  if (admission.isFailure()) {
    auto failure = admission.getFailure();
    return Denied{failure.getCode(), failure.getMessage()};
  }
  auto ok = admission.getOk();
  auto proof = ok.getProof();
  if (!proof_is(expected, proof.begin(), proof.size())) {
    return Denied{
        schema::Failure::Code::AUTHENTICATION,
        "whoever answers at the manager's socket does not know its authkey; another program may have taken the "
        "server's place"};
  }
  auto server = ok.getServer();
  auto segment = server.getSegment();
  Admitted admitted{ok.getSession()};
  admitted.name = server.getName();
  admitted.library_version = server.getLibraryVersion();
  admitted.folder = segment.getFolder();
  admitted.pid = server.getPid();
  admitted.format_version = segment.getFormatVersion();
  admitted.layout_hash = segment.getLayoutHash();
  admitted.starts = server.getStarts();
  admitted.nonce = segment.getNonce();
  admitted.anonymous = server.getAnonymous();
  return admitted;
}

}  // namespace

kj::Promise<kj::Own<Answer>> knock(schema::Door::Client door, const Authkey& key, std::string program) {
  auto challenge = door.challengeRequest().send();
  return challenge.then(
      [door, key, program = std::move(program)](auto&& response) mutable -> kj::Promise<kj::Own<Answer>> {
        auto server_nonce_bytes = response.getServerNonce();
        if (response.getProtocolVersion() != kProtocolVersion || server_nonce_bytes.size() != kNonceBytes) {
          return kj::heap<Answer>(Denied{
              schema::Failure::Code::UNSUPPORTED,
              fmt::format("the server speaks version {} of the protocol with a nonce of {} bytes, this program "
                          "version {} with {}; use the same version of the library",
                          response.getProtocolVersion(), server_nonce_bytes.size(), kProtocolVersion, kNonceBytes)});
        }
        Nonce server_nonce, client_nonce = make_nonce();
        std::memcpy(server_nonce.data(), server_nonce_bytes.begin(), kNonceBytes);
        Proof own = prove(key, Role::kClient, server_nonce, client_nonce);
        Proof expected = prove(key, Role::kServer, server_nonce, client_nonce);
        auto request = door.answerRequest();
        request.setClientNonce(kj::arrayPtr(client_nonce.data(), client_nonce.size()));
        request.setProof(kj::arrayPtr(own.data(), own.size()));
        auto client = request.initClient();
        client.setPid(static_cast<std::uint32_t>(getpid()));
        client.setTitle(program);
        client.setLibraryVersion(std::string(shm::library_version()));
        return request.send().then(
            [expected](auto&& answer) { return kj::heap<Answer>(read_admission(answer.getResult(), expected)); });
      });
}

}  // namespace commonhold::rpc
