// AddressHealth: what earlier dials teach about one (address, port) of an endpoint.
//
// Vocabulary
//   weight    failures in a row, in halves: a soft failure is 1, an answered one (refused, reset,
//             unreachable) 2, a silent one (nobody answered) 4, because silence costs each race
//             that meets it a whole attempt delay while a refusal costs milliseconds
//   cooldown  base · 2^(f-1) of f = weight / 2 whole failures, at most max, ±20 %: the time for
//   which the
//             address goes last. Below one whole failure there is none
//   probe     the one dial that tries the address again after its cooldown
//   proof     a TCP connect that succeeded within the last kProofLife
//
// It never refuses an address: the balancer orders by it.
#pragma once

#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"

namespace conpool::policy {

// Round trips of one address by RFC 6298 §2, measured by TCP connects.
class RoundTrips {
 public:
  static constexpr uint32_t kSamplesForDelay = 3;

  void add(Nanos sample);
  void flush() { *this = {}; }
  uint32_t samples() const { return samples_; }
  Nanos smoothed() const { return smoothed_; }  // 0 before the first sample
  Nanos variation() const { return variation_; }
  // clamp(smoothed + 4 · variation, least, most); 0 with fewer than kSamplesForDelay samples.
  Nanos attempt_delay(Nanos least, Nanos most) const;

 private:
  uint32_t samples_ = 0;
  Nanos smoothed_ = 0;
  Nanos variation_ = 0;
};

enum class Blame : uint8_t {
  None,    // not the address's doing: cancelled, certificate, out of descriptors or memory
  Soft,    // lost a race by more than its delay, but within its own known round trips
  Failed,  // the address answered no, or broke the handshake
  Silent,  // nobody answered
};
// What a failed attempt says about its address. A certificate is a verdict on a name, not an
// outage.
Blame blame_of(const Failure& failure);

struct HealthOptions {
  Nanos cooldown = kSecond;
  Nanos cooldown_max = 5 * kMinute;
};

class AddressHealth {
 public:
  enum class State : uint8_t {
    Healthy,  // in its normal place
    Suspect,  // an attempt is unanswered for longer than its delay: goes last until it ends
    Cooling,  // failed: goes last until the cooldown ends and a dial probes it
    Probing,  // one dial probes it; all others still find it last
  };
  static constexpr Nanos kProofLife = 250 * kMillisecond;
  static constexpr uint32_t kMaxWeight = 128;

  State state() const { return state_; }
  uint32_t weight() const { return weight_; }
  Time cooling_until() const { return cooling_until_; }
  // Cooled down and not being probed yet.
  bool wants_probe(Time now) const { return state_ == State::Cooling && now >= cooling_until_; }
  bool proven(Time now) const {
    return last_connect_ != kNever && now - last_connect_ < kProofLife;
  }

  void probe_started();            // Cooling → Probing
  void probe_abandoned(Time now);  // the probe ended and told nothing: the next dial probes
  void slow();                     // an attempt outlived its delay
  void slow_ended();               // that attempt ended without blame
  void connected(Time now);        // TCP answered: proof
  void succeeded();                // ready for use: the weight is 0 again
  // An attempt that started at `started` ended badly. Failures of one outage count once: those of
  // attempts that began before the last counted failure, and those met while the address cools
  // anyway.
  void failed(Time now, Time started, Blame blame, const HealthOptions& options, Rng& rng);
  void flush();  // the network changed

 private:
  void transition(State to);

  State state_ = State::Healthy;
  uint32_t weight_ = 0;
  uint32_t slow_ = 0;  // running attempts that are slow
  Time cooling_until_ = 0;
  Time last_blamed_ = -1;
  Time last_connect_ = kNever;
};

}  // namespace conpool::policy
