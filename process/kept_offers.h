// The connections among the results that a pool holds: each is a ticket, whose worker keeps a descriptor for it until
// it is redeemed, or the worker ends. A ticket that nobody can redeem any more, because its result was dropped, is
// noted for the pool, which tells the worker.
//
// Thread safety: any thread. A result may outlive its pool: what is noted then is for nobody, as the worker has ended.
// In a forked child nothing is noted: the tickets are its parent's.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace commonhold::detail {

class KeptOffers : public std::enable_shared_from_this<KeptOffers> {
 public:
  struct Offer {
    std::uint64_t worker;  // its serial number
    std::string ticket;
  };

  // Whoever keeps this keeps the offer.
  std::shared_ptr<void> keep(Offer offer) { return std::make_shared<Kept>(shared_from_this(), std::move(offer)); }

  // Those that nobody keeps any more, once.
  std::list<Offer> take_dropped() {
    std::lock_guard guard(mutex_);
    return std::exchange(dropped_, {});
  }
  // For the next take_dropped().
  void put_back(std::list<Offer> offers) {
    std::lock_guard guard(mutex_);
    dropped_.splice(dropped_.begin(), offers);
  }

 private:
  class Kept {
   public:
    Kept(std::shared_ptr<KeptOffers> at, Offer offer) : at_(std::move(at)) { offer_.push_back(std::move(offer)); }
    ~Kept() {
      if (at_->made_by_ != getpid()) return;
      std::lock_guard guard(at_->mutex_);
      at_->dropped_.splice(at_->dropped_.end(), offer_);  // allocates nothing
    }
    Kept(const Kept&) = delete;
    Kept& operator=(const Kept&) = delete;

   private:
    std::shared_ptr<KeptOffers> at_;
    std::list<Offer> offer_;
  };

  const pid_t made_by_ = getpid();
  std::mutex mutex_;
  std::list<Offer> dropped_;  // guarded by the mutex
};

}  // namespace commonhold::detail
