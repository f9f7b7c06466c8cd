// From one process to another: how many items a second, and how long one takes there and back.
#include <fmt/format.h>

#include <stdexcept>
#include <thread>

#include "bench/lazy.h"
#include "bench/queue_channels.h"
#include "bench/workers.h"

namespace commonhold::bench {

namespace {

constexpr std::int64_t kEnd = -1;
constexpr std::size_t kBulk = 256;  // items of 8 bytes in one call

// The receiver's clock runs from its 2001st item on, when both are at it, until the end.
constexpr std::uint64_t kWarmUp = 2000;

// The sender's process stays until everything has come: ZeroMQ sends from a thread of its own.
class Arrival {
 public:
  void tell() { told_->store(true); }
  void wait() {
    while (!told_->load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

 private:
  Shared<std::atomic<bool>> told_;
};

template <typename Channel>
void send_items(Channel& channel, Worker& worker, const Plan& plan, Arrival& arrived) {
  typename Channel::Item item{};
  worker.meet();
  std::int64_t number = 0;
  for (std::int64_t start = now_ns(); seconds_since(start) < plan.seconds * 1.25;) {
    for (int i = 0; i < 64; ++i) {
      item.words[0] = number++;
      channel.send(item);
    }
  }
  item.words[0] = kEnd;
  channel.send(item);
  arrived.wait();
}

template <typename Channel>
void receive_items(Channel& channel, Worker& worker, Arrival& arrived) {
  typename Channel::Item item{};
  channel.prepare();
  worker.meet();
  std::int64_t expected = 0, start = 0;
  for (;; ++expected) {
    if (expected == static_cast<std::int64_t>(kWarmUp)) start = now_ns();
    channel.receive(item);
    if (item.words[0] == kEnd) break;
    if (item.words[0] != expected) {
      throw std::runtime_error(fmt::format("item {} came where {} was next", item.words[0], expected));
    }
  }
  worker.record({static_cast<double>(expected) - kWarmUp, seconds_since(start)});
  arrived.tell();
}

template <typename Channel>
Contender stream(std::string name, Lazy<Channel> lazy) {
  return {std::move(name), [lazy](const Plan& plan) -> std::vector<double> {
            Channel& channel = *lazy;
            Arrival arrived;
            auto work = run_workers(2, plan, [&](Worker& worker) {
              worker.index() == 0 ? send_items(channel, worker, plan, arrived)
                                  : receive_items(channel, worker, arrived);
            });
            return {work[1].operations / work[1].seconds * 1e-6};
          }};
}

// ---- many items in a call

struct OurBulk {
  std::size_t receive(std::vector<std::int64_t>& items) {
    items = queue.get_many(kBulk);
    return items.size();
  }
  void send(const std::vector<std::int64_t>& items) { queue.put_many(items); }
  void prepare() {}
  Manager manager;
  Queue<std::int64_t> queue = manager.queue<std::int64_t>(8192);
};

struct PipeBulk {
  std::size_t receive(std::vector<std::int64_t>& items) {
    items.resize(kBulk);
    pipe.receive_bytes(items.data(), kBulk * 8);
    return kBulk;
  }
  void send(const std::vector<std::int64_t>& items) { pipe.send_bytes(items.data(), items.size() * 8); }
  void prepare() {}
  PipeChannel pipe;
};

struct ZeroMqBulk {
  std::size_t receive(std::vector<std::int64_t>& items) {
    items.resize(kBulk);
    channel.receive_bytes(items.data(), kBulk * 8);
    return kBulk;
  }
  void send(const std::vector<std::int64_t>& items) { channel.send_bytes(items.data(), items.size() * 8); }
  void prepare() { channel.prepare(); }
  ZeroMqChannel channel;
};

template <typename Channel>
Contender bulk_stream(std::string name, Lazy<Channel> lazy) {
  return {std::move(name), [lazy](const Plan& plan) -> std::vector<double> {
            Channel& channel = *lazy;
            Arrival arrived;
            auto work = run_workers(2, plan, [&](Worker& worker) {
              std::vector<std::int64_t> items(kBulk);
              if (worker.index() == 1) channel.prepare();
              worker.meet();
              if (worker.index() == 0) {
                std::int64_t number = 0;
                for (std::int64_t start = now_ns(); seconds_since(start) < plan.seconds * 1.25;) {
                  for (auto& item : items) item = number++;
                  channel.send(items);
                }
                for (auto& item : items) item = kEnd;
                channel.send(items);
                arrived.wait();
                return;
              }
              std::int64_t expected = 0, start = 0, first = 0;
              for (std::size_t ends = 0; ends < kBulk;) {
                if (start == 0 && expected >= static_cast<std::int64_t>(kWarmUp)) start = now_ns(), first = expected;
                std::size_t count = channel.receive(items);
                for (std::size_t i = 0; i < count; ++i) {
                  if (items[i] == kEnd) {
                    ++ends;
                  } else if (items[i] != expected++) {
                    throw std::runtime_error("an item is missing");
                  }
                }
              }
              worker.record({static_cast<double>(expected - first), seconds_since(start)});
              arrived.tell();
            });
            return {work[1].operations / work[1].seconds * 1e-6};
          }};
}

// ---- there and back

template <typename Channel>
struct BothWays {
  Channel there, back;
};

// Nanoseconds; with a pause the other side has gone to sleep each time.
template <typename Channel>
Contender round_trip(std::string name, Lazy<BothWays<Channel>> lazy, std::chrono::microseconds pause) {
  return {std::move(name), [lazy, pause](const Plan&) -> std::vector<double> {
            BothWays<Channel>& channel = *lazy;
            constexpr int kTrips = 2000, kMost = 4000;
            const int trips = pause.count() == 0 ? kMost : kTrips / 4;
            Plan plan;
            struct Times {
              double ns[kMost];
            };
            Shared<Times> times;
            Arrival arrived;
            run_workers(2, plan, [&](Worker& worker) {
              typename Channel::Item item{};
              (worker.index() == 0 ? channel.back : channel.there).prepare();
              worker.meet();
              if (worker.index() == 1) {
                for (int i = 0; i < trips + 100; ++i) {
                  channel.there.receive(item);
                  channel.back.send(item);
                }
                arrived.wait();
                return;
              }
              for (int i = -100; i < trips; ++i) {
                if (pause.count() != 0) std::this_thread::sleep_for(pause);
                std::int64_t start = now_ns();
                channel.there.send(item);
                channel.back.receive(item);
                if (i >= 0) times->ns[i] = static_cast<double>(now_ns() - start);
              }
              arrived.tell();
            });
            return {times->ns, times->ns + trips};
          }};
}

Contender python(std::string name, std::string size) {
  return {std::move(name), [size](const Plan&) -> std::vector<double> {
            return in_new_program({"python3", std::string(COMMONHOLD_BENCH_PYTHON) + "/queue_stream.py", size});
          }};
}

template <std::size_t kBytes>
Row stream_row(std::string name, double target) {
  return {.family = "queue",
          .name = std::move(name),
          .unit = "M/s",
          .target = target,
          .ours = stream("", Lazy<OurChannel<kBytes>>()),
          .beside = {stream("a pipe", Lazy<ChannelOf<PipeChannel, kBytes>>()),
                     stream("ZeroMQ, ipc", Lazy<ChannelOf<ZeroMqChannel, kBytes>>()),
                     stream("Boost.Interprocess message_queue", Lazy<BoostChannelOf<kBytes>>()),
                     python("Python multiprocessing.Queue", std::to_string(kBytes))}};
}

Row round_trip_row(std::string name, double target, std::chrono::microseconds pause) {
  return {.family = "queue",
          .name = std::move(name),
          .unit = "ns",
          .better = Better::kLower,
          .target = target,
          .ours = round_trip("", Lazy<BothWays<OurChannel<8>>>(), pause),
          .beside = {round_trip("a pipe", Lazy<BothWays<ChannelOf<PipeChannel, 8>>>(), pause),
                     round_trip("ZeroMQ, ipc", Lazy<BothWays<ChannelOf<ZeroMqChannel, 8>>>(), pause),
                     round_trip("Boost.Interprocess message_queue", Lazy<BothWays<BoostChannelOf<8>>>(), pause)}};
}

}  // namespace

void add_queue_rows(Rows& rows) {
  rows.push_back(stream_row<8>("8 bytes, 1 process to 1, item by item", 20));
  rows.push_back({.family = "queue",
                  .name = "8 bytes, 1 process to 1, 256 at a time",
                  .unit = "M/s",
                  .target = 60,
                  .ours = bulk_stream("", Lazy<OurBulk>()),
                  .beside = {bulk_stream("a pipe, 256 in a write", Lazy<PipeBulk>()),
                             bulk_stream("ZeroMQ, ipc, 256 in a message", Lazy<ZeroMqBulk>())}});
  rows.push_back(stream_row<64>("64 bytes, 1 process to 1, item by item", 0));
  rows.push_back(stream_row<1024>("1 KiB, 1 process to 1, item by item", 0));
  rows.push_back(round_trip_row("there and back, both running", 1000, std::chrono::microseconds(0)));
  rows.push_back(round_trip_row("there and back, the other asleep", 0, std::chrono::microseconds(300)));
}

}  // namespace commonhold::bench
