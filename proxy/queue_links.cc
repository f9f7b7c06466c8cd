#include <commonhold/detail/queue_calls.h>

#include <algorithm>
#include <cstring>

#include "proxy/errors.h"
#include "proxy/items.h"
#include "proxy/object.h"
#include "shm/links.h"
#include "shm/references.h"

namespace commonhold::detail {

void HeldLinks::hold(Object& queue, ItemKind kind, std::string_view bytes) {
  drop();
  queue_ = &queue;
  auto word = [&](std::size_t i) {
    Word value = 0;
    if ((i + 1) * sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    return value;
  };
  const bool one = kind == ItemKind::kReference;
  const std::size_t first = one ? 0 : 1, most = bytes.size() / sizeof(Word);
  const std::size_t end = one ? std::min<std::size_t>(most, 1) : std::min<std::size_t>(most, first + word(0));
  shm::Status status = shm::Status::kOk;
  for (std::size_t i = first; i < end && status == shm::Status::kOk; ++i) {
    shm::Offset cell = 0;
    status = shm::note_taken(*queue.segment, shm::ObjectId::from_word(word(i)), cell);
    if (status == shm::Status::kOk) cells_.emplace_back(word(i), cell);
  }
  shm::end_taking(here(queue).record());
  if (status != shm::Status::kOk) throw_status(status, queue, "refer to what was taken from");
  tell_of_removal(queue);
}

void HeldLinks::drop() {
  for (const auto& [id, cell] : cells_) shm::drop_reference(*queue_->segment, shm::ObjectId::from_word(id), cell);
  cells_.clear();
}

}  // namespace commonhold::detail
