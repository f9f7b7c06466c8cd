// Processes killed while they use a pipe: every message arrives whole or not at all, once, and nobody waits for ever.
#include <commonhold/commonhold.h>
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <thread>

#include "support/manager_home.h"

using namespace commonhold;
using namespace commonhold::test;
using namespace std::chrono_literals;

namespace {

struct Stamp {
  std::int32_t sender, number;
};

// A message says of itself whether it is whole.
std::string message_of(Stamp stamp, std::size_t size) {
  std::string text(sizeof stamp + size, static_cast<char>('a' + stamp.number % 26));
  memcpy(text.data(), &stamp, sizeof stamp);
  return text;
}

bool is_whole(const std::string& text, std::size_t size, Stamp& stamp) {
  if (text.size() != sizeof stamp + size) return false;
  memcpy(&stamp, text.data(), sizeof stamp);
  return text.find_first_not_of(static_cast<char>('a' + stamp.number % 26), sizeof stamp) == std::string::npos;
}

}  // namespace

TEST_CASE("senders killed at random moments tear no message and lose none that was sent") {
  std::mt19937 random(Catch::rngSeed());
  for (const std::size_t size : {std::size_t{10}, std::size_t{60'000}, std::size_t{300'000}}) {
    Pipe pipe(false), acknowledged(false);
    std::vector<Process> senders;
    for (int s = 0; s < 6; ++s) {
      senders.emplace_back([&, s] {
        pipe.first.close();
        for (int i = 0;; ++i) {
          pipe.second.send_bytes(message_of({s, i}, size));
          acknowledged.second.send(Stamp{s, i});
        }
      });
      senders.back().start();
    }
    pipe.second.close();
    acknowledged.second.close();
    std::map<int, int> sent, received;
    std::thread collector([&] {
      try {
        for (;;) {
          const auto stamp = acknowledged.first.recv<Stamp>();
          sent[stamp.sender] = stamp.number + 1;
        }
      } catch (const EndOfFile&) {
      }
    });
    std::thread killer([&] {
      for (auto& sender : senders) {
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
        sender.kill();
      }
    });
    bool whole = true, in_order = true;
    CHECK_THROWS_AS(
        [&] {
          for (;;) {
            Stamp stamp{};
            whole = is_whole(pipe.first.recv_bytes(), size, stamp) && whole;
            in_order = in_order && received[stamp.sender] == stamp.number;
            ++received[stamp.sender];
          }
        }(),
        EndOfFile);
    killer.join();
    collector.join();
    CHECK(whole);
    CHECK(in_order);
    for (const auto& [sender, count] : sent) CHECK((received[sender] == count || received[sender] == count + 1));
  }
}

TEST_CASE("receivers killed at random moments take whole messages alone, and the rest arrive once") {
  std::mt19937 random(Catch::rngSeed());
  constexpr int kMessages = 3000, kReceivers = 5;
  Pipe pipe(false), taken(false);
  std::vector<Process> receivers;
  for (int r = 0; r < kReceivers; ++r) {
    receivers.emplace_back([&] {
      pipe.second.close();
      try {
        for (;;) {
          Stamp stamp{};
          if (!is_whole(pipe.first.recv_bytes(), 100, stamp)) std::abort();
          taken.second.send(stamp.number);
        }
      } catch (const EndOfFile&) {
      }
    });
    receivers.back().start();
  }
  pipe.first.close();
  taken.second.close();
  std::map<int, int> seen;
  std::thread collector([&] {
    try {
      for (;;) ++seen[taken.first.recv<int>()];
    } catch (const EndOfFile&) {
    }
  });
  for (int i = 0; i < kMessages; ++i) {
    pipe.second.send_bytes(message_of({0, i}, 100));
    if (i % 500 == 250 && i < 2000) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
      receivers[static_cast<std::size_t>(i / 500)].kill();
    }
  }
  pipe.second.close();
  for (auto& receiver : receivers) receiver.join();
  collector.join();
  for (const auto& [number, times] : seen) CHECK(times == 1);
  // A killed receiver may have had one message in its hands.
  CHECK(seen.size() >= kMessages - 4u);
  CHECK(receivers.back().exitcode() == std::optional<int>(0));
}

TEST_CASE("a receiver wakes when the last sender is killed, however many forks had the ends open") {
  Pipe pipe;
  Process sender([&] {
    pipe.first.close();
    Process bystander([&] { pipe.second.close(); });
    bystander.start();
    bystander.join();
    pause();
  });
  sender.start();
  pipe.second.close();
  std::thread killer([&] {
    std::this_thread::sleep_for(10ms);
    sender.kill();
  });
  CHECK_THROWS_AS(pipe.first.recv<int>(), EndOfFile);
  killer.join();
}

TEST_CASE("a sender in a full pipe wakes when the last receiver is killed") {
  Pipe pipe;
  Process receiver([&] {
    pipe.first.close();
    pause();
  });
  receiver.start();
  pipe.second.close();
  std::thread killer([&] {
    std::this_thread::sleep_for(20ms);
    receiver.kill();
  });
  CHECK_THROWS_AS(
      [&] {
        for (;;) pipe.first.send(std::string(1000, 'x'));
      }(),
      SystemError);
  killer.join();
}
