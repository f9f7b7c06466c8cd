// The list when memory runs out, and when several change it at once.
#include <algorithm>
#include <random>
#include <thread>

#include "support/list_fixture.h"
#include "support/process_shared.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

std::string sized(std::uint64_t number, std::size_t size) {
  std::string made = std::to_string(number) + ":" + std::to_string(size) + ":";
  return made + std::string(size, static_cast<char>('a' + number % 26));
}

// A text that sized() made is whole.
bool whole(const std::string& text) {
  std::size_t number_end = text.find(':'), size_end = text.find(':', number_end + 1);
  if (number_end == std::string::npos || size_end == std::string::npos) return false;
  return text == sized(std::stoull(text.substr(0, number_end)),
                       std::stoull(text.substr(number_end + 1, size_end - number_end - 1)));
}

std::string number_text(std::uint64_t number) {
  return word_text(number);
}

}  // namespace

TEST_CASE("a text may have any size, and is given as it was put") {
  TestSegment segment;
  shm::List list(make_list(segment, true));
  std::vector<std::string> model;
  for (std::size_t size : {0,    1,    7,    8,    9,     15,    16,    100,   1000,      2031,
                           2032, 2033, 2040, 2041, 65527, 65528, 65529, 70000, 1'000'000, 3'000'000}) {
    model.push_back(std::string(size, static_cast<char>('a' + size % 26)));
    REQUIRE(list.push_front(segment.me(), text(model.back())) == Status::kOk);
    REQUIRE(list.push_back(segment.me(), text(model.back())) == Status::kOk);
    REQUIRE(get(list, 0) == model.back());
    REQUIRE(get(list, list.size() - 1) == model.back());
  }
  for (auto& expected : model) {
    (void)expected;
    std::string first, last;
    REQUIRE(list.pop_front(segment.me(), first) == Status::kOk);
    REQUIRE(list.pop_back(segment.me(), last) == Status::kOk);
    REQUIRE(first == model[list.size() / 2]);
    REQUIRE(last == first);
  }
  check_same(segment, list, std::vector<std::string>());
}

TEST_CASE("a list keeps the kind of each element") {
  TestSegment segment;
  shm::List list(make_list(segment, true));
  auto& me = segment.me();
  double half = 0.5;
  REQUIRE(list.push_back(me, {shm::ItemKind::kNull, nullptr, 0}) == Status::kOk);
  REQUIRE(list.push_back(me, {shm::ItemKind::kDouble, &half, 8}) == Status::kOk);
  REQUIRE(list.push_back(me, text("x")) == Status::kOk);
  std::vector<shm::ItemKind> kinds;
  for (std::uint64_t i = 0; i < 3; ++i) {
    REQUIRE(list.get(i, {&kinds, [](void* to, shm::ItemKind kind, std::size_t) -> void* {
                           static_cast<std::vector<shm::ItemKind>*>(to)->push_back(kind);
                           return nullptr;
                         }}) == Status::kOk);
  }
  REQUIRE(kinds == std::vector{shm::ItemKind::kNull, shm::ItemKind::kDouble, shm::ItemKind::kText});
  // Equal bytes of another kind are another value.
  REQUIRE(list.erase_if_equal(me, 2, {shm::ItemKind::kBytes, "x", 1}) == Status::kMismatch);
  REQUIRE(list.erase_if_equal(me, 2, text("x")) == Status::kOk);
  std::int64_t number = 0;
  REQUIRE(list.get_fixed(1, &number, 8) == Status::kOk);
  REQUIRE(list.get_fixed(0, &number, 8) == Status::kMismatch);
  REQUIRE(list.get_fixed(2, &number, 8) == Status::kOutOfRange);
}

TEST_CASE("a full segment refuses what grows a list, changes nothing, and lets it shrink") {
  for (bool boxed : {false, true}) {
    TestSegment segment(512u << 10);
    auto where = make_list(segment, boxed);
    shm::List list(where);
    auto& me = segment.me();
    std::mt19937_64 random(Catch::rngSeed());
    INFO("seed " << Catch::rngSeed() << (boxed ? ", boxed" : ", words"));
    std::vector<std::string> model;
    auto value = [&] {
      return boxed ? sized(random() % 1000, random() % 60 == 0 ? random() % 90'000 : random() % 300)
                   : number_text(random());
    };
    int full = 0;
    bool shrinking = false;
    for (int step = 0; step < (boxed ? 40'000 : 10'000); ++step) {
      INFO("step " << step << ", " << model.size() << " elements");
      if (model.size() > 100 && full > 20) shrinking = true, full = 0;
      if (model.size() < 100) shrinking = false;
      std::uint64_t at = random() % (model.size() + 1);
      std::uint64_t choice = shrinking ? 8 + random() % 5 : random() % 10;
      auto iterator = model.begin() + static_cast<std::ptrdiff_t>(at);
      Status status = Status::kOk;
      switch (choice) {
        case 0:
        case 1:
        case 2: {
          std::string in = value();
          status = list.push_back(me, text(in));
          if (status == Status::kOk) model.push_back(in);
          break;
        }
        case 3: {
          std::string in = value();
          status = list.push_front(me, text(in));
          if (status == Status::kOk) model.insert(model.begin(), in);
          break;
        }
        case 4: {
          std::string in = value();
          status = list.insert(me, at, text(in));
          if (status == Status::kOk) model.insert(iterator, in);
          break;
        }
        case 5:
        case 6: {
          std::vector<std::string> in(random() % 400);
          for (auto& one : in) one = value();
          std::uint64_t count = std::min<std::uint64_t>(random() % 3, model.size() - at);
          REQUIRE(list.replace(me, at, count, {}) == Status::kOk);
          model.erase(iterator, iterator + static_cast<std::ptrdiff_t>(count));
          status = list.replace(me, at, 0, items_of(in));
          if (status == Status::kOk)
            model.insert(model.begin() + static_cast<std::ptrdiff_t>(at), in.begin(), in.end());
          break;
        }
        case 7: {
          std::string in = value(), before;
          status = list.set(me, at, text(in), &before);
          if (status == Status::kOk) {
            REQUIRE(before == *iterator);
            *iterator = in;
          }
          if (status == Status::kOutOfRange) status = Status::kOk;
          break;
        }
        case 8: {
          status = list.reverse(me);
          if (status == Status::kOk) std::reverse(model.begin(), model.end());
          break;
        }
        case 9:
        case 10: {
          std::string out;
          REQUIRE(list.pop_back(me, out) == (model.empty() ? Status::kNotFound : Status::kOk));
          if (model.empty()) break;
          REQUIRE(out == model.back());
          model.pop_back();
          break;
        }
        case 11: {
          std::string out;
          REQUIRE(list.pop_front(me, out) == (model.empty() ? Status::kNotFound : Status::kOk));
          if (model.empty()) break;
          REQUIRE(out == model.front());
          model.erase(model.begin());
          break;
        }
        default:
          REQUIRE(list.erase(me, at) == (at == model.size() ? Status::kOutOfRange : Status::kOk));
          if (at != model.size()) model.erase(iterator);
      }
      REQUIRE((status == Status::kOk || status == Status::kOutOfMemory));
      full += status == Status::kOutOfMemory;
      if (step % 600 == 0) check_same(segment, list, model);
    }
    check_same(segment, list, model);
    REQUIRE(list.clear(me) == Status::kOk);
    check_same(segment, list, std::vector<std::string>());
  }
}

TEST_CASE("readers of a queue see its elements in order and never an element that is not there") {
  TestSegment segment;
  auto where = make_list(segment, true);
  shm::List list(where);
  auto& me = segment.me();
  constexpr std::uint64_t kLength = 300;  // a tree of leaves and a tail
  std::atomic<std::uint64_t> popped{0};
  std::atomic<bool> stop{false};
  std::atomic<int> failures{0};
  auto element = [](std::uint64_t number) { return sized(number, number % 50); };
  for (std::uint64_t i = 0; i < kLength; ++i) REQUIRE(list.push_back(me, text(element(i))) == Status::kOk);
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&, r] {
      std::mt19937_64 random(Catch::rngSeed() + static_cast<unsigned>(r));
      shm::List mine(where);
      auto& reader = segment.me();
      while (!stop.load()) {
        std::uint64_t index = random() % (kLength - 1), before = popped.load();
        auto value = get(mine, index);
        std::uint64_t after = popped.load();
        if (!value || !whole(*value)) {
          ++failures;
          continue;
        }
        // At least so many were popped when it was read, and at most so many (and one on its way).
        std::uint64_t number = std::stoull(*value);
        if (number < before + index || number > after + 1 + index) ++failures;
        if (index % 16 != 0) continue;
        std::vector<std::string> values;
        if (mine.snapshot(reader, 0, ~std::uint64_t{0}, values) != Status::kOk || values.empty()) ++failures;
        for (std::size_t i = 0; i < values.size(); ++i) {
          if (values[i] != element(std::stoull(values[0]) + i)) ++failures;
        }
        std::uint64_t size = mine.size();
        if (size < kLength - 1 || size > kLength) ++failures;
      }
    });
  }
  for (std::uint64_t i = 0; i < 150'000; ++i) {
    std::string out;
    if (list.pop_front(me, out) != Status::kOk || out != element(i)) FAIL("pop_front " << i);
    popped.store(i + 1);
    if (list.push_back(me, text(element(kLength + i))) != Status::kOk) FAIL("push_back " << i);
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  REQUIRE(failures == 0);
}

namespace {

// Puts `count` numbers of its own in and takes others out, in all ways; returns those taken.
std::vector<std::uint64_t> mix(const TestSegment& segment, const shm::ObjectAddress& where, std::uint64_t first,
                               std::uint64_t count, int& failures) {
  shm::List list(where);
  auto& me = segment.me();
  std::mt19937_64 random(Catch::rngSeed() + first);
  std::vector<std::uint64_t> taken;
  std::string out;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string in = sized(first + i, random() % 40);
    Status status = Status::kOk;
    switch (random() % 4) {
      case 0:
        status = list.push_front(me, text(in));
        break;
      case 1: {
        do status = list.insert(me, random() % (list.size() + 1), text(in));
        while (status == Status::kOutOfRange);
        break;
      }
      default:
        status = list.push_back(me, text(in));
    }
    failures += status != Status::kOk;
    if (random() % 4 == 0) continue;
    switch (random() % 3) {
      case 0:
        status = list.pop_front(me, out);
        break;
      case 1:
        status = list.pop_back(me, out);
        break;
      default:
        status = list.erase(me, random() % (list.size() + 1), &out);
    }
    if (status == Status::kOk) {
      failures += !whole(out);
      taken.push_back(std::stoull(out));
    }
    if (auto seen = get(list, random() % 64)) failures += !whole(*seen);
  }
  return taken;
}

void check_conserved(const TestSegment& segment, const shm::List& list, std::vector<std::uint64_t> all,
                     std::uint64_t count) {
  auto audit = list.audit(segment.me());
  REQUIRE(audit.error == "");
  REQUIRE(audit.lost_blocks == 0);
  REQUIRE(audit.lost_chunks == 0);
  std::vector<std::string> rest;
  REQUIRE(list.snapshot(segment.me(), 0, ~std::uint64_t{0}, rest) == Status::kOk);
  for (auto& value : rest) all.push_back(std::stoull(value));
  std::sort(all.begin(), all.end());
  REQUIRE(all.size() == count);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (all[i] != i) FAIL("number " << i << " is missing or there twice");
  }
}

constexpr std::uint64_t kEach = 40'000;

}  // namespace

TEST_CASE("what several threads put into a list is taken out once or still there") {
  TestSegment segment;
  auto where = make_list(segment, true);
  INFO("seed " << Catch::rngSeed());
  std::vector<std::uint64_t> taken[3];
  int failures[3] = {};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] { taken[t] = mix(segment, where, t * kEach, kEach, failures[t]); });
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(failures[0] + failures[1] + failures[2] == 0);
  for (int t : {1, 2}) taken[0].insert(taken[0].end(), taken[t].begin(), taken[t].end());
  check_conserved(segment, shm::List(where), taken[0], 3 * kEach);
}

TEST_CASE("what several processes put into a list is taken out once or still there") {
  TestSegment segment;
  auto where = make_list(segment, true);
  INFO("seed " << Catch::rngSeed());
  struct Taken {
    std::uint64_t numbers[3][kEach];
    std::uint64_t count[3];
  };
  Shared<Taken> shared;
  pid_t children[3];
  for (std::uint64_t c = 0; c < 3; ++c) {
    children[c] = spawn([&] {
      int failures = 0;
      auto taken = mix(segment, where, c * kEach, kEach, failures);
      std::copy(taken.begin(), taken.end(), shared->numbers[c]);
      shared->count[c] = taken.size();
      if (failures != 0) throw std::runtime_error("an operation failed or an element was torn");
    });
  }
  std::vector<std::uint64_t> all;
  for (int c = 0; c < 3; ++c) {
    REQUIRE(wait_for(children[c]) == 0);
    all.insert(all.end(), shared->numbers[c], shared->numbers[c] + shared->count[c]);
  }
  check_conserved(segment, shm::List(where), all, 3 * kEach);
}

TEST_CASE("only the first of two replacements of the same contents takes effect") {
  TestSegment segment;
  auto where = make_list(segment, false);
  for (std::uint64_t i = 0; i < 500; ++i)
    REQUIRE(shm::List(where).push_back(segment.me(), text(number_text(0))) == Status::kOk);
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      shm::List list(where);
      auto& me = segment.me();
      for (int i = 0; i < 300; ++i) {
        for (;;) {  // adds one to every element
          std::vector<std::string> values;
          std::uint64_t changes = 0;
          if (list.snapshot(me, 0, ~std::uint64_t{0}, values, &changes) != Status::kOk) ++failures;
          for (auto& value : values) {
            std::uint64_t number;
            std::memcpy(&number, value.data(), 8);
            value = number_text(number + 1);
          }
          Status status = list.assign_if_unchanged(me, changes, items_of(values));
          if (status == Status::kOk) break;
          if (status != Status::kMismatch) ++failures;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(failures == 0);
  check_same(segment, shm::List(where), std::vector<std::string>(500, number_text(900)));
}
