// What can go wrong, as types. Every message names the operands: the key, the object, the limit, the pid.
//
//   Error
//   |- LookupError                               what was asked for is not there; a std::out_of_range
//   |    KeyError -- AttributeError, IndexError
//   `- RuntimeError                              all others; a std::runtime_error
//      |- ValueError -- Closed                   an argument outside of what the call takes
//      |- Full, Empty                            a queue that has no room, or no item, in time
//      |- TypeMismatch -- OptionsMismatch        the object is another one than you thought
//      |- NameError, ObjectGone                  ... or none
//      |- LockError -- NotHeld, Poisoned         a lock that is free, or whose owner died
//      |- TimeoutError, Stopped                  nothing happened in time; a stop was requested meanwhile (stop.h)
//      |- BrokenBarrier                          somebody that the others waited for will not come
//      |- OutOfMemory, LimitReached              nothing was changed; make room
//      |- ServerGone, RemoteError, AuthenticationError
//      |- ServerError                            a server in this program could not start (server.h)
//      |- EndOfFile, BufferTooShort              a connection's other end is closed; a message too long for its place
//      |- TaskError                              a pool's task that has no result:
//      |    WorkerDied, PoolTerminated, TaskCancelled, TaskTimeout
//      |- UsageError -- ProcessError             the calling program's mistake
//      |- SystemError                            the operating system refused
//      `- CorruptSegment                         shared memory holds bytes that this library does not write
//
// Absence is an error only where the call promises a value: find(), get(key, default) and the try_ functions return.
#pragma once

#include <commonhold/detail/language.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace commonhold {

// No std::exception itself, so that whatever derives from it is one exactly once: a catch of std::exception takes all.
class Error {
 public:
  virtual ~Error();
  virtual const char* what() const noexcept = 0;

 protected:
  Error() = default;
  Error(const Error&) = default;
  Error& operator=(const Error&) = default;
};

// What was asked for is not there.
class LookupError : public Error, public std::out_of_range {
 public:
  using std::out_of_range::out_of_range;
  const char* what() const noexcept override { return std::out_of_range::what(); }
};

// The base of all others.
class RuntimeError : public Error, public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  const char* what() const noexcept override { return std::runtime_error::what(); }
};

// at(), pop() and the like on a key that a dict does not have.
class KeyError : public LookupError {
 public:
  using LookupError::LookupError;
};

// An attribute that a Namespace does not have.
class AttributeError : public KeyError {
 public:
  using KeyError::KeyError;
};

// An index outside a list or array; an element of an empty list.
class IndexError : public LookupError {
 public:
  using LookupError::LookupError;
};

// A value that a list does not hold; an argument outside what a call takes.
class ValueError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// A queue that has no room in the time that was given. Nothing was put.
class Full : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// A queue in which nothing came in the time that was given.
class Empty : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// What this process closed: a queue, a connection, a process, a pool; or a queue that was shut down.
class Closed : public ValueError {
 public:
  using ValueError::ValueError;
};

// An object of another type than the one it was opened as.
class TypeMismatch : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// A named object that was made with other options than the caller gave. Without options it is opened as it is.
class OptionsMismatch : public TypeMismatch {
 public:
  using TypeMismatch::TypeMismatch;
};

// An object's or manager's name: unknown, taken, or not one that can be given.
class NameError : public RuntimeError {
 public:
  enum class Reason { kUnknown, kTaken, kInvalid };
  NameError(Reason reason, const std::string& message) : RuntimeError(message), reason_(reason) {}
  Reason reason() const noexcept { return reason_; }

 private:
  Reason reason_;
};

// The object behind a proxy or token was destroyed: nobody referred to it any more, or its manager ended.
class ObjectGone : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

class LockError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// Release of a lock that is free, or of an RLock that another holds; wait and notify of a condition whose lock the
// caller does not hold.
class NotHeld : public LockError {
 public:
  using LockError::LockError;
};

// The lock's owner died holding it, and the lock was made to ask for a repair first: repair what the lock
// guards, then call mark_consistent(). The lock is not held by the caller.
class Poisoned : public LockError {
 public:
  Poisoned(int died_pid, const std::string& message) : LockError(message), died_pid_(died_pid) {}
  int died_pid() const noexcept { return died_pid_; }

 private:
  int died_pid_;
};

// Nothing happened within the time that was given.
class TimeoutError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// A wait that a StopScope of its thread ended (stop.h).
class Stopped : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// A barrier's parties will not come together: the message says why. After a reset() it can be used again.
class BrokenBarrier : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// The manager's memory limit or the file system is full. Nothing was changed.
class OutOfMemory : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// A fixed limit: an item of 4 GiB, too many client processes, threads or objects. Nothing was changed.
class LimitReached : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// No server answers, within a bounded time. Objects that are open already go on working without one.
class ServerGone : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// The server failed to do what was asked, for a reason of its own; or a method of a custom object threw.
class RemoteError : public RuntimeError {
 public:
  explicit RemoteError(const std::string& message, std::string type = {})
      : RuntimeError(message), type_(std::move(type)) {}
  // Of the exception that a method threw, as C++ writes it: "std::out_of_range". Empty for all else.
  const std::string& type() const noexcept { return type_; }

 private:
  std::string type_;
};

// The authkey is missing or wrong.
class AuthenticationError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// A call that the program should not have made: a manager that was shut down, a process started twice.
class UsageError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// The other end of a connection is closed, and everything that it sent was received.
class EndOfFile : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// A message that does not fit where it was to go. It was received, and is here.
class BufferTooShort : public RuntimeError {
 public:
  BufferTooShort(std::string bytes, const std::string& message) : RuntimeError(message), bytes_(std::move(bytes)) {}
  const std::string& bytes() const noexcept { return bytes_; }

 private:
  std::string bytes_;
};

// A pool's task ended without a result: what it threw is of a type that this program cannot make again (pool.h).
class TaskError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

// The worker died that had the task: signal() killed it, or, when that is 0, it ended itself with status().
class WorkerDied : public TaskError {
 public:
  WorkerDied(int pid, int signal, int status, const std::string& message)
      : TaskError(message), pid_(pid), signal_(signal), status_(status) {}
  int pid() const noexcept { return pid_; }
  int signal() const noexcept { return signal_; }
  int status() const noexcept { return status_; }

 private:
  int pid_, signal_, status_;
};

// The pool was terminated before the task had ended.
class PoolTerminated : public TaskError {
 public:
  using TaskError::TaskError;
};

// AsyncResult::cancel() was called before the task had ended.
class TaskCancelled : public TaskError {
 public:
  using TaskError::TaskError;
};

// The task ran for longer than it was given (limited()); its worker was ended.
class TaskTimeout : public TaskError {
 public:
  using TaskError::TaskError;
};

// The operating system refused; code() is errno.
class SystemError : public RuntimeError {
 public:
  SystemError(int code, const std::string& message) : RuntimeError(message), code_(code) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

// Shared memory holds what no writer of ours writes.
class CorruptSegment : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
};

}  // namespace commonhold
