// AddressHealth: what earlier dials and checks teach about one (address, port) of an endpoint.
//
// One table of numbers:
//
//   what happened                        steps of the backoff   towards ejection
//   soft: lost a race within its own     1/2                    0
//     known round trips
//   failed: answered no (refused, reset, 1                      1
//     unreachable, handshake broken), or
//     an active check; or it accepted, and
//     ended the connection without a byte
//     of an answer to its first request
//   silent: nobody answered              3                      1
//   certificate refused, cancelled, no   0                      0
//     descriptor or memory of ours
//
//   step   1      2      3      4       5       6       7       8       9       11      12 and more
//   delay  250ms  400ms  640ms  1.024s  1.638s  2.621s  4.194s  6.711s  10.74s  27.49s  30s
//
// Silence costs each race that meets it a whole attempt delay while a refusal costs milliseconds;
// so an address that is silent is tried after 640 ms, 2.6 s, 11 s and then every 30 s.
//
// Vocabulary
//   weight    steps in a row, in halves
//   cooldown  the reconnect backoff: base · 1.6^(step-1), at most max, ±20 %, never below
//             kLeastReconnect: the time for which the address goes last. Below one step there is
//             none
//   ejected   after eject_after failures in a row (or as many failed checks, or hang-ups, which
//             successful connects between them do not take back): left out of the orders until the
//             cooldown ends, if the balancer has room for one more ejection
//   hang-up   a new connection that the peer ended before it answered anything: that of a proxy
//             whose server is gone. Taken back by an answer, not by a connect: until the
//             connection of a probe has brought one, the address goes on cooling
//   probe     the one dial that tries the address again after its cooldown
//   proof     a TCP connect that succeeded within the last kProofLife
//
// It never refuses an address: the balancer orders by it, and decides who may be ejected.
#pragma once

#include <algorithm>

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
// The same of an active check: what came after the connect, and its own deadline, count too.
Blame blame_of_check(const Failure& failure);

struct HealthOptions {
  Nanos cooldown = 250 * kMillisecond;
  Nanos cooldown_max = 30 * kSecond;
  uint32_t eject_after = 3;  // 0: never
};

class AddressHealth {
 public:
  enum class State : uint8_t {
    Healthy,  // in its normal place
    Suspect,  // an attempt is unanswered for longer than its delay: goes last until it ends
    Cooling,  // failed: goes last until the cooldown ends and a dial probes it
    Ejected,  // failed again and again: not in the orders until the cooldown ends
    Probing,  // one dial probes it; all others still find it last, or not at all when ejected
  };
  static constexpr Nanos kProofLife = 250 * kMillisecond;
  static constexpr uint32_t kMaxWeight = 128;

  State state() const { return state_; }
  uint32_t weight() const { return weight_; }
  // In a row: connects, checks or hang-ups.
  uint32_t failures() const { return std::max({failures_, checks_failed_, hung_up_}); }
  Time cooling_until() const { return cooling_until_; }
  // Cooled down and not being probed yet.
  bool wants_probe(Time now) const {
    return (state_ == State::Cooling || state_ == State::Ejected) && now >= cooling_until_;
  }
  // Takes one of the places for ejected addresses: Ejected, or probed after that.
  bool ejected() const { return ejected_; }
  // Not for the orders of others than its prober.
  bool left_out(Time now) const {
    return ejected_ && (state_ == State::Probing || now < cooling_until_);
  }
  // Cools since it hung up: that a connect to it succeeds first tells nothing.
  bool deceives(Time now) const {
    return hung_up_ > 0 && state_ != State::Healthy &&
           (state_ == State::Probing || now < cooling_until_);
  }
  bool may_be_ejected(const HealthOptions& options) const {
    return state_ == State::Cooling && options.eject_after != 0 &&
           failures() >= options.eject_after;
  }
  bool proven(Time now) const {
    return last_connect_ != kNever && now - last_connect_ < kProofLife;
  }

  void probe_started();            // Cooling, Ejected → Probing
  void probe_abandoned(Time now);  // the probe ended and told nothing: the next dial probes
  void slow();                     // an attempt outlived its delay
  void slow_ended();               // that attempt ended without blame
  void connected(Time now);        // TCP answered: proof
  void succeeded();                // ready for use: the weight is 0 again
  // A dial won: the same, but for an address that hung up, which has its cooldown again to answer.
  void opened(Time now, const HealthOptions& options, Rng& rng);
  // An attempt that started at `started` ended badly. Failures of one outage count once: those of
  // attempts that began before the last counted failure, and those met while the address cools
  // anyway.
  void failed(Time now, Time started, Blame blame, const HealthOptions& options, Rng& rng);
  // The first request on a connection whose dial began at `started` ended so.
  void answered();
  void hung_up(Time now, Time started, const HealthOptions& options, Rng& rng);
  void check_passed(Time now);  // as good as an answer: Healthy
  void check_failed(Time now, Blame blame, const HealthOptions& options, Rng& rng);
  void eject();    // Cooling → Ejected
  void readmit();  // ends an ejection early, not its cooldown
  void flush();    // the network changed

 private:
  // Nothing new: it met what is known already.
  bool of_the_last_failure(Time now, Time started) const;
  void transition(State to);

  State state_ = State::Healthy;
  uint32_t weight_ = 0;
  uint32_t failures_ = 0;       // of connects, in a row
  uint32_t checks_failed_ = 0;  // in a row
  uint32_t hung_up_ = 0;        // in a row
  bool ejected_ = false;
  bool awaits_answer_ = false;  // of a connection opened since the last failure
  uint32_t slow_ = 0;           // running attempts that are slow
  Time cooling_until_ = 0;
  Time last_blamed_ = -1;
  Time last_connect_ = kNever;
};

}  // namespace conpool::policy
