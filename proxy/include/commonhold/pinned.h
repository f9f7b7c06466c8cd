// Pinned<V>: a dict's value read where it lies in shared memory, without a copy.
//
// The bytes stay as they are until the Pinned goes away, whatever others put under the key meanwhile. Each
// thread can pin four values at a time; further ones are copies, which looks the same. Meant to be
// short-lived: memory that is pinned is not used again.
//
// Thread safety: to be used and destroyed by the thread that pinned. A death ends its pins.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <commonhold/detail/dict_calls.h>
#include <commonhold/detail/encoded.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/present.h>

namespace commonhold {

template <typename V>
class Pinned {
 public:
  Pinned(Pinned&& other) noexcept
      : handle_(std::move(other.handle_)), pinned_(std::exchange(other.pinned_, {})), copy_(std::move(other.copy_)) {}
  Pinned& operator=(Pinned&& other) noexcept {
    release();
    handle_ = std::move(other.handle_);
    pinned_ = std::exchange(other.pinned_, {});
    copy_ = std::move(other.copy_);
    return *this;
  }
  ~Pinned() { release(); }

  // Numbers as V; structs as const V&; text, and what a codec wrote, as std::string_view; bytes as a span.
  decltype(auto) operator*() const {
    if constexpr (detail::kShape<V> == detail::Shape::kWord) {
      return detail::decode<V>(bytes());
    } else if constexpr (detail::kShape<V> == detail::Shape::kStruct) {
      return detail::present(static_cast<const V*>(pinned_.data), "a Pinned");
    } else if constexpr (detail::kShape<V> == detail::Shape::kBytes) {
      return std::span(reinterpret_cast<const std::byte*>(bytes().data()), pinned_.size);
    } else {
      return bytes();
    }
  }
  const V* operator->() const requires(detail::kShape<V> == detail::Shape::kStruct) {
    return &detail::present(static_cast<const V*>(pinned_.data), "a Pinned");
  }
  // UsageError, as the above, for one that was moved from.
  std::string_view bytes() const {
    return {&detail::present(static_cast<const char*>(pinned_.data), "a Pinned"), pinned_.size};
  }
  // False: there was no free pin, or the place is not aligned for V, or V is a number, and this is a copy.
  bool in_place() const { return pinned_.thread != 0; }

 private:
  template <typename, typename>
  friend class Dict;

  Pinned(detail::ObjectHandle handle, const detail::PinnedBytes& pinned)
      : handle_(std::move(handle)), pinned_(pinned) {}
  explicit Pinned(std::string_view bytes) { copy(bytes); }

  void copy(std::string_view bytes) {
    constexpr std::size_t kAlignment = detail::kIsFixed<V> ? std::max<std::size_t>(alignof(V), 8) : 8;
    copy_.resize(bytes.size() + kAlignment);
    void* place = copy_.data();
    std::size_t space = copy_.size();
    std::align(kAlignment, bytes.size(), place, space);
    std::memcpy(place, bytes.data(), bytes.size());
    pinned_ = {place, bytes.size(), 0, 0};
  }
  void release() noexcept {
    if (pinned_.thread != 0) detail::dict_unpin(*handle_, pinned_);
    pinned_ = {};
  }

  detail::ObjectHandle handle_;
  detail::PinnedBytes pinned_;
  std::vector<std::byte> copy_;
};

}  // namespace commonhold
