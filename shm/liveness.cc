#include "shm/liveness.h"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <new>
#include <sstream>
#include <string>

#include "shm/lock_file.h"

namespace commonhold::shm {

namespace {

// When the process was born on CLOCK_BOOTTIME, 0 when there is none.
Word birth_ns(int pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return 0;
  std::size_t after_name = line.rfind(')');
  if (after_name == std::string::npos) return 0;
  std::istringstream fields(line.substr(after_name + 1));
  std::string field;
  for (int i = 0; i < 20 && fields >> field; ++i) {
  }
  return std::strtoull(field.c_str(), nullptr, 10) * (1'000'000'000 / static_cast<Word>(sysconf(_SC_CLK_TCK)));
}

// A program that replaced its image no longer maps the segment and can never touch it again.
bool maps_segment(int pid, const Segment& segment) {
  std::ifstream maps(fmt::format("/proc/{}/maps", pid));
  if (!maps) return true;  // no proof
  std::string line, wanted = fmt::format(" {} ", segment.memory_identity().inode);
  while (std::getline(maps, line)) {
    if (line.find(wanted) != std::string::npos) return true;
  }
  return !maps.eof();  // a line for which there was no memory proves nothing
}

// A program that replaced its image may map the segment anew. A process has one session at a time, so a later one that
// it really holds ends the earlier.
bool joined_again(const Segment& segment, const SessionRecord& record) {
  const std::uint32_t sessions = segment.sessions_used();
  Word pid = record.pid.load(std::memory_order_relaxed);
  for (std::uint32_t index = 0; index < sessions; ++index) {
    const SessionRecord& other = segment.session(index);
    if (&other == &record || other.pid.load(std::memory_order_relaxed) != pid) continue;
    if (session_state(other.state.load(std::memory_order_acquire)) != SessionState::kLive) continue;
    if (other.joined_ns.load(std::memory_order_relaxed) <= record.joined_ns.load(std::memory_order_relaxed)) continue;
    if (segment.is_own(SessionIndex{index})) return true;  // our own byte looks free to us
    int holder = 0;
    if (byte_is_locked(segment.lock_fd(), kSessionByte + index, &holder) && static_cast<Word>(holder) == pid)
      return true;
  }
  return false;
}

// REQUIRES: a process with that pid lives.
bool is_another_process(const Segment& segment, const SessionRecord& record, int pid) {
  try {
    const Word born = birth_ns(pid);
    // One clock tick of slack: births are counted in ticks.
    if (born > record.joined_ns.load(std::memory_order_relaxed) + 10'000'000) return true;
    return !maps_segment(pid, segment) || joined_again(segment, record);
  } catch (const std::bad_alloc&) {
    return false;  // not known: it is taken for the one as long as nobody has the memory to look
  }
}

// True when somebody holds one of the session's bytes. That of the fork first: the child locks the other one before it
// lets go of the first (fork_session.cc).
bool is_held(const Segment& segment, std::uint32_t index) {
  return byte_is_locked(segment.memory_fd(), kSessionByte + index) ||
         byte_is_locked(segment.lock_fd(), kSessionByte + index);
}

bool process_is_gone(const Segment& segment, const SessionRecord& record) {
  if (record.pid.load(std::memory_order_acquire) == 0) return true;  // it has not run yet: the bytes alone must do
  if (record.pid_space.load(std::memory_order_relaxed) != own_pid_space()) return true;  // the byte alone must do
  int pid = static_cast<int>(record.pid.load(std::memory_order_relaxed));
  auto fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  // ENOENT, in older kernels EINVAL: the number is a thread's of some other process by now.
  if (fd < 0 && pid > 0 && (errno == ENOENT || errno == EINVAL)) return true;
  if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) return kill(pid, 0) != 0 && errno == ESRCH;
  if (fd < 0) return errno == ESRCH;
  pollfd ended{fd, POLLIN, 0};
  bool gone = poll(&ended, 1, 0) == 1;
  close(fd);
  return gone || is_another_process(segment, record, pid);
}

}  // namespace

Word own_pid_space() {
  struct stat status {};
  return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

bool session_process_is_gone(const Segment& segment, SessionIndex session) {
  return process_is_gone(segment, segment.session(index_of(session)));
}

bool session_is_dead(const Segment& segment, SessionIndex session) {
  if (segment.is_own(session)) return false;
  std::uint32_t index = index_of(session);
  const SessionRecord& record = segment.session(index);
  Word state = record.state.load(std::memory_order_acquire);
  if (session_state(state) == SessionState::kFree) return false;
  if (is_held(segment, index)) return false;
  if (!process_is_gone(segment, record)) return false;
  // The same session still? Its record may have been recovered and taken anew meanwhile.
  return session_generation(record.state.load(std::memory_order_acquire)) == session_generation(state) &&
         !is_held(segment, index);
}

bool recoverer_is_dead(const Segment& segment, Word state) {
  const SessionIndex recoverer{recoverer_of(state) - 1};
  // Before the look at its life: a later user of the record is none.
  const Word now = segment.session(index_of(recoverer)).state.load(std::memory_order_acquire);
  return !is_recoverers_generation(state, now) || session_is_dead(segment, recoverer);
}

bool owner_is_dead(const Segment& segment, std::uint32_t owner) {
  std::uint32_t thread = lock_owner_thread(owner);
  if (thread >= kMaxThreads) return true;
  Word claim = segment.thread(thread).claim.load(std::memory_order_acquire);
  std::uint32_t session = static_cast<std::uint32_t>(claim & 0xffff'ffff);
  if (session == 0 || session > kMaxSessions) return true;
  if ((claim >> 32 & kLockGenerationMask) != lock_owner_generation(owner)) return true;
  // A record is free only before its session's threads claim slots, and after they gave them back.
  const Word state = segment.session(session - 1).state.load(std::memory_order_acquire);
  if (session_state(state) == SessionState::kFree) {
    return !segment.is_own(SessionIndex{session - 1}) && !byte_is_locked(segment.lock_fd(), kSessionByte + session - 1);
  }
  return session_is_dead(segment, SessionIndex{session - 1});
}

bool owner_is_stopped(const Segment& segment, std::uint32_t owner) {
  const std::uint32_t pid = owner_pid(segment, owner);
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (pid == 0 || !std::getline(file, line)) return false;
  const std::size_t after_name = line.rfind(')');
  return after_name != std::string::npos && after_name + 2 < line.size() &&
         (line[after_name + 2] == 'T' || line[after_name + 2] == 't');
}

bool announces(const Segment& segment, std::uint32_t owner, const LockWord& word) {
  const std::uint32_t thread = lock_owner_thread(owner);
  if (thread >= kMaxThreads) return false;
  const ThreadRecord& record = segment.thread(thread);
  if (record.overflow.load(std::memory_order_acquire) != 0) return true;
  const Word mark = segment.offset_of(&word) | static_cast<Word>(Announced::kWord);
  // From the end, see ThreadContext::make_room.
  for (std::size_t i = kAnnouncements; i-- > 0;) {
    if (record.announced[i].load(std::memory_order_acquire) == mark) return true;
  }
  return false;
}

// Without memory of its own: waiters for a lock call it, under other locks.
std::optional<std::uint64_t> rests_of_thread(const Segment& segment, std::uint32_t thread) {
  const ThreadRecord& record = segment.thread(thread);
  const auto session = static_cast<std::uint32_t>(record.claim.load(std::memory_order_acquire));
  if (session == 0 || session > kMaxSessions) return std::nullopt;
  const SessionRecord& of = segment.session(session - 1);
  if (of.pid_space.load(std::memory_order_relaxed) != own_pid_space())
    return std::nullopt;  // its numbers mean others here
  char path[48], text[4096];
  std::snprintf(path, sizeof path, "/proc/%u/status",
                static_cast<unsigned>(record.kernel_id.load(std::memory_order_relaxed)));
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  const ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  text[got > 0 ? got : 0] = '\0';
  const auto field = [&](const char* name) -> const char* {
    const char* at = std::strstr(text, name);
    return at != nullptr ? at + std::strlen(name) : nullptr;
  };
  const char *state = field("\nState:\t"), *process = field("\nTgid:\t");
  const char *yielded = field("\nvoluntary_ctxt_switches:\t"), *preempted = field("\nnonvoluntary_ctxt_switches:\t");
  if (state == nullptr || process == nullptr || yielded == nullptr || preempted == nullptr) return std::nullopt;
  if (std::strtoull(process, nullptr, 10) != of.pid.load(std::memory_order_relaxed)) return std::nullopt;
  if (*state == 'R') return std::nullopt;
  return std::strtoull(yielded, nullptr, 10) + std::strtoull(preempted, nullptr, 10);
}

namespace {

// The session whose thread that owner is, 0 for none, else its index + 1.
std::uint32_t session_of_owner(const Segment& segment, std::uint32_t owner) {
  std::uint32_t thread = lock_owner_thread(owner);
  if (thread >= kMaxThreads) return 0;
  Word claim = segment.thread(thread).claim.load(std::memory_order_acquire);
  auto session = static_cast<std::uint32_t>(claim & 0xffff'ffff);
  if (session > kMaxSessions || (claim >> 32 & kLockGenerationMask) != lock_owner_generation(owner)) return 0;
  return session;
}

std::uint32_t pid_of(const Segment& segment, std::uint32_t session) {
  if (session == 0 || session > kMaxSessions) return 0;
  return static_cast<std::uint32_t>(segment.session(session - 1).pid.load(std::memory_order_relaxed));
}

}  // namespace

std::uint32_t owner_pid(const Segment& segment, std::uint32_t owner) {
  return pid_of(segment, session_of_owner(segment, owner));
}

std::uint32_t awaited_pid(const Segment& segment, std::uint32_t owner) {
  const std::uint32_t session = session_of_owner(segment, owner);
  if (session == 0) return 0;
  const Word state = segment.session(session - 1).state.load(std::memory_order_acquire);
  const bool recovered = session_state(state) == SessionState::kRecovering;
  return pid_of(segment, recovered ? recoverer_of(state) : session);
}

}  // namespace commonhold::shm
