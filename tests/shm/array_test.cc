// Arrays: elements, slices, fills, all or nothing.
#include <catch2/catch.hpp>
#include <random>
#include <thread>
#include <vector>

#include "shm/array.h"
#include "support/test_segment.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Status;

namespace {

shm::ObjectAddress make_array(const TestSegment& segment, std::uint64_t count, std::uint64_t element_bytes) {
  return segment.make({shm::ObjectKind::kArray, "", "array", {count, element_bytes}});
}

// Random stores, slices and fills against plain bytes.
void run_model(std::uint64_t count, std::size_t element, int steps) {
  TestSegment segment;
  auto where = make_array(segment, count, element);
  shm::Array array(where);
  auto& me = segment.me();
  std::mt19937_64 random(Catch::rngSeed() + count * 31 + element);
  INFO("seed " << Catch::rngSeed() << ", " << count << " elements of " << element << " bytes");
  std::string model(count * element, '\0');
  REQUIRE(array.count() == count);
  REQUIRE(array.element_bytes() == element);
  REQUIRE(reinterpret_cast<std::uintptr_t>(array.data()) % 64 == 0);
  auto bytes = [&](std::uint64_t elements) {
    std::string made(elements * element, '\0');
    for (auto& byte : made) byte = static_cast<char>(random());
    return made;
  };
  for (int step = 0; step < steps; ++step) {
    INFO("step " << step);
    std::uint64_t first = random() % count, most = count - first, length = random() % (most + 1);
    if (random() % 3 != 0) length = std::min<std::uint64_t>(length, 20);
    switch (random() % 6) {
      case 0: {
        std::string in = bytes(1);
        REQUIRE(array.store(me, first, in.data()) == Status::kOk);
        model.replace(first * element, element, in);
        break;
      }
      case 1: {
        std::string out(element, '#');
        REQUIRE(array.load(me, first, out.data()) == Status::kOk);
        REQUIRE(out == model.substr(first * element, element));
        break;
      }
      case 2:
      case 3: {
        std::string in = bytes(length);
        REQUIRE(array.write(me, first, length, in.data()) == Status::kOk);
        model.replace(first * element, in.size(), in);
        break;
      }
      case 4: {
        std::string in = bytes(1);
        REQUIRE(array.fill(me, first, length, in.data()) == Status::kOk);
        for (std::uint64_t i = first; i < first + length; ++i) model.replace(i * element, element, in);
        break;
      }
      default: {
        std::string out(length * element, '#');
        REQUIRE(array.read(me, first, length, out.data()) == Status::kOk);
        REQUIRE(out == model.substr(first * element, out.size()));
      }
    }
    if (step % 100 == 0) {
      bool same = std::memcmp(array.data(), model.data(), model.size()) == 0;
      REQUIRE(same);
      // Data, control block, and at most one kept scratch chunk.
      REQUIRE(shm::bytes_owned_by(*segment, where.object) <=
              shm::chunk_size(model.size()) + shm::kGranule + shm::kExtent);
    }
  }
  std::string whole(model.size(), '#');
  REQUIRE(array.read(me, 0, count, whole.data()) == Status::kOk);
  REQUIRE(whole == model);
}

}  // namespace

TEST_CASE("an array does what plain memory does, for every size of element") {
  for (std::size_t element : {1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 100, 513, 3000}) run_model(200, element, 2000);
}
TEST_CASE("a large array does what plain memory does") {
  run_model(100'000, 1, 2000);
  run_model(100'000, 8, 1000);
  run_model(30'000, 12, 1000);
}

TEST_CASE("an index or slice outside of an array is refused") {
  TestSegment segment;
  shm::Array array(make_array(segment, 10, 8));
  auto& me = segment.me();
  std::uint64_t words[20] = {};
  REQUIRE(array.load(me, 10, words) == Status::kOutOfRange);
  REQUIRE(array.store(me, 10, words) == Status::kOutOfRange);
  REQUIRE(array.read(me, 0, 11, words) == Status::kOutOfRange);
  REQUIRE(array.read(me, 11, 0, words) == Status::kOutOfRange);
  REQUIRE(array.read(me, 10, 0, words) == Status::kOk);
  REQUIRE(array.write(me, 5, 6, words) == Status::kOutOfRange);
  REQUIRE(array.write(me, 1, ~std::uint64_t{0}, words) == Status::kOutOfRange);
  REQUIRE(array.fill(me, 1, ~std::uint64_t{0}, words) == Status::kOutOfRange);
}

TEST_CASE("an array of no elements exists; one that no memory holds is refused") {
  TestSegment segment(4u << 20);
  shm::Array empty(make_array(segment, 0, 8));
  REQUIRE(empty.count() == 0);
  std::uint64_t word = 0;
  REQUIRE(empty.load(segment.me(), 0, &word) == Status::kOutOfRange);
  shm::Offset control = 0;
  REQUIRE(shm::Array::create(segment.me(), 1, ~std::uint64_t{0}, 8, control) == Status::kTooLarge);
  REQUIRE(shm::Array::create(segment.me(), 1, 8, 0, control) == Status::kTooLarge);
  REQUIRE(shm::Array::create(segment.me(), 1, 1u << 20, 8, control) == Status::kOutOfMemory);
}

TEST_CASE("a slice that finds no scratch memory changes nothing") {
  TestSegment segment(2u << 20);
  auto where = make_array(segment, 1u << 20, 1);
  shm::Array array(where);
  auto& me = segment.me();
  std::string ones((1u << 20), '1'), got(1u << 20, '#');
  std::uint64_t owned = shm::bytes_owned_by(*segment, where.object);
  REQUIRE(array.write(me, 0, ones.size(), ones.data()) == Status::kOutOfMemory);
  REQUIRE(array.read(me, 0, got.size(), got.data()) == Status::kOk);
  REQUIRE(got == std::string(1u << 20, '\0'));
  REQUIRE(shm::bytes_owned_by(*segment, where.object) == owned);
  REQUIRE(array.fill(me, 0, ones.size(), "2") == Status::kOk);  // needs room for one element only
  REQUIRE(array.write(me, 0, 1000, ones.data()) == Status::kOk);
}

TEST_CASE("slices are never seen half done, and stores beside them are not lost") {
  TestSegment segment;
  auto where = make_array(segment, 513, 4);
  std::atomic<bool> stop{false};
  std::atomic<int> failures{0};
  std::thread reader([&] {
    shm::Array array(where);
    auto& me = segment.me();
    while (!stop.load()) {
      std::uint32_t got[512];
      if (array.read(me, 0, 512, got) != Status::kOk) ++failures;
      for (auto number : got) failures += number != got[0];
    }
  });
  std::thread storer([&] {  // element 512 shares no slice, but may share a word with one
    shm::Array array(where);
    auto& me = segment.me();
    for (std::uint32_t i = 1; !stop.load(); ++i) {
      std::uint32_t got = 0;
      if (array.store(me, 512, &i) != Status::kOk || array.load(me, 512, &got) != Status::kOk || got != i) ++failures;
    }
  });
  shm::Array array(where);
  for (std::uint32_t i = 0; i < 3000; ++i) {
    std::vector<std::uint32_t> numbers(512, i);
    REQUIRE((i % 2 ? array.write(segment.me(), 0, 512, numbers.data())
                   : array.fill(segment.me(), 0, 512, numbers.data())) == Status::kOk);
  }
  stop = true;
  reader.join();
  storer.join();
  REQUIRE(failures == 0);
}
