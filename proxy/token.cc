// Objects as text: "commonhold:1:<index>.<generation>:<nonce of the segment>:<folder>".
#include <fmt/format.h>

#include <charconv>

#include <commonhold/errors.h>

#include "proxy/errors.h"
#include "proxy/object.h"

namespace commonhold::detail {

namespace {

constexpr std::string_view kPrefix = "commonhold:1:";

// Takes a number and the character behind it off the front of `text`.
template <typename Number>
bool take_number(std::string_view& text, Number& number, char behind, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end == text.data() + text.size() || *end != behind) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

struct Token {
  shm::ObjectId id;
  std::uint64_t nonce = 0;
  std::string folder;
};

Token parse(std::string_view text) {
  Token token;
  std::string_view rest = text;
  bool sound = rest.starts_with(kPrefix);
  if (sound) rest.remove_prefix(kPrefix.size());
  sound = sound && take_number(rest, token.id.index, '.', 10) && take_number(rest, token.id.generation, ':', 10) &&
          take_number(rest, token.nonce, ':', 16) && rest.starts_with('/');
  if (!sound) {
    throw ValueError(fmt::format("\"{}\" is no token: one looks like \"{}7.1:9f86d081884c7d65:/dev/shm/...\"",
                                 text.substr(0, 200), kPrefix));
  }
  token.folder = rest;
  return token;
}

const char* word_for(ObjectKind kind) {
  return shm::to_string(static_cast<shm::ObjectKind>(kind));
}

}  // namespace

std::string token_of(Object& object) {
  check(object);
  return fmt::format("{}{}.{}:{:016x}:{}", kPrefix, object.id.index, object.id.generation,
                     object.segment->header().nonce, object.segment->folder());
}

ObjectHandle attach_token(std::string_view text, const ObjectRequest& request) {
  const Token token = parse(text);
  FoundObject found;
  try {
    found.segment = shm::Segment::open(token.folder);
  } catch (const shm::SegmentError& error) {
    if (error.code() != shm::SegmentError::Code::kNotFound) throw_segment_error(error, token.folder);
    throw ObjectGone(fmt::format("the manager of the token \"{}\" is no more: {}", text, error.what()));
  }
  shm::ObjectInfo info;
  if (found.segment->header().nonce != token.nonce ||
      shm::object_info(*found.segment, token.id.index, info) != shm::Status::kOk || info.id != token.id) {
    throw ObjectGone(
        fmt::format("the object of the token \"{}\" was destroyed: whoever hands a token out keeps its "
                    "proxy until the other side has attached",
                    text));
  }
  if (!matches(request, static_cast<ObjectKind>(info.kind), info.signature)) {
    throw TypeMismatch(fmt::format("the object of the token \"{}\" is a {} ({}); it was attached as a {} ({})", text,
                                   shm::to_string(info.kind), info.signature, word_for(request.kind),
                                   request.signature));
  }
  found.id = token.id;
  found.kind = request.kind;
  found.signature = info.signature;
  return ObjectHandle(find_or_add_object(found));
}

}  // namespace commonhold::detail
