// FileDescriptor: an open file, socket or pipe of the system, which travels to other processes where values do.
//
//   commonhold::FileDescriptor log(open("server.log", O_WRONLY | O_APPEND));      // closes it at its end
//   pipe.first.send(log);                                                     // the receiver has one of its own
//   pool.apply(write_line, log, std::string("started"));
//   sockets.put(FileDescriptor(accept(listening, nullptr, nullptr)));             // a queue of accepted sockets
//
// Sending leaves the sender's open. Through a Connection the descriptor itself goes. In queues and other shared objects a
// ticket is stored: every process of the same program (its authkey) that reads it gets a descriptor of its own, while the
// process that put it lives. That one keeps a copy open until the ticket is taken out (get(), pop() and the like; where a
// queue redelivers, until task_done()), or nobody has come with it for an hour: so it is with one that was overwritten or
// erased, or whose taker was killed while it took it. A ticket whose sender has ended is a SystemError, once where it is
// taken: the item is gone then. While its sender is stopped it is one with code ETIMEDOUT, and the item stays.
//
// Thread safety: as a std::unique_ptr.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <commonhold/codec.h>

namespace commonhold {

class FileDescriptor {
 public:
  // Takes it over. ValueError for what is not open.
  explicit FileDescriptor(int descriptor);
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~FileDescriptor();

  int get() const { return descriptor_; }  // stays this object's; -1 once it was released
  int release() { return std::exchange(descriptor_, -1); }
  FileDescriptor duplicate() const;

 private:
  int descriptor_;
};

namespace detail {
std::string offer_descriptor(const FileDescriptor& descriptor);
FileDescriptor redeem_descriptor(std::string_view ticket);
// Ends an offer of this process; nothing where it was taken already, or is no ticket.
void withdraw_offer(std::string_view ticket) noexcept;
}  // namespace detail

template <>
struct Codec<FileDescriptor> {
  static constexpr std::string_view name = "descriptor";
  static constexpr bool is_ticket = true;
  static std::string encode(const FileDescriptor& descriptor) { return detail::offer_descriptor(descriptor); }
  static FileDescriptor decode(std::string_view bytes) { return detail::redeem_descriptor(bytes); }
};

}  // namespace commonhold
