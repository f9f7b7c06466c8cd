// Random operations on a queue, against a std::deque.
#include <deque>
#include <random>

#include "shm/queue.h"
#include "support/queue_fixture.h"

using namespace commonhold;
using namespace commonhold::test;
using shm::Deadline;
using shm::Status;

namespace {

struct Model {
  std::deque<std::string> items;
  std::uint64_t put = 0, done = 0;
};

void step(const TestSegment& segment, const shm::Queue& queue, std::uint64_t bytes, std::uint64_t limit,
          std::mt19937_64& random, Model& model) {
  auto& me = segment.me();
  auto make = [&] {
    std::uint64_t size = bytes != 0 ? bytes : random() % 20 == 0 ? random() % 10'000 : random() % 40;
    std::string item(size, static_cast<char>('a' + random() % 26));
    return item;
  };
  std::uint64_t room = limit == 0 ? ~0ull : limit - model.items.size();
  switch (random() % 8) {
    case 0:
    case 1: {
      std::string item = make();
      REQUIRE(queue.put(me, text(item), Deadline::already()) == (room != 0 ? Status::kOk : Status::kTimedOut));
      if (room == 0) return;
      model.items.push_back(item);
      ++model.put;
      return;
    }
    case 2: {
      std::string item;
      Status status = queue.get(me, item, Deadline::already());
      REQUIRE(status == (model.items.empty() ? Status::kTimedOut : Status::kOk));
      if (model.items.empty()) return;
      REQUIRE(item == model.items.front());
      model.items.pop_front();
      return;
    }
    case 3: {
      std::vector<std::string> values(random() % 50);
      std::vector<shm::Item> items;
      for (auto& value : values) items.push_back(text(value = make()));
      std::uint64_t done = 0, fits = std::min<std::uint64_t>(room, values.size());
      Status status = queue.put_many(me, items, Deadline::already(), done);
      REQUIRE(status == (fits == values.size() ? Status::kOk : Status::kTimedOut));
      REQUIRE(done == fits);
      for (std::uint64_t i = 0; i < fits; ++i) model.items.push_back(values[i]);
      model.put += fits;
      return;
    }
    case 4: {
      std::vector<std::string> got;
      std::uint64_t most = random() % 60;
      Status status = queue.get_many(me, most, got, Deadline::already());
      REQUIRE(status == (model.items.empty() && most != 0 ? Status::kTimedOut : Status::kOk));
      REQUIRE(got.size() == std::min<std::uint64_t>(most, model.items.size()));
      for (auto& item : got) {
        REQUIRE(item == model.items.front());
        model.items.pop_front();
      }
      return;
    }
    case 5: {
      if (bytes == 0) return;
      std::string run;
      std::uint64_t count = random() % 3000, done = 0;
      for (std::uint64_t i = 0; i < count; ++i) run += std::string(bytes, static_cast<char>('A' + random() % 26));
      Status status = queue.put_fixed(me, run.data(), count, bytes, Deadline::already(), done);
      REQUIRE(done == std::min(count, room));
      REQUIRE(status == (done == count ? Status::kOk : Status::kTimedOut));
      for (std::uint64_t i = 0; i < done; ++i) model.items.push_back(run.substr(i * bytes, bytes));
      model.put += done;
      return;
    }
    case 6: {
      if (bytes == 0) return;
      std::uint64_t most = random() % 4000, got = 0;
      std::string run(most * bytes, '\0');
      Status status = queue.get_many_fixed(me, run.data(), bytes, most, bytes, Deadline::already(), got);
      REQUIRE(got == std::min<std::uint64_t>(most, model.items.size()));
      REQUIRE(status == (got == 0 && most != 0 ? Status::kTimedOut : Status::kOk));
      for (std::uint64_t i = 0; i < got; ++i) {
        REQUIRE(run.compare(i * bytes, bytes, model.items.front()) == 0);
        model.items.pop_front();
      }
      return;
    }
    default:
      REQUIRE(queue.task_done(me) == (model.done < model.put ? Status::kOk : Status::kNotHeld));
      model.done = std::min(model.done + 1, model.put);
  }
}

}  // namespace

TEST_CASE("a queue does what a deque does, whatever the operations") {
  std::uint64_t seed = std::random_device()();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (std::uint64_t bytes : {0, 0, 8, 8, 12, 100}) {
    std::uint64_t limit = random() % 2 == 0 ? 0 : 1 + random() % 200;
    INFO("items of " << bytes << " bytes, limit " << limit);
    TestSegment segment;
    shm::Queue queue(make_queue(segment, bytes, limit));
    Model model;
    for (int i = 0; i < 3000; ++i) {
      step(segment, queue, bytes, limit, random, model);
      REQUIRE(queue.size() == model.items.size());
      REQUIRE(queue.unfinished() == model.put - model.done);
      if (i % 100 == 0) REQUIRE(what_is_wrong(segment, queue) == "");
    }
    auto items = queue.items_for_test();
    REQUIRE(std::equal(items.begin(), items.end(), model.items.begin(), model.items.end()));
    REQUIRE(what_is_wrong(segment, queue) == "");
  }
}
