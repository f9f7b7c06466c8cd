#include <commonhold/event.h>

#include <ostream>

#include "proxy/object.h"
#include "proxy/waiting.h"
#include "shm/event.h"

namespace commonhold {

std::ostream& operator<<(std::ostream& out, const Event& event) {
  return out << '<' << detail::description_of(*event.handle_) << (event.is_set() ? " set>" : " unset>");
}

namespace detail {

namespace {

shm::Event& of(Object& object) {
  return structure_of<shm::Event>(object);
}

}  // namespace

bool event_is_set(Object& event) {
  return of(event).is_set();
}

void event_set(Object& event) {
  const shm::Event& structure = of(event);
  structure.set(here(event));
}

void event_clear(Object& event) {
  of(event).clear();
}

bool event_wait(Object& event, std::int64_t wait) {
  return of(event).wait(deadline_after(wait)) == shm::Status::kOk || out_of_time(wait, event, "wait for");
}

}  // namespace detail
}  // namespace commonhold
