// Objects as text: "commonhold:1:<index>.<generation>:<nonce of the segment>:<folder>"; in a message
// "commonhold:2:<cell>.<expires>:<index>. ...", which names what keeps the object meanwhile (shm/in_flight.h).
#include <fmt/format.h>

#include <charconv>
#include <optional>

#include <commonhold/errors.h>

#include "proxy/errors.h"
#include "proxy/object.h"
#include "shm/in_flight.h"
#include "shm/printable.h"

namespace commonhold::detail {

namespace {

constexpr std::string_view kPrefix = "commonhold:1:";
constexpr std::string_view kFlightPrefix = "commonhold:2:";

// Takes a number and the character behind it off the front of `text`.
template <typename Number>
bool take_number(std::string_view& text, Number& number, char behind, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end == text.data() + text.size() || *end != behind) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

struct Token {
  std::optional<shm::InFlight> flight;
  shm::ObjectId id;
  std::uint64_t nonce = 0;
  std::string folder;
};

Token parse(std::string_view text) {
  Token token;
  std::string_view rest = text;
  const bool flies = rest.starts_with(kFlightPrefix);
  bool sound = flies || rest.starts_with(kPrefix);
  if (sound) rest.remove_prefix(kPrefix.size());
  if (flies) {
    shm::InFlight& flight = token.flight.emplace();
    sound = take_number(rest, flight.cell, '.', 16) && take_number(rest, flight.expires, ':', 16);
  }
  sound = sound && take_number(rest, token.id.index, '.', 10) && take_number(rest, token.id.generation, ':', 10) &&
          take_number(rest, token.nonce, ':', 16) && rest.starts_with('/');
  if (!sound) {
    throw ValueError(fmt::format("\"{}\" is no token: one looks like \"{}7.1:9f86d081884c7d65:/dev/shm/...\"",
                                 shm::printable(text), kPrefix));
  }
  token.folder = rest;
  return token;
}

const char* word_for(ObjectKind kind) {
  return shm::to_string(static_cast<shm::ObjectKind>(kind));
}

std::string names_of(const Object& object) {
  return fmt::format("{}.{}:{:016x}:{}", object.id.index, object.id.generation, object.segment->header().nonce,
                     object.segment->folder());
}

}  // namespace

std::string token_of(Object& object) {
  check(object);
  return fmt::format("{}{}", kPrefix, names_of(object));
}

std::string token_in_flight(Object& object) {
  check(object);
  shm::InFlight flight;
  const shm::Status status = shm::begin_flight(*object.segment, object.id, flight);
  if (status == shm::Status::kGone) throw_join_failure(*object.segment);
  if (status != shm::Status::kOk) throw_status(status, object, "send");
  return fmt::format("{}{:x}.{:x}:{}", kFlightPrefix, flight.cell, flight.expires, names_of(object));
}

ObjectHandle attach_token(std::string_view text, const ObjectRequest& request) {
  const Token token = parse(text);
  FoundObject found;
  try {
    found.segment = shm::Segment::open(token.folder);
  } catch (const shm::SegmentError& error) {
    if (error.code() != shm::SegmentError::Code::kNotFound) throw_segment_error(error, token.folder);
    throw ObjectGone(
        fmt::format("the manager of the token \"{}\" is no more: {}", shm::printable(text, 400), error.what()));
  }
  shm::ObjectInfo info;
  if (found.segment->header().nonce != token.nonce ||
      shm::object_info(*found.segment, token.id.index, info) != shm::Status::kOk || info.id != token.id) {
    throw ObjectGone(
        fmt::format("the object of the token \"{}\" was destroyed: whoever hands a token out keeps its "
                    "proxy until the other side has attached",
                    shm::printable(text, 400)));
  }
  if (request.kind != ObjectKind::kNone && !matches(request, static_cast<ObjectKind>(info.kind), info.signature)) {
    throw TypeMismatch(fmt::format("the object of the token \"{}\" is a {} ({}); it was attached as a {} ({})",
                                   shm::printable(text, 400), shm::to_string(info.kind), info.signature,
                                   word_for(request.kind), request.signature));
  }
  found.id = token.id;
  found.kind = static_cast<ObjectKind>(info.kind);
  found.signature = info.signature;
  ObjectHandle handle(find_or_add_object(found));
  if (token.flight) shm::end_flight(*found.segment, token.id, *token.flight);
  return handle;
}

}  // namespace commonhold::detail
