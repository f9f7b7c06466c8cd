#include <commonhold/detail/links.h>

#include <fmt/format.h>

#include <commonhold/detail/message_pack.h>

#include "proxy/object.h"
#include "shm/item.h"

namespace commonhold::detail {

Word link_word(Object& into, const ObjectHandle& handle) {
  if (handle.shared() == nullptr) {
    throw UsageError(fmt::format("cannot store a proxy that was moved from in {}", description_of(into)));
  }
  Object& object = *handle;
  // A forked child takes its own reference first: whoever stores an object refers to it.
  check(object);
  if (object.segment != into.segment) {
    throw UsageError(
        fmt::format("cannot store {} of the manager in {} in {} of the manager in {}: objects contain only objects of "
                    "their own manager; store a copy of its contents, or its token()",
                    description_of(object), object.segment->folder(), description_of(into), into.segment->folder()));
  }
  return object.id.word();
}

ObjectHandle open_link(Object& from, Word word, const ObjectRequest& request) {
  const shm::ObjectId id = shm::ObjectId::from_word(word);
  shm::ObjectInfo info;
  auto gone = [&]() {
    return LinkGone(word, fmt::format("the object {}.{} that was read in {} is no more", id.index, id.generation,
                                      description_of(from)));
  };
  FoundObject found{from.segment, from.manager, id, request.kind, request.signature};
  if (auto known = find_object_of_process(*from.segment, id)) {
    found.kind = known->kind;
    found.signature = known->signature;
    check_link_type(from, found, request);
    return ObjectHandle(std::move(known));
  }
  if (shm::object_info(*from.segment, id.index, info) != shm::Status::kOk || info.id != id) throw gone();
  found.kind = static_cast<ObjectKind>(info.kind);
  found.signature = info.signature;
  check_link_type(from, found, request);
  try {
    return ObjectHandle(find_or_add_object(found));
  } catch (const ObjectGone&) {
    if (!from.segment->joined()) throw;
    throw gone();
  }
}

// ---- inside of compound values

void Packer::link(const ObjectHandle& object) {
  if (token_) {
    if (object.shared() == nullptr) throw UsageError("cannot send a proxy that was moved from");
    links_.push_back((*object).id.word());
    return extension(kTokenExtension, token_(object));
  }
  if (into_ == nullptr) {
    throw UsageError(fmt::format("{} cannot be stored in a key, or in a value that another type's codec encodes",
                                 object.shared() == nullptr ? "an object" : description_of(*object)));
  }
  const Word word = link_word(*into_, object);
  links_.push_back(word);
  extension(kLinkExtension, {reinterpret_cast<const char*>(&word), sizeof word});
}

std::string Packer::take_linked() {
  std::string all((links_.size() + 1) * sizeof(Word), '\0');
  const Word count = links_.size();
  std::memcpy(all.data(), &count, sizeof count);
  std::memcpy(all.data() + sizeof count, links_.data(), links_.size() * sizeof(Word));
  return all += out_;
}

Unpacker::Unpacker(std::string_view bytes, Object& from, bool linked) : left_(bytes), from_(&from) {
  if (!linked) return;
  Word count = 0;
  if (left_.size() < sizeof count) refuse("the number of links");
  std::memcpy(&count, left_.data(), sizeof count);
  if (count > left_.size() / sizeof(Word) - 1) refuse("as many links as announced");
  left_.remove_prefix((count + 1) * sizeof(Word));
}

ObjectHandle Unpacker::link(const ObjectRequest& request) {
  if (received_) return attach_token(extension(kTokenExtension), request);
  const std::string_view bytes = extension(kLinkExtension);
  Word word = 0;
  if (bytes.size() != sizeof word || from_ == nullptr) refuse("a reference to an object");
  std::memcpy(&word, bytes.data(), sizeof word);
  return open_link(*from_, word, request);
}

}  // namespace commonhold::detail
