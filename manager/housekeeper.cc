#include "manager/housekeeper.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "rpc/custom_types.h"
#include "shm/blocked_signals.h"
#include "shm/extents.h"
#include "shm/extents_commit.h"
#include "shm/extents_release.h"
#include "shm/liveness.h"
#include "shm/recovery.h"
#include "shm/thread_context.h"

namespace commonhold::manager {

namespace {

using namespace std::chrono_literals;

// What an epoll event's data says beside the index of a session.
constexpr std::uint64_t kBell = 1ull << 32, kWake = 2ull << 32, kLifeline = 3ull << 32;

constexpr auto kFullLookEvery = 5s;
constexpr auto kFullLookUnannounced = 1s;
constexpr auto kFirstRetry = 1ms, kLongestRetry = 1000ms;
constexpr auto kBellRest = 1ms;
constexpr int kSweepShare = 20;  // a sweep may take one part in this many of the thread's time
constexpr std::uint64_t kLeastAhead = 16, kMostAhead = 1024;  // extents: 1 MiB, 64 MiB
constexpr std::uint64_t kAheadAtOnce = 8;                     // extents
constexpr auto kReleaseAfter = 250ms;                         // what was free that long goes back to the system
constexpr std::uint64_t kReleaseAtOnce = 1024;                // extents: 64 MiB
constexpr std::uint64_t kKeptOfAhead = 2;                     // so many times what is committed ahead stays

std::system_error system_error(const char* what) {
  return std::system_error(errno, std::generic_category(), what);
}

// What the thread has had of a processor.
std::chrono::nanoseconds thread_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

std::string title_of(const shm::SessionRecord& record) {
  char title[sizeof record.title];
  shm::read_words(title, record.title, sizeof title);
  title[sizeof title - 1] = '\0';
  return title;
}

}  // namespace

Housekeeper::Housekeeper(std::shared_ptr<shm::Segment> segment, Registry& registry, Log log, Lifeline lifeline,
                         bool serves_alone, std::function<void()> first_look)
    : serves_alone_(serves_alone),
      segment_(std::move(segment)),
      registry_(registry),
      log_(std::move(log)),
      lifeline_(std::move(lifeline)),
      first_look_(std::move(first_look)),
      pid_space_(shm::own_pid_space()) {
  auto add = [&](int fd, std::uint64_t data) {
    epoll_event event{EPOLLIN, {.u64 = data}};
    return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
  };
  // Open for reading and writing, so that it does not hang up while no client has it open.
  bell_ = fcntl(segment_->bell_fd(), F_DUPFD_CLOEXEC, 0);
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  bool watching = bell_ >= 0 && epoll_ >= 0 && wake_ >= 0 && add(wake_, kWake) &&
                  (lifeline_.fd < 0 || add(lifeline_.fd, kLifeline)) && listen_for_bell(EPOLL_CTL_ADD);
  if (!watching) {
    auto error = system_error("watching over the segment");
    for (int fd : {bell_, epoll_, wake_}) {
      if (fd >= 0) close(fd);
    }
    throw error;
  }
  const auto identity = [](int fd) { return shm::FileIdentity::of(fd); };
  identities_ = {identity(bell_), identity(epoll_), identity(wake_), identity(lifeline_.fd)};
  const shm::BlockedSignals blocked;
  thread_ = std::thread([this]() { run(); });
}

Housekeeper::~Housekeeper() {
  ending_ = true;
  wake();
  thread_.join();
  for (std::uint32_t session = 0; session < watched_.size(); ++session) forget(session);
  shm::close_kept(bell_, identities_.bell);
  shm::close_kept(epoll_, identities_.epoll);
  shm::close_kept(wake_, identities_.wake);
  shm::close_kept(lifeline_.fd, identities_.lifeline);
}

void Housekeeper::wake() const {
  std::uint64_t one = 1;
  if (!identities_.wake.is(wake_)) return;
  if (write(wake_, &one, sizeof one) < 0) {
    // The counter is full: it wakes anyway.
  }
}

// The bell is heard once; then it rests. A hundred processes that join and leave within a few milliseconds ring it two
// hundred times, and looking at once each time would take the processor from them.
bool Housekeeper::listen_for_bell(int operation) {
  epoll_event event{EPOLLIN | EPOLLONESHOT, {.u64 = kBell}};
  bell_rests_ = epoll_ctl(epoll_, operation, bell_, &event) != 0;
  return !bell_rests_;
}

void Housekeeper::run() {
  prctl(PR_SET_NAME, "housekeeper");
  if (first_look_) first_look_();
  look(Clock::now());
  while (!ending_) {
    if (bell_rests_ && Clock::now() >= bell_rests_until_) listen_for_bell(EPOLL_CTL_MOD);
    epoll_event events[64];
    int count = epoll_wait(epoll_, events, 64, milliseconds_to_sleep(Clock::now()));
    if (count < 0 && errno != EINTR)
      return log_(fmt::format("the housekeeper ends: {}", system_error("epoll_wait").what()));
    for (int i = 0; i < count; ++i) {
      std::uint64_t data = events[i].data.u64;
      if (data == kBell) {
        drain_bell();
        sweep_asked_ = true;
        bell_rests_ = true;
        bell_rests_until_ = Clock::now() + kBellRest;
      } else if (data == kWake) {
        std::uint64_t counted;
        if (read(wake_, &counted, sizeof counted) > 0) sweep_asked_ = true;
      } else if (data == kLifeline) {
        char ignored[64];
        if (read(lifeline_.fd, ignored, sizeof ignored) == 0) {
          lifeline_broken_ = true;
          epoll_ctl(epoll_, EPOLL_CTL_DEL, lifeline_.fd, nullptr);
        }
      } else {
        // First of all the dead: somebody may be waiting for their locks.
        auto session = static_cast<std::uint32_t>(data);
        if (!recover(session)) stop_listening(session);
      }
    }
    if (!ending_) look(Clock::now());
  }
}

// Where the program itself ended this process's session, the server's threads begin another: the header says which.
void Housekeeper::keep_session() {
  if (segment_->here() == nullptr) return;
  shm::Word own = shm::index_of(segment_->session_index()) + 1;
  auto& announced = segment_->header().server_session;
  if (announced.load(std::memory_order_relaxed) != own) announced.store(own, std::memory_order_release);
}

void Housekeeper::look(Clock::time_point now) {
  keep_session();
  bool full = now >= next_full_look_ || death_is_unproven_;
  retry_after_ = death_is_unproven_ ? std::min(retry_after_ * 2, kLongestRetry) : kFirstRetry;
  death_is_unproven_ = false;
  unannounced_ = false;
  const std::uint32_t used = segment_->sessions_used();
  if (watched_.size() < used) watched_.resize(used);
  for (std::uint32_t session = 0; session < used; ++session) {
    look_at(session);
    if (full && watched_[session].generation != 0) (void)recover(session);
    if (watched_[session].generation != 0 && watched_[session].pidfd < 0) unannounced_ = true;
  }
  const auto next = now + (unannounced_ ? Clock::duration(kFullLookUnannounced) : Clock::duration(kFullLookEvery));
  next_full_look_ = full ? next : std::min(next, next_full_look_);
  // A child that is killed before it has said who it is had the lifeline too: now nobody is left who would announce it.
  if (lifeline_broken_ && unannounced_) death_is_unproven_ = true;
  commit_ahead();
  sweep_when_due(now);
  release_idle(now);
  if (lifeline_broken_ && lifeline_.ended && !others_live()) {
    auto ended = std::move(lifeline_.ended);
    lifeline_.ended = nullptr;
    ended();
  }
}

// Brings what is watched in line with the session's record.
void Housekeeper::look_at(std::uint32_t session) {
  if (segment_->joined() && shm::index_of(segment_->session_index()) == session) return;
  shm::Word state = segment_->session(session).state.load(std::memory_order_acquire);
  std::uint32_t generation = shm::session_state(state) == shm::SessionState::kFree ? 0 : shm::session_generation(state);
  const shm::Word pid = generation == 0 ? 0 : segment_->session(session).pid.load(std::memory_order_acquire);
  if (watched_[session].generation == generation && watched_[session].pid == pid) return;
  if (watched_[session].generation != 0) forget(session);
  if (generation != 0) watch(session, generation);
}

void Housekeeper::watch(std::uint32_t session, std::uint32_t generation) {
  const shm::SessionRecord& record = segment_->session(session);
  const shm::Word pid = record.pid.load(std::memory_order_acquire);
  Watched& watched = watched_[session];
  watched.generation = generation;
  watched.pid = pid;
  bool same_space = record.pid_space.load(std::memory_order_relaxed) == pid_space_;
  // A forked child that has not run yet has no pid; it rings when it has.
  if (same_space && pid != 0) watched.pidfd = static_cast<int>(syscall(SYS_pidfd_open, static_cast<int>(pid), 0));
  if (watched.pidfd >= 0) {
    watched.identity = shm::FileIdentity::of(watched.pidfd);
    // A pidfd is close-on-exec by itself.
    epoll_event event{EPOLLIN, {.u64 = session}};
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, watched.pidfd, &event) != 0) {
      close(watched.pidfd);
      watched.pidfd = -1;
    }
  }
  // It may have died before we watched, and its number may be another process's by now.
  (void)recover(session);
}

// Its process ended, but the proof is not complete or somebody else is at its recovery: looked at by the clock now.
void Housekeeper::stop_listening(std::uint32_t session) {
  Watched& watched = watched_[session];
  shm::close_kept(watched.pidfd, watched.identity);
  watched.pidfd = -1;
  death_is_unproven_ = true;
}

void Housekeeper::forget(std::uint32_t session) {
  Watched& watched = watched_[session];
  shm::close_kept(watched.pidfd, watched.identity);  // closing takes it out of the epoll set
  watched = {};
}

// True when the session is over: recovered, left by itself, or taken by another.
bool Housekeeper::recover(std::uint32_t session) {
  shm::SessionIndex index{session};
  const shm::SessionRecord& record = segment_->session(session);
  if (watched_[session].generation == 0) return true;
  if (shm::session_is_dead(*segment_, index)) {
    shm::ThreadContext* me = segment_->here();
    auto pid = record.pid.load(std::memory_order_relaxed);
    std::string title = title_of(record);
    if (me == nullptr || shm::recover_session(*segment_, *me, index) != shm::Status::kOk) {
      death_is_unproven_ = true;  // somebody else is at it, and may die too
      return false;
    }
    recovered_.fetch_add(1, std::memory_order_relaxed);
    sweep_asked_ = true;
    log_(fmt::format("process {} ({}) died; what it held was released", pid, title));
  }
  shm::Word state = record.state.load(std::memory_order_acquire);
  bool over = shm::session_state(state) == shm::SessionState::kFree ||
              shm::session_generation(state) != watched_[session].generation;
  if (over) forget(session);
  return over;
}

void Housekeeper::sweep_when_due(Clock::time_point now) {
  auto& wanted = segment_->header().memory_wanted;
  if (wanted.load(std::memory_order_relaxed) != 0) {
    wanted.store(0, std::memory_order_relaxed);
    sweep_asked_ = true;
    next_sweep_ = now;
  }
  if (!sweep_asked_ || now < next_sweep_) return;
  sweep_asked_ = false;
  bool unfinished = false;
  // By its own time: a sweep that waits while a large object is made is no work, and makes the next one no later.
  const auto before = thread_time();
  int destroyed = registry_.sweep(&unfinished);
  next_sweep_ = Clock::now() + (thread_time() - before) * kSweepShare;
  sweep_asked_ = unfinished;
  if (destroyed == 0) return;
  destroyed_.fetch_add(static_cast<std::uint64_t>(destroyed), std::memory_order_relaxed);
  sweep_asked_ = true;  // what they contained may be free now
}

// How many free extents the server keeps ready.
std::uint64_t extents_ahead(const shm::Segment& segment) {
  return std::clamp(shm::memory_use(segment).committed / shm::kExtent / 4, kLeastAhead, kMostAhead);
}

void Housekeeper::commit_ahead() {
  const shm::SegmentHeader& header = segment_->header();
  std::uint64_t committed = header.committed_extents.load(std::memory_order_relaxed);
  std::uint64_t ahead = extents_ahead(*segment_);
  std::uint64_t free = header.free_extents.load(std::memory_order_relaxed);
  bool can_grow = committed < header.max_extents || header.unbacked_extents.load(std::memory_order_relaxed) != 0;
  bool wanted = free < (commits_more_ ? ahead : ahead / 2) && can_grow;
  commits_more_ = false;
  if (!wanted) return;
  shm::ThreadContext* me = segment_->here();
  if (me == nullptr) return;
  // A step at a time: the dead are looked after in between, and a client that runs on the same processor is not held up
  // for as long as all of it takes.
  bool is_short = shm::commit_ahead(*me, std::min(ahead, free + kAheadAtOnce)) != shm::Status::kOk;
  commits_more_ = !is_short;
  bool full = header.committed_extents.load(std::memory_order_relaxed) >= header.max_extents;
  if (is_short && !full && !memory_was_short_) log_("the file system of the segment is nearly full");
  memory_was_short_ = is_short;
}

// The least that was free during kReleaseAfter served nobody: it goes, a step at a time, but for what is kept ready.
void Housekeeper::release_idle(Clock::time_point now) {
  releases_more_ = false;
  const std::uint64_t free = segment_->header().free_extents.load(std::memory_order_relaxed);
  const std::uint64_t keep = kKeptOfAhead * extents_ahead(*segment_);
  if (free <= keep) {
    much_is_free_ = false;
    return;
  }
  if (!much_is_free_ || (now >= release_at_ && least_free_ <= keep)) {  // a new time begins
    much_is_free_ = true;
    least_free_ = free;
    release_at_ = now + kReleaseAfter;
  }
  least_free_ = std::min(least_free_, free);
  if (now < release_at_) return;
  shm::ThreadContext* me = segment_->here();
  if (me == nullptr) return;
  const std::uint64_t most = std::min(kReleaseAtOnce, least_free_ - keep);
  const std::uint64_t released =
      shm::release_extents(*me, free - most, most, serves_alone_ && !rpc::has_custom_types());
  least_free_ -= released;
  releases_more_ = released != 0;
  if (released == 0) release_at_ = now + kFullLookEvery;  // all that is left may still be read by somebody
}

bool Housekeeper::others_live() const {
  return std::any_of(watched_.begin(), watched_.end(), [](const Watched& watched) { return watched.generation != 0; });
}

void Housekeeper::drain_bell() const {
  char bytes[4096];
  while (read(bell_, bytes, sizeof bytes) == sizeof bytes) {
  }
}

int Housekeeper::milliseconds_to_sleep(Clock::time_point now) const {
  if (commits_more_ || releases_more_) return 1;
  if (death_is_unproven_) return static_cast<int>(retry_after_.count());
  auto until = next_full_look_;
  bool nobody = watched_.empty() || !others_live();
  if (sweep_asked_) {
    until = std::min(until, next_sweep_);
  } else if (nobody && !bell_rests_ && !much_is_free_) {
    return -1;
  }
  if (much_is_free_) until = std::min(until, release_at_);
  if (bell_rests_) until = std::min(until, bell_rests_until_);
  auto left = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

}  // namespace commonhold::manager
