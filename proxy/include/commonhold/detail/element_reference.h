// What `dict[key]` and `list[index]` give: a place to read, assign and count on, like std::vector<bool>::reference.
//
// It keeps its object alive, so it may outlive the proxy it came from; an element of an Array that has a name, which
// costs no more than an element in memory, must not. `auto x = dict[key]` would be such a place, which shows what others
// store later, and no copy of the value: such a variable cannot be read. Write the type, or call at().
#pragma once

#include <ostream>
#include <type_traits>
#include <utility>

#include <commonhold/detail/print.h>
#include <commonhold/detail/word_change.h>

namespace commonhold::detail {

// Container has at(key), put_element(key, value), change_element<change>(key, operand) -> value before, and
// update_element(key, fn) -> new value. Holder: const Container, or const Container& where a copy of
// the proxy, which counts a reference, is much beside the access.
template <typename Container, typename Key, typename V, typename Holder = const Container>
class ElementReference {
 public:
  ElementReference(const Container& container, Key key) : container_(container), key_(std::move(key)) {}
  ElementReference(const ElementReference&) = delete;

  operator V() const& { return container_.at(key_); }
  operator V() & = delete;  // a place: write its type, not auto

  const ElementReference& operator=(Argument<V> value) const {
    container_.put_element(key_, value);
    return *this;
  }
  const ElementReference& operator=(const ElementReference& other) const { return *this = V(other); }
  ElementReference& operator=(const ElementReference& other) {
    std::as_const(*this) = V(other);
    return *this;
  }
  ElementReference& operator=(ElementReference&) = delete;  // a place: write its type, not auto
  // What is in both is exchanged, one after the other.
  friend void swap(ElementReference&& a, ElementReference&& b) {
    V before = std::as_const(a);
    std::as_const(a) = V(std::as_const(b));
    std::as_const(b) = std::move(before);
  }

  // What is there, for a call: dict["a"]->push_back(1), where the values are proxies.
  auto operator->() const requires(kShape<V> == Shape::kReference) {
    struct Held {
      V value;
      const V* operator->() const { return &value; }
    };
    return Held{V(*this)};
  }

  // Each is atomic, and gives the value after it. Of numbers in place; of other types as update(), which may compute it
  // again.
  V operator+=(Argument<V> operand) const {
    if constexpr (kIsNumber<V>) {
      return number<Change::kAdd>(operand);
    } else {
      return container_.update_element(key_, [&](V value) {
        value += operand;
        return value;
      });
    }
  }
  V operator-=(V operand) const requires kIsNumber<V> { return number<Change::kSubtract>(operand); }
  V operator*=(V operand) const requires kIsNumber<V> { return number<Change::kMultiply>(operand); }
  // ValueError as of Value's.
  V operator/=(V operand) const requires kIsNumber<V> { return number<Change::kDivide>(operand); }
  V operator%=(V operand) const requires Integer<V> { return number<Change::kModulo>(operand); }
  V operator<<=(V operand) const requires Integer<V> { return number<Change::kShiftLeft>(operand); }
  V operator>>=(V operand) const requires Integer<V> { return number<Change::kShiftRight>(operand); }
  V operator|=(V operand) const requires Integer<V> { return number<Change::kOr>(operand); }
  V operator&=(V operand) const requires Integer<V> { return number<Change::kAnd>(operand); }
  V operator^=(V operand) const requires Integer<V> { return number<Change::kXor>(operand); }
  V operator++() const requires kIsNumber<V> { return number<Change::kAdd>(V(1)); }
  V operator--() const requires kIsNumber<V> { return number<Change::kSubtract>(V(1)); }
  V operator++(int) const requires kIsNumber<V> { return container_.template change_element<Change::kAdd>(key_, V(1)); }
  V operator--(int) const requires kIsNumber<V> {
    return container_.template change_element<Change::kSubtract>(key_, V(1));
  }

  // Numbers compare by conversion; class types need these, because templates do not convert.
  template <typename U>
  requires(!std::is_scalar_v<V> && !std::is_same_v<U, ElementReference>) friend bool operator==(
      const ElementReference& element, const U& value) {
    return V(element) == value;
  }
  friend bool operator==(const ElementReference& a, const ElementReference& b) { return V(a) == V(b); }
  template <typename U>
  requires(!std::is_scalar_v<V>) friend auto operator+(const ElementReference& element, const U& value) {
    return V(element) + value;
  }

  template <typename U>
  friend bool operator==(ElementReference&, const U&) = delete;                // a place: write its type, not auto
  template <std::same_as<ElementReference> Place>
  friend std::ostream& operator<<(std::ostream& out, Place&) {
    static_assert(sizeof(Place) == 0, "a place: write its type, not auto");
    return out;
  }

  friend std::ostream& operator<<(std::ostream& out, const ElementReference& element) {
    const V value = element;
    if constexpr (Printable<V>) {
      return out << value;
    } else {
      return print(out, value);
    }
  }

 private:
  template <Change change>
  V number(V operand) const {
    check_operand<change>(operand);
    return changed_number<V, change>(container_.template change_element<change>(key_, operand), operand);
  }

  Holder container_;
  Key key_;
};

}  // namespace commonhold::detail
