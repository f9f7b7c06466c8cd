#include "manager/service.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "manager/inspection.h"
#include "shm/extents.h"
#include "shm/version.h"

namespace commonhold::manager {

namespace schema = rpc::schema;

namespace {

constexpr std::uint32_t kProtocolVersion = 1;
constexpr std::uint32_t kMostListed = 1000;

// The schema numbers kinds as the segment does.
static_assert(static_cast<int>(schema::ObjectKind::DICT) == static_cast<int>(shm::ObjectKind::kDict));
static_assert(static_cast<int>(schema::ObjectKind::LIST) == static_cast<int>(shm::ObjectKind::kList));
static_assert(static_cast<int>(schema::ObjectKind::VALUE) == static_cast<int>(shm::ObjectKind::kValue));
static_assert(static_cast<int>(schema::ObjectKind::ARRAY) == static_cast<int>(shm::ObjectKind::kArray));
static_assert(static_cast<int>(schema::ObjectKind::LOCK) == static_cast<int>(shm::ObjectKind::kLock));
static_assert(static_cast<int>(schema::ObjectKind::RLOCK) == static_cast<int>(shm::ObjectKind::kRLock));
static_assert(static_cast<int>(schema::ObjectKind::SEMAPHORE) == static_cast<int>(shm::ObjectKind::kSemaphore));
static_assert(static_cast<int>(schema::ObjectKind::CONDITION) == static_cast<int>(shm::ObjectKind::kCondition));
static_assert(static_cast<int>(schema::ObjectKind::EVENT) == static_cast<int>(shm::ObjectKind::kEvent));
static_assert(static_cast<int>(schema::ObjectKind::BARRIER) == static_cast<int>(shm::ObjectKind::kBarrier));
static_assert(static_cast<int>(schema::ObjectKind::RWLOCK) == static_cast<int>(shm::ObjectKind::kRwLock));
static_assert(static_cast<int>(schema::ObjectKind::QUEUE) == static_cast<int>(shm::ObjectKind::kQueue));
static_assert(static_cast<int>(schema::ObjectKind::PRIORITY_QUEUE) ==
              static_cast<int>(shm::ObjectKind::kPriorityQueue));
static_assert(static_cast<int>(schema::ObjectKind::NAMESPACE) == static_cast<int>(shm::ObjectKind::kNamespace));
static_assert(static_cast<int>(schema::ObjectKind::SET) == static_cast<int>(shm::ObjectKind::kSet));
static_assert(static_cast<int>(schema::ObjectKind::CUSTOM) == static_cast<int>(shm::ObjectKind::kCustom));
shm::ObjectKind kind_of(schema::ObjectKind kind) {
  return static_cast<shm::ObjectKind>(kind);
}
schema::ObjectKind kind_of(shm::ObjectKind kind) {
  return static_cast<schema::ObjectKind>(kind);
}

// All bytes of a text, null bytes included: they are for the registry to refuse.
std::string_view text_of(capnp::Text::Reader text) {
  return {text.begin(), text.size()};
}

void read_arguments(capnp::List<std::uint64_t>::Reader given, shm::Word* arguments) {
  for (capnp::uint i = 0; i < given.size() && i < shm::kArguments; ++i) arguments[i] = given[i];
}

shm::ObjectPlan plan_of(schema::ObjectPlan::Reader reader) {
  shm::ObjectPlan plan;
  plan.kind = kind_of(reader.getKind());
  plan.name = text_of(reader.getName());
  plan.signature = text_of(reader.getSignature());
  read_arguments(reader.getArguments(), plan.arguments);
  return plan;
}

void write_id(schema::ObjectId::Builder builder, shm::ObjectId id) {
  builder.setIndex(id.index);
  builder.setGeneration(id.generation);
}

void write_failure(schema::Failure::Builder builder, const Refusal& refusal) {
  builder.setCode(refusal.code);
  builder.setMessage(refusal.message);
}

class HoldServer final : public schema::Hold::Server {
 public:
  HoldServer(ServerCore& core, shm::ObjectId id) : core_(core), id_(id) {}
  ~HoldServer() noexcept(false) {
    core_.registry().release(id_);
    if (auto* housekeeper = core_.housekeeper()) housekeeper->wake();
  }

 private:
  ServerCore& core_;
  shm::ObjectId id_;
};

class SessionServer final : public schema::Session::Server {
 public:
  explicit SessionServer(ServerCore& core) : core_(core) {}

 private:
  kj::Promise<void> create(CreateContext context) override {
    if (context.getParams().getPlan().getKind() == schema::ObjectKind::CUSTOM) return create_custom(context);
    write(core_.registry().create(plan_of(context.getParams().getPlan())), context.getResults().initResult());
    return kj::READY_NOW;
  }

  kj::Promise<void> open(OpenContext context) override {
    auto params = context.getParams();
    shm::Word arguments[shm::kArguments] = {};
    read_arguments(params.getArguments(), arguments);
    const Wanted wanted{kind_of(params.getKind()), text_of(params.getSignature()), arguments, params.getCompared()};
    write(core_.registry().open(text_of(params.getName()), wanted), context.getResults().initResult());
    return kj::READY_NOW;
  }

  kj::Promise<void> openOrCreate(OpenOrCreateContext context) override {
    if (context.getParams().getPlan().getKind() == schema::ObjectKind::CUSTOM) {
      auto plan = plan_of(context.getParams().getPlan());
      auto present = core_.registry().open(plan.name, {plan.kind, plan.signature});
      auto* refusal = std::get_if<Refusal>(&present);
      if (refusal == nullptr || refusal->code != FailureCode::NOT_FOUND || plan.name.empty()) {
        write(present, context.getResults().initResult());
        return kj::READY_NOW;
      }
      return create_custom(context);
    }
    auto plan = context.getParams().getPlan();
    write(core_.registry().open_or_create(plan_of(plan), plan.getCompared()), context.getResults().initResult());
    return kj::READY_NOW;
  }

  kj::Promise<void> openById(OpenByIdContext context) override {
    auto params = context.getParams();
    shm::ObjectId id{params.getId().getIndex(), params.getId().getGeneration()};
    write(core_.registry().open_by_id(id, {kind_of(params.getKind()), text_of(params.getSignature())}),
          context.getResults().initResult());
    return kj::READY_NOW;
  }

  kj::Promise<void> name(NameContext context) override {
    auto params = context.getParams();
    shm::ObjectId id{params.getObject().getIndex(), params.getObject().getGeneration()};
    write(core_.registry().name(id, text_of(params.getName()), params.getOrOpen()), context.getResults().initResult());
    return kj::READY_NOW;
  }

  kj::Promise<void> remove(RemoveContext context) override {
    auto result = core_.registry().remove(text_of(context.getParams().getName()));
    auto outcome = context.getResults().initResult();
    if (auto* refusal = std::get_if<Refusal>(&result)) {
      write_failure(outcome.initFailure(), *refusal);
    } else {
      outcome.setOk();
      if (auto* housekeeper = core_.housekeeper()) housekeeper->wake();
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> list(ListContext context) override {
    auto params = context.getParams();
    std::uint32_t limit = params.getLimit() == 0 ? kMostListed : std::min(params.getLimit(), kMostListed);
    std::uint32_t next = 0;
    if (params.getAfter() == 0) core_.registry().count_links();
    auto found = summarize_objects(core_.segment(), params.getAfter(), limit, next);
    auto objects = context.getResults().initObjects(static_cast<capnp::uint>(found.size()));
    for (capnp::uint i = 0; i < objects.size(); ++i) {
      auto object = objects[i];
      write_id(object.initId(), found[i].info.id);
      object.setKind(kind_of(found[i].info.kind));
      object.setName(found[i].info.name);
      object.setSignature(found[i].info.signature);
      object.setBytes(found[i].bytes);
      object.setSessions(found[i].sessions);
      object.setHeldInside(found[i].info.held_inside);
      object.setCreatedNs(found[i].info.created_ns);
    }
    context.getResults().setNext(next);
    return kj::READY_NOW;
  }

  kj::Promise<void> stats(StatsContext context) override {
    auto stats = context.getResults().initStats();
    const shm::Segment& segment = core_.segment();
    std::uint32_t objects = 0;
    shm::for_each_object(segment, [&](const shm::ObjectInfo&) { ++objects; });
    auto sessions = summarize_sessions(segment);
    auto others = std::count_if(sessions.begin(), sessions.end(), [](auto& session) { return !session.is_server; });
    const shm::MemoryUse use = shm::memory_use(segment);
    stats.setObjects(objects);
    stats.setSessions(static_cast<std::uint32_t>(others));
    stats.setConnections(core_.connections());
    stats.setUsedBytes(use.used);
    stats.setCommittedBytes(use.committed);
    stats.setLimitBytes(use.limit);
    if (auto* housekeeper = core_.housekeeper()) {
      stats.setRecoveredSessions(housekeeper->recovered_sessions());
      stats.setDestroyedObjects(housekeeper->destroyed_objects());
    }
    stats.setUptimeNs(static_cast<std::uint64_t>(core_.uptime().count()));
    return kj::READY_NOW;
  }

  // The constructor runs elsewhere; what it made becomes an object when it is ready, unless another one of the name was
  // faster.
  template <typename Context>
  kj::Promise<void> create_custom(Context context) {
    auto plan = plan_of(context.getParams().getPlan());
    auto data = context.getParams().getPlan().getData();
    std::string arguments(reinterpret_cast<const char*>(data.begin()), data.size());
    const std::string signature = plan.signature;
    return core_.custom_objects()
        .construct(signature, std::move(arguments))
        .then([this, context, plan = std::move(plan)](kj::Own<CustomObjects::Constructed>&& made) mutable {
          auto result = context.getResults().initResult();
          if (made->refusal) return write_failure(result.initFailure(), *made->refusal);
          constexpr bool kMayExist = std::is_same_v<Context, OpenOrCreateContext>;
          if (auto known = core_.custom_objects().find(made->instance); known && plan.name.empty()) {
            return write(core_.registry().open_by_id(*known, {plan.kind, plan.signature}), result);
          }
          auto opened = kMayExist ? core_.registry().open_or_create(plan) : core_.registry().create(plan);
          if (auto* object = std::get_if<Opened>(&opened); object != nullptr && object->created) {
            core_.custom_objects().add(object->id, std::move(made->instance));
          }
          write(opened, result);
        });
  }

  kj::Promise<void> call(CallContext context) override {
    auto params = context.getParams();
    shm::ObjectId id{params.getObject().getIndex(), params.getObject().getGeneration()};
    auto data = params.getArguments();
    std::string arguments(reinterpret_cast<const char*>(data.begin()), data.size());
    return core_.custom_objects()
        .call(id, std::string(text_of(params.getMethod())), std::move(arguments))
        .then([this, context](kj::Own<CustomObjects::Reply>&& reply) mutable {
          auto result = context.getResults().initResult();
          if (reply->refusal) return write_failure(result.initFailure(), *reply->refusal);
          if (reply->raised) {
            auto raised = result.initRaised();
            raised.setType(reply->raised->type);
            raised.setMessage(reply->raised->message);
            return;
          }
          auto ok = result.initOk();
          const std::string& value = reply->result.value;
          ok.setValue(kj::arrayPtr(reinterpret_cast<const kj::byte*>(value.data()), value.size()));
          auto holds = ok.initHolds(static_cast<capnp::uint>(reply->result.links.size()));
          for (capnp::uint i = 0; i < holds.size(); ++i) {
            auto opened = core_.registry().open_by_id(shm::ObjectId::from_word(reply->result.links[i]), {});
            if (auto* object = std::get_if<Opened>(&opened)) holds.set(i, kj::heap<HoldServer>(core_, object->id));
          }
        });
  }

  kj::Promise<void> methods(MethodsContext context) override {
    auto params = context.getParams();
    shm::ObjectId id{params.getObject().getIndex(), params.getObject().getGeneration()};
    auto found = core_.custom_objects().methods(id);
    auto result = context.getResults().initResult();
    if (auto* refusal = std::get_if<Refusal>(&found)) {
      write_failure(result.initFailure(), *refusal);
      return kj::READY_NOW;
    }
    auto& names = std::get<std::vector<std::string>>(found);
    auto list = result.initOk(static_cast<capnp::uint>(names.size()));
    for (capnp::uint i = 0; i < list.size(); ++i) list.set(i, names[i]);
    return kj::READY_NOW;
  }

  kj::Promise<void> shutdown(ShutdownContext context) override {
    core_.log("a client asked for the end of the manager");
    core_.end_after_reply(ServerCore::End::kRemove);
    context.getResults().initResult().setOk();
    return kj::READY_NOW;
  }

  kj::Promise<void> detach(DetachContext context) override {
    auto outcome = context.getResults().initResult();
    if (core_.address().is_anonymous()) {
      write_failure(outcome.initFailure(),
                    {FailureCode::INVALID, fmt::format("\"{}\" has no name by which another server could find its "
                                                       "objects: it ends with its last owner, or is destroyed",
                                                       core_.address().name)});
      return kj::READY_NOW;
    }
    core_.log("a client asked for the server's end; the objects stay");
    core_.end_after_reply(ServerCore::End::kKeep);
    outcome.setOk();
    return kj::READY_NOW;
  }

  void write(const Result<Opened>& result, schema::OpenResult::Builder builder) {
    if (auto* refusal = std::get_if<Refusal>(&result)) return write_failure(builder.initFailure(), *refusal);
    const auto& opened = std::get<Opened>(result);
    auto hold = kj::heap<HoldServer>(core_, opened.id);  // first: from here on it ends the registry's hold
    auto object = builder.initOk();
    write_id(object.initId(), opened.id);
    object.setKind(kind_of(opened.kind));
    object.setSignature(opened.signature);
    object.setControl(opened.control);
    object.setCreated(opened.created);
    object.setHold(kj::mv(hold));
  }

  ServerCore& core_;
};

class DoorServer final : public schema::Door::Server {
 public:
  DoorServer(ServerCore& core, rpc::Connection& connection)
      : core_(core), connection_(connection), nonce_(rpc::make_nonce()) {}

 private:
  kj::Promise<void> challenge(ChallengeContext context) override {
    context.getResults().setServerNonce(kj::arrayPtr(nonce_.data(), nonce_.size()));
    context.getResults().setProtocolVersion(kProtocolVersion);
    return kj::READY_NOW;
  }

  kj::Promise<void> answer(AnswerContext context) override {
    auto params = context.getParams();
    auto client_nonce = params.getClientNonce();
    auto proof = params.getProof();
    rpc::Nonce nonce{};
    bool well_formed = client_nonce.size() == nonce.size();
    if (well_formed) std::memcpy(nonce.data(), client_nonce.begin(), nonce.size());
    bool known = well_formed && !answered_ &&
                 rpc::proof_is(rpc::prove(core_.key(), rpc::Role::kClient, nonce_, nonce), proof.begin(), proof.size());
    bool again = answered_;
    answered_ = true;
    auto result = context.getResults().initResult();
    if (!known) {
      refuse(result.initFailure(), again, well_formed);
      return kj::READY_NOW;
    }
    connection_.admit();
    auto ok = result.initOk();
    rpc::Proof own = rpc::prove(core_.key(), rpc::Role::kServer, nonce_, nonce);
    ok.setProof(kj::arrayPtr(own.data(), own.size()));
    ok.setSession(kj::heap<SessionServer>(core_));
    write_server_info(ok.initServer());
    return kj::READY_NOW;
  }

  void refuse(schema::Failure::Builder failure, bool again, bool well_formed) {
    const std::string& name = core_.address().name;
    std::string why = again ? "the challenge of this connection was answered already; connect again"
                      : !well_formed
                          ? fmt::format("the client's nonce has another length than {} bytes", rpc::kNonceBytes)
                          : fmt::format(
                                "the authkey is not that of the manager \"{}\"; give the key that its server was "
                                "started with (in the program or as {}), or none where its folder has a key file",
                                name, rpc::kKeyVariable);
    write_failure(failure, {FailureCode::AUTHENTICATION, why});
    core_.log(fmt::format("process {} gave a wrong answer to the challenge", connection_.peer_pid()));
    connection_.dismiss();
  }

  void write_server_info(schema::ServerInfo::Builder server) {
    const shm::SegmentHeader& header = core_.segment().header();
    server.setName(core_.address().name);
    server.setPid(static_cast<std::uint32_t>(getpid()));
    server.setLibraryVersion(std::string(shm::library_version()));
    server.setAnonymous(core_.address().is_anonymous());
    server.setStarts(header.server_starts.load(std::memory_order_relaxed));
    auto segment = server.initSegment();
    segment.setFolder(core_.address().folder);
    segment.setFormatVersion(header.format_version);
    segment.setLayoutHash(header.layout_hash);
    segment.setNonce(header.nonce);
  }

  ServerCore& core_;
  rpc::Connection& connection_;
  rpc::Nonce nonce_;
  bool answered_ = false;
};

}  // namespace

schema::Door::Client make_door(ServerCore& core, rpc::Connection& connection) {
  return kj::heap<DoorServer>(core, connection);
}

}  // namespace commonhold::manager
