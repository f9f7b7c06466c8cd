// Something that several rows measure with, made when the first of them runs.
#pragma once

#include <memory>
#include <optional>

namespace commonhold::bench {

template <typename T>
class Lazy {
 public:
  T& operator*() const {
    if (!*value_) value_->emplace();
    return **value_;
  }
  T* operator->() const { return &**this; }

 private:
  std::shared_ptr<std::optional<T>> value_ = std::make_shared<std::optional<T>>();
};

}  // namespace commonhold::bench
