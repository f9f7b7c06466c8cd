// References to other objects inside of stored values: from a proxy to an ObjectId and back.
#pragma once

#include <cstdint>
#include <utility>

#include <commonhold/detail/call.h>
#include <commonhold/detail/item.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/shape.h>
#include <commonhold/detail/tickets.h>
#include <commonhold/errors.h>

namespace commonhold::detail {

// The object of an item that was read is no more: somebody removed the item meanwhile.
class LinkGone : public ObjectGone {
 public:
  LinkGone(Word id, const std::string& message) : ObjectGone(message), id_(id) {}
  Word id() const noexcept { return id_; }

 private:
  Word id_;
};

// The id of an object that is to be stored in `into`. UsageError unless both belong to one manager.
COMMONHOLD_CALL Word link_word(Object& into, const ObjectHandle& object);

// The object of an id that was read in `from`; it is this process's from now on. Throws LinkGone, and TypeMismatch
// unless it is what `request` says (kNone: anything).
COMMONHOLD_CALL ObjectHandle open_link(Object& from, Word id, const ObjectRequest& request);

// Values that are read anew when something that they refer to was gone.
template <typename T>
inline constexpr bool kReadAnew = kMayLink<T> || kHasTickets<T>;

// Reads until all references of what was read could be taken: read() looks at the container anew each time. An id that
// is met again after it was gone is in the container for good.
template <typename T, typename Read>
auto reading_links(Read&& read) -> decltype(read()) {
  if constexpr (!kMayLink<T>) {
    return reading_tickets<T>(read);
  } else {
    for (Word gone = 0;;) {
      try {
        return reading_tickets<T>(read);
      } catch (const LinkGone& error) {
        if (error.id() == gone) throw;
        gone = error.id();
      }
    }
  }
}

}  // namespace commonhold::detail
