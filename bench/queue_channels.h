// Ways from one process to another, each with send and receive of items of one size. The two ends are used in two
// processes that were forked after the channel was made.
#pragma once

#include <commonhold/manager.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace commonhold::bench {

template <std::size_t kBytes>
struct Message {
  std::int64_t words[kBytes / 8];
};

template <std::size_t kBytes>
struct OurChannel {
  using Item = Message<kBytes>;
  void send(const Item& item) { queue.put(item); }
  void receive(Item& item) { item = queue.get(); }
  void prepare() {}
  Manager manager;
  Queue<Item> queue = manager.queue<Item>(8192);
};

class PipeChannel {
 public:
  PipeChannel();
  ~PipeChannel();
  PipeChannel(const PipeChannel&) = delete;
  PipeChannel& operator=(const PipeChannel&) = delete;
  void send_bytes(const void* bytes, std::size_t size);
  void receive_bytes(void* bytes, std::size_t size);
  void prepare() {}  // by the receiver, before anybody sends

 private:
  int ends_[2];
};

class BoostChannel {
 public:
  explicit BoostChannel(std::size_t size);
  ~BoostChannel();
  BoostChannel(const BoostChannel&) = delete;
  BoostChannel& operator=(const BoostChannel&) = delete;
  void send_bytes(const void* bytes, std::size_t size);
  void receive_bytes(void* bytes, std::size_t size);
  void prepare() {}  // by the receiver, before anybody sends

 private:
  std::string name_;
  std::optional<boost::interprocess::message_queue> queue_;
};

// PUSH and PULL over ipc. Each end is opened in the process that first uses it. Throws Unavailable where the benchmarks
// were built without ZeroMQ.
class ZeroMqChannel {
 public:
  ZeroMqChannel();
  ~ZeroMqChannel();
  ZeroMqChannel(const ZeroMqChannel&) = delete;
  ZeroMqChannel& operator=(const ZeroMqChannel&) = delete;
  void send_bytes(const void* bytes, std::size_t size);
  void receive_bytes(void* bytes, std::size_t size);
  void prepare();  // by the receiver, before anybody sends

 private:
  struct End;
  std::string address_;
  std::unique_ptr<End> end_;
};

// A channel of bytes as one of items.
template <typename Bytes, std::size_t kBytes>
struct ChannelOf {
  using Item = Message<kBytes>;
  void send(const Item& item) { bytes.send_bytes(&item, kBytes); }
  void receive(Item& item) { bytes.receive_bytes(&item, kBytes); }
  void prepare() { bytes.prepare(); }
  Bytes bytes;
};
template <std::size_t kBytes>
struct BoostChannelOf {
  using Item = Message<kBytes>;
  void send(const Item& item) { bytes.send_bytes(&item, kBytes); }
  void receive(Item& item) { bytes.receive_bytes(&item, kBytes); }
  void prepare() { bytes.prepare(); }
  BoostChannel bytes{kBytes};
};

}  // namespace commonhold::bench
