// The list against a std::vector.
#include <algorithm>
#include <random>

#include "support/list_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

struct Shape {
  bool boxed;
  std::size_t usual_size;  // growth and shrinking balance about here
  std::size_t longest;     // bytes of an element
  std::size_t batch;       // elements of a slice
  int steps;
};

class Run {
 public:
  explicit Run(const Shape& shape)
      : shape_(shape),
        random_(Catch::rngSeed() * 7919 + shape.usual_size),
        list_(make_list(segment_, shape.boxed)),
        me_(segment_.me()) {}

  void run() {
    INFO("seed " << Catch::rngSeed());
    for (int i = 0; i < shape_.steps; ++i) {
      INFO("step " << i << ", " << model_.size() << " elements");
      // Phases of growth and of shrinking, so that every border is crossed often.
      bool grow =
          model_.size() < shape_.usual_size / 2 || (model_.size() < 2 * shape_.usual_size && (i / 1000) % 2 == 0);
      step(grow);
      if (i % 300 == 299) check_same(segment_, list_, model_);
    }
    check_same(segment_, list_, model_);
  }

 private:
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  std::string any_value() {
    if (!shape_.boxed) return word_text(random_() % 100);
    std::size_t most = pick(50) == 0 ? shape_.longest : std::min<std::size_t>(shape_.longest, 40);
    return std::string(pick(most + 1), static_cast<char>('a' + pick(26)));
  }
  std::vector<std::string> any_values(std::size_t count) {
    std::vector<std::string> values(count);
    for (auto& value : values) value = any_value();
    return values;
  }
  std::uint64_t place() { return model_.empty() ? 0 : pick(model_.size()); }

  void step(bool grow) {
    switch (pick(32)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
      case 6:
      case 7:
        return grow ? push(true) : pop(true);
      case 8:
      case 9:
      case 10:
      case 11:
        return grow ? push(false) : pop(false);
      case 12:
      case 13:
      case 14:
      case 15:
        return grow ? insert() : erase();
      case 16:
        return pop(true);
      case 17:
        return pop(false);
      case 18:
        return push(true);
      case 19:
        return erase();
      case 20:
      case 21:
      case 22:
        return set();
      case 23:
      case 24:
      case 25:
        return read();
      case 26:
        return exchange();
      case 27:
        return slice(grow);
      case 28:
        return extend(grow);
      case 29:
        return erase_if();
      case 30:
        return shape_.boxed ? set() : add();
      default:
        if (pick(40) == 0) return whole();
        return part();
    }
  }

  void push(bool back) {
    std::string value = any_value();
    REQUIRE((back ? list_.push_back(me_, text(value)) : list_.push_front(me_, text(value))) == Status::kOk);
    model_.insert(back ? model_.end() : model_.begin(), value);
  }
  void pop(bool back) {
    std::string popped;
    Status status = back ? list_.pop_back(me_, popped) : list_.pop_front(me_, popped);
    if (model_.empty()) {
      REQUIRE(status == Status::kNotFound);
      return;
    }
    REQUIRE(status == Status::kOk);
    auto at = back ? model_.end() - 1 : model_.begin();
    REQUIRE(popped == *at);
    model_.erase(at);
  }
  void insert() {
    std::string value = any_value();
    std::uint64_t at = pick(model_.size() + 1);
    REQUIRE(list_.insert(me_, at, text(value)) == Status::kOk);
    model_.insert(model_.begin() + static_cast<std::ptrdiff_t>(at), value);
    REQUIRE(list_.insert(me_, model_.size() + 1, text(value)) == Status::kOutOfRange);
  }
  void erase() {
    std::uint64_t at = place();
    std::string erased;
    Status status = list_.erase(me_, at, pick(2) ? &erased : nullptr);
    REQUIRE(status == (model_.empty() ? Status::kOutOfRange : Status::kOk));
    if (model_.empty()) return;
    REQUIRE((erased.empty() || erased == model_[at]));
    model_.erase(model_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void set() {
    std::uint64_t at = place();
    std::string value = any_value(), before;
    Status status = list_.set(me_, at, text(value), &before);
    REQUIRE(status == (model_.empty() ? Status::kOutOfRange : Status::kOk));
    if (model_.empty()) return;
    REQUIRE(before == model_[at]);
    model_[at] = value;
  }
  void add() {
    std::uint64_t at = place();
    shm::Word before = 0;
    Status status = list_.change_word(
        me_, at, [](shm::Word a, shm::Word b) { return a + b; }, 7, &before);
    REQUIRE(status == (model_.empty() ? Status::kOutOfRange : Status::kOk));
    if (model_.empty()) return;
    REQUIRE(word_text(before) == model_[at]);
    model_[at] = word_text(before + 7);
  }
  void read() {
    std::uint64_t at = pick(model_.size() + 2);
    auto value = get(list_, at);
    REQUIRE(value.has_value() == (at < model_.size()));
    if (value) REQUIRE(*value == model_[at]);
    REQUIRE(list_.size() == model_.size());
  }
  void exchange() {
    if (model_.empty()) return;
    std::uint64_t at = place();
    std::string guess = pick(2) ? model_[at] : any_value(), desired = any_value(), actual;
    Status status = list_.compare_exchange(me_, at, text(guess), text(desired), &actual);
    REQUIRE(status == (guess == model_[at] ? Status::kOk : Status::kMismatch));
    if (status == Status::kOk) {
      model_[at] = desired;
    } else {
      REQUIRE(actual == model_[at]);
    }
  }
  void erase_if() {
    if (model_.empty()) return;
    std::uint64_t at = place();
    std::string guess = pick(2) ? model_[at] : any_value();
    Status status = list_.erase_if_equal(me_, at, text(guess));
    REQUIRE(status == (guess == model_[at] ? Status::kOk : Status::kMismatch));
    if (status == Status::kOk) model_.erase(model_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void slice(bool grow) {
    std::uint64_t first = pick(model_.size() + 1), count = pick(shape_.batch + 1);
    auto values = any_values(grow ? pick(shape_.batch + 1) : pick(shape_.batch / 2 + 1));
    REQUIRE(list_.replace(me_, first, count, items_of(values)) == Status::kOk);
    auto from = model_.begin() + static_cast<std::ptrdiff_t>(first);
    count = std::min(count, model_.size() - first);
    from = model_.erase(from, from + static_cast<std::ptrdiff_t>(count));
    model_.insert(from, values.begin(), values.end());
    REQUIRE(list_.replace(me_, model_.size() + 1, 0, {}) == Status::kOutOfRange);
  }
  void extend(bool grow) {
    auto values = any_values(grow ? pick(shape_.batch + 1) : pick(10));
    REQUIRE(list_.extend(me_, items_of(values)) == Status::kOk);
    model_.insert(model_.end(), values.begin(), values.end());
  }
  void whole() {
    switch (pick(4)) {
      case 0:
        REQUIRE(list_.clear(me_) == Status::kOk);
        return model_.clear();
      case 1:
        REQUIRE(list_.reverse(me_) == Status::kOk);
        return std::reverse(model_.begin(), model_.end());
      default: {
        std::vector<std::string> values;
        std::uint64_t changes = 0;
        REQUIRE(list_.snapshot(me_, 0, ~std::uint64_t{0}, values, &changes) == Status::kOk);
        std::sort(values.begin(), values.end());
        bool disturbed = pick(3) == 0;
        if (disturbed) push(true);
        REQUIRE(list_.assign_if_unchanged(me_, changes, items_of(values)) ==
                (disturbed ? Status::kMismatch : Status::kOk));
        if (!disturbed) model_ = values;
      }
    }
  }
  void part() {
    std::uint64_t first = pick(model_.size() + 3), count = pick(shape_.batch);
    std::vector<std::string> values;
    REQUIRE(list_.snapshot(me_, first, count, values) == Status::kOk);
    std::uint64_t there = first < model_.size() ? std::min<std::uint64_t>(count, model_.size() - first) : 0;
    REQUIRE(values.size() == there);
    for (std::uint64_t i = 0; i < there; ++i) REQUIRE(values[i] == model_[first + i]);
  }

  Shape shape_;
  std::mt19937_64 random_;
  TestSegment segment_;
  shm::List list_;
  shm::ThreadContext& me_;
  std::vector<std::string> model_;
};

}  // namespace

TEST_CASE("a short list of words does what a vector does") {
  Run({false, 60, 8, 20, 40000}).run();
}
TEST_CASE("a list of words about the size of a few leaves does what a vector does") {
  Run({false, 500, 8, 200, 60000}).run();
}
TEST_CASE("a list of words with a tree of two inner levels does what a vector does") {
  Run({false, 20000, 8, 6000, 20000}).run();
}
TEST_CASE("a short list of texts does what a vector does") {
  Run({true, 60, 500, 20, 40000}).run();
}
TEST_CASE("a list structure of texts does what a vector does") {
  Run({true, 2000, 3000, 400, 30000}).run();
}
TEST_CASE("a list of large texts does what a vector does") {
  Run({true, 40, 200000, 8, 20000}).run();
}

TEST_CASE("a list grows to a million elements at either end and shrinks to none") {
  TestSegment segment;
  shm::List list(make_list(segment, false));
  auto& me = segment.me();
  constexpr std::int64_t kHalf = 500'000;
  for (std::int64_t i = 0; i < kHalf; ++i) {
    std::int64_t front = -1 - i;
    if (list.push_back(me, integer(i)) != Status::kOk) FAIL("push_back");
    if (list.push_front(me, integer(front)) != Status::kOk) FAIL("push_front");
  }
  REQUIRE(list.size() == 2 * kHalf);
  for (std::int64_t i = 0; i < 2 * kHalf; i += 997) {
    std::int64_t value = 0;
    REQUIRE(list.get_fixed(static_cast<std::uint64_t>(i), &value, 8) == Status::kOk);
    REQUIRE(value == i - kHalf);
  }
  REQUIRE(list.audit(me).error == "");
  std::string popped;
  for (std::int64_t i = 0; i < kHalf; ++i) {
    if (list.pop_front(me, popped) != Status::kOk || popped != word_text(static_cast<std::uint64_t>(i - kHalf))) {
      FAIL("pop_front at " << i);
    }
    if (list.pop_back(me, popped) != Status::kOk || popped != word_text(static_cast<std::uint64_t>(kHalf - 1 - i))) {
      FAIL("pop_back at " << i);
    }
  }
  check_same(segment, list, std::vector<std::string>());
}

TEST_CASE("erasing everywhere leaves no crumbs") {
  TestSegment segment;
  auto where = make_list(segment, false);
  shm::List list(where);
  auto& me = segment.me();
  std::mt19937_64 random(Catch::rngSeed());
  std::vector<std::int64_t> numbers(200'000);
  std::vector<shm::Item> items;
  for (auto& number : numbers) items.push_back(integer(number));
  REQUIRE(list.extend(me, items) == Status::kOk);
  std::uint64_t full = shm::bytes_owned_by(*segment, where.object);
  // Erase nine of ten in random places, then write as many anew: the nodes that were emptied serve again.
  for (int i = 0; i < 180'000; ++i) REQUIRE(list.erase(me, random() % list.size()) == Status::kOk);
  items.resize(180'000);
  REQUIRE(list.extend(me, items) == Status::kOk);
  REQUIRE(list.audit(me).error == "");
  REQUIRE(shm::bytes_owned_by(*segment, where.object) < full + full / 4);
}

TEST_CASE("clearing a long list gives its memory back") {
  TestSegment segment;
  auto where = make_list(segment, true);
  shm::List list(where);
  auto& me = segment.me();
  std::uint64_t empty = shm::bytes_owned_by(*segment, where.object);
  for (int i = 0; i < 50'000; ++i) REQUIRE(list.push_back(me, text("some text")) == Status::kOk);
  REQUIRE(list.clear(me) == Status::kOk);
  REQUIRE(shm::bytes_owned_by(*segment, where.object) == empty);
  check_same(segment, list, std::vector<std::string>());
}
