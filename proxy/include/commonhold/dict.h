// Dict<K, V>: a hash map that all processes of a manager share, in insertion order.
//
//   auto scores = manager.dict<std::string, std::int64_t>({{"anna", 3}});
//   scores["anna"] += 1;                           // atomically: no other process comes in between
//   for (auto [name, score] : scores) ...          // a copy of one moment
//   if (auto score = scores.find("bert")) ...
//
// A Dict is a reference: copies mean the same shared dict, and const ones change it as well. Keys and values
// are copied in and out; codec.h says which types can be stored. Text keys are taken as std::string_view.
//
// Thread safety: any thread of any process, without a lock of yours. Each call is atomic, for readers of single keys
// and of size() too: those on several keys (update, assign, put_many, get_many, clear) and those that read all of it
// (items, keys, ==, iteration); only `d[k] = d[k] + 1` is two. Reading takes no lock and makes no system call, unless
// writers change the same shards all the time; a writer that is stopped never holds up a reader. User code (codecs,
// update functions) never runs under a lock.
//
// When a process dies: each call it made has happened as a whole or not at all, and nobody is held up.
//
// Every call may throw OutOfMemory where it stores, LimitReached, ObjectGone and CorruptSegment (errors.h).
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <ostream>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <commonhold/detail/dict_calls.h>
#include <commonhold/detail/element_reference.h>
#include <commonhold/detail/encoded.h>
#include <commonhold/detail/encoded_batch.h>
#include <commonhold/detail/object_handle.h>
#include <commonhold/detail/signature.h>
#include <commonhold/detail/snapshot.h>
#include <commonhold/detail/tickets.h>
#include <commonhold/errors.h>
#include <commonhold/pinned.h>
#include <commonhold/watch.h>

namespace commonhold {

template <typename K, typename V>
class Dict {
  static_assert(sizeof(detail::RequireKey<K>) != 0);
  static_assert(sizeof(detail::RequireStorable<V>) != 0);

 public:
  using key_type = K;
  using mapped_type = V;
  using value_type = std::pair<K, V>;
  using size_type = std::size_t;
  using const_iterator = detail::SnapshotIterator<value_type>;
  using KeyArg = detail::Argument<K>;
  using ValueArg = detail::Argument<V>;
  using reference =
      detail::ElementReference<Dict, std::conditional_t<detail::kShape<K> == detail::Shape::kText, std::string_view, K>,
                               V>;

  // ---- looking up

  // Throws KeyError.
  V at(KeyArg key) const {
    if (auto value = find(key)) [[likely]]
      return *std::move(value);
    detail::throw_key_error(*handle_, detail::printed(key));
  }
  std::optional<V> find(KeyArg key) const;
  // The value, or `otherwise` when the key is absent.
  V get(KeyArg key, V otherwise) const {
    auto value = find(key);
    return value ? *std::move(value) : std::move(otherwise);
  }
  // The value's text or bytes into a buffer of yours, whose memory is used again; false when the key is absent.
  bool get_into(KeyArg key, std::string& buffer) const requires(!detail::kIsFixed<V> && !detail::kMayLink<V>) {
    return detail::dict_get_bytes(*handle_, detail::EncodedKey<K>(key).item(), buffer);
  }
  bool contains(KeyArg key) const { return detail::dict_contains(*handle_, detail::EncodedKey<K>(key).item()); }
  size_type count(KeyArg key) const { return contains(key) ? 1 : 0; }
  size_type size() const { return detail::dict_size(*handle_); }
  bool empty() const { return size() == 0; }

  // The values of several keys at one moment.
  template <std::ranges::input_range Keys = std::initializer_list<K>>
  std::vector<std::optional<V>> get_many(Keys&& keys) const;

  // Calls use(value) on the value where it lies in shared memory (text and bytes as std::string_view, structs
  // as const V&) and gives its result. Others may put another value meanwhile; this one stays until `use`
  // returns. Throws KeyError.
  template <typename Use>
  decltype(auto) read(KeyArg key, Use&& use) const requires(!detail::kMayLink<V>) {
    Pinned<V> value = pin(key);
    return std::forward<Use>(use)(*value);
  }
  // The same for a longer time, at most four values a thread (more are copied). Throws KeyError.
  Pinned<V> pin(KeyArg key) const requires(!detail::kMayLink<V>);

  // A place to read (KeyError when absent), assign and count on: d[k], d[k] = v, d[k] += n, ++d[k]. The
  // arithmetic is atomic; an absent key starts from zero (from V{} where V is no number).
  reference operator[](KeyArg key) const { return {*this, key}; }
  template <std::same_as<std::string> Key>
  requires std::same_as<K, std::string>
  auto operator[](Key&& key) const {
    return detail::ElementReference<Dict, std::string, V>(*this, std::forward<Key>(key));
  }

  // ---- storing

  void put(KeyArg key, ValueArg value) const {
    detail::dict_put(*handle_, detail::EncodedKey<K>(key).item(), detail::Encoded<V>(*handle_, value).item());
  }
  // True when the key was absent and the value was stored.
  bool insert(KeyArg key, ValueArg value) const { return put_if(key, value, detail::PutMode::kInsertOnly); }
  bool insert(const value_type& entry) const { return insert(entry.first, entry.second); }
  // True when the key was present and the value was stored.
  bool replace(KeyArg key, ValueArg value) const { return put_if(key, value, detail::PutMode::kReplaceOnly); }
  // True when the key was absent; the value is stored in any case.
  bool insert_or_assign(KeyArg key, ValueArg value) const {
    bool present = false;
    detail::dict_put_if(*handle_, detail::EncodedKey<K>(key).item(), detail::Encoded<V>(*handle_, value).item(),
                        detail::PutMode::kPut, nullptr, &present);
    return !present;
  }
  template <typename... Args>
  bool try_emplace(KeyArg key, Args&&... args) const {
    return insert(key, V(std::forward<Args>(args)...));
  }
  template <typename... Args>
  bool emplace(KeyArg key, Args&&... args) const {
    return insert(key, V(std::forward<Args>(args)...));
  }
  // The value that is there, after storing `value` if there was none.
  V setdefault(KeyArg key, ValueArg value) const;
  // The value that was there, if any.
  std::optional<V> exchange(KeyArg key, ValueArg value) const;

  // Several entries atomically; others of the dict stay. A later one of an equal key wins. The entries of a large batch
  // are written while others change the dict; its other writers wait only while all of them are put in place, some 0.1
  // to 0.2 us a key. Readers never wait. Another large batch waits for the first.
  template <std::ranges::input_range Entries = std::initializer_list<value_type>>
  void update(Entries&& entries) const {
    detail::dict_put_many(*handle_, detail::PairBatch<K, V>(entries, *handle_).items());
  }
  template <std::ranges::input_range Entries = std::initializer_list<value_type>>
  void put_many(Entries&& entries) const {
    update(entries);
  }
  // These entries in the place of all that is there, atomically.
  template <std::ranges::input_range Entries = std::initializer_list<value_type>>
  void assign(Entries&& entries) const {
    detail::dict_assign(*handle_, detail::PairBatch<K, V>(entries, *handle_).items());
  }

  // ---- changing atomically

  // Adds, and gives the value before; an absent key starts from zero.
  V fetch_add(KeyArg key, V operand) const requires detail::kIsNumber<V> {
    return change_element<detail::Change::kAdd>(key, operand);
  }
  V fetch_sub(KeyArg key, V operand) const requires detail::kIsNumber<V> {
    return change_element<detail::Change::kSubtract>(key, operand);
  }
  // Stores `desired` where the value is `expected`; otherwise false, and `expected` gets the value. Values
  // are equal when their stored bytes are. Throws KeyError.
  bool compare_exchange(KeyArg key, V& expected, ValueArg desired) const;

  // Stores fn(value) and gives it. Optimistic: when another process changed the value meanwhile, fn is called
  // again with the new one. Throws KeyError.
  template <std::invocable<V> Fn>
  V update(KeyArg key, Fn&& fn) const {
    return update_from(key, nullptr, fn);
  }
  // The same; an absent key starts from `start`.
  template <std::invocable<V> Fn>
  V update(KeyArg key, const V& start, Fn&& fn) const {
    return update_from(key, &start, fn);
  }

  // ---- removing

  // How many were removed: 0 or 1.
  size_type erase(KeyArg key) const {
    return detail::dict_erase(*handle_, detail::EncodedKey<K>(key).item(), nullptr) ? 1 : 0;
  }
  V pop(KeyArg key) const {
    if (auto value = try_pop(key)) return *std::move(value);
    detail::throw_key_error(*handle_, detail::printed(key));
  }
  V pop(KeyArg key, V otherwise) const {
    auto value = try_pop(key);
    return value ? *std::move(value) : std::move(otherwise);
  }
  std::optional<V> try_pop(KeyArg key) const;
  // The entry that was inserted last. Throws KeyError when there is none.
  value_type popitem() const;
  void clear() const { detail::dict_clear(*handle_); }

  // ---- all of it, at one moment, in insertion order
  // Insertions that overlap in time may appear in either order: an entry that becomes visible later can precede one that
  // was already read.

  std::vector<K> keys() const;
  std::vector<V> values() const;
  std::vector<value_type> items() const;
  template <typename Map>
  Map to() const {
    auto all = items();
    return Map(all.begin(), all.end());
  }
  const_iterator begin() const { return const_iterator(items()); }
  const_iterator end() const { return {}; }

  // The same entries, in whatever order.
  friend bool operator==(const Dict& a, const Dict& b) {
    if (a.handle_ == b.handle_) return true;
    return a.equals(b.items());
  }
  template <typename Map>
  requires requires { typename Map::mapped_type; }
  friend bool operator==(const Dict& dict, const Map& map) { return dict.equals(map); }

  // {"anna": 3, "bert": 4}
  friend std::ostream& operator<<(std::ostream& out, const Dict& dict) {
    const char* between = "{";
    for (const auto& [key, value] : dict) {
      detail::print(out << between, key) << ": ";
      detail::print(out, value);
      between = ", ";
    }
    return out << (*between == '{' ? "{}" : "}");
  }

  // ---- waiting for changes (watch.h)

  // Of one key, there or not: stored, overwritten, erased.
  Watch watch(KeyArg key) const {
    const detail::EncodedKey<K> encoded(key);
    const detail::Item item = encoded.item();
    return detail::watch(handle_, &item);
  }
  // Of any key.
  Watch watch() const { return detail::watch(handle_); }

  // ---- the object

  std::string name() const { return detail::name_of(*handle_); }
  std::string token() const { return detail::token_of(*handle_); }
  bool same_as(const Dict& other) const { return handle_ == other.handle_; }
  static detail::ObjectRequest request(std::uint64_t shards = 0) {
    return {detail::ObjectKind::kDict,
            detail::fitted_signature(detail::joined({"dict<", detail::type_names<K, V>(), ">"})),
            {shards}};
  }

 private:
  friend struct detail::Access;
  template <typename, typename, typename, typename>
  friend class detail::ElementReference;
  explicit Dict(detail::ObjectHandle handle) : handle_(std::move(handle)) {}

  bool put_if(KeyArg key, ValueArg value, detail::PutMode mode) const {
    return detail::stored_in<V>(*handle_, value, [&](const detail::Item& item) {
      return detail::dict_put_if(*handle_, detail::EncodedKey<K>(key).item(), item, mode, nullptr, nullptr);
    });
  }
  value_type decoded(const detail::EntryBytes& entry) const;
  void put_element(KeyArg key, ValueArg value) const { put(key, value); }
  template <detail::Change change>
  V change_element(KeyArg key, V operand) const;
  template <typename Fn>
  V update_element(KeyArg key, Fn&& fn) const {
    const V start{};
    return update_from(key, &start, fn);
  }
  template <typename Fn>
  V update_from(KeyArg key, const V* start, Fn& fn) const;
  template <typename Entries>
  bool equals(const Entries& entries) const;

  detail::ObjectHandle handle_;
};

}  // namespace commonhold

#include <commonhold/detail/dict_inline.h>
