// DialRun: one dial of an endpoint with its repeated rounds (connect.retries) and its place in the
// balance.
#pragma once

#include <memory>

#include "base/rng.h"
#include "dial/dial.h"
#include "policy/balancer.h"

namespace conpool::pool {

class Endpoint;

// Lifecycle: Paced (the balancer wants to see proof of an address first) → Dialing → (Resting →
// Paced → Dialing …) → dialed or failed, told to the endpoint once.
class DialRun final : public io::Discardable, private dial::DialOwner {
 public:
  DialRun(Endpoint& endpoint, uint64_t id, std::shared_ptr<const Values> values);
  ~DialRun() override;

  uint64_t id() const { return id_; }
  // Tries to begin the round; a paced run tries again whenever the balancer's generation changes.
  void try_begin();
  bool paced() const { return state_ == State::Paced; }
  Time retry_at() const { return retry_at_; }  // of a paced run
  // Calls everything off without telling the endpoint.
  void abort();

 private:
  enum class State : uint8_t { Paced, Dialing, Resting, Ended };

  // --- dial::DialOwner
  void answered(Family family, const resolver::FamilyAnswer& answer) override;
  std::vector<racer::Candidate> candidates() override;
  bool allowed(const SocketAddress& address) override;
  void attempt_started(const SocketAddress& address) override;
  void attempt_slow(const SocketAddress& address) override;
  void attempt_connected(const SocketAddress& address, Nanos rtt) override;
  void attempt_failed(const SocketAddress& address, const Failure& failure) override;
  void attempt_lost(const SocketAddress& address, bool by_delay) override;
  void dialed(dial::Established established) override;
  void dial_failed(std::shared_ptr<Error> error) override;

  template <typename Change>
  void with_health(const SocketAddress& address, Change&& change);
  void end_round(const SocketAddress* winner);
  void drop_dial();
  bool worth_repeating(const Failure& failure) const;

  Endpoint& endpoint_;
  const uint64_t id_;
  const std::shared_ptr<const Values> values_;
  State state_ = State::Paced;
  Time started_ = 0;
  Time round_started_ = 0;
  uint16_t round_ = 1;
  Time retry_at_ = kNever;
  policy::DialToken token_ = 0;
  std::unique_ptr<dial::Dial> dial_;
  std::vector<Attempt> attempts_;       // of earlier rounds
  Family first_family_ = Family::None;  // of the first attempt
  Timer rest_;
};

}  // namespace conpool::pool
