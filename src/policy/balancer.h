// Balancer: the order in which the dials of one endpoint try its addresses. It orders, the race
// decides.
//
// Vocabulary
//   load          open connections of an address + running dials that have it as their first choice
//   first choice  the head of a dial's order, counted at once, so that parallel dials take
//   different heads class         addresses equal under RFC 6724 rules 1..8; rules 9 and 10 may be
//   replaced (§6), so the
//                 balancer orders inside a class and leaves the order of the classes alone. Two
//                 exceptions: suspect and cooling addresses go behind every class (rule 1: avoid
//                 what is known to be unreachable), and IPv6 as a family goes behind IPv4 for a
//                 minute after it lost kFamilyLosses races in a row to it
//   ejected       an address that failed eject_after times in a row is not in the orders until its
//                 cooldown ends: then it is probed like a cooling one. At most eject_most percent
//                 of the present addresses are, and never all: the one address of an endpoint never
//                 is. With no other that may work, the order holds whichever cooldown ends first
//                 all the same
//   last resort   an address that hung up (address_health.h) goes behind all others while it cools,
//                 and the race waits for those before it: it would win every race otherwise
//   band          an address slower than max(2 · best, best + 20 ms) goes after the faster ones of
//                 its class. Every probe_every-th order leaves it out, so that old measurements
//                 cannot hold for ever (RFC 8305 §4: histories must converge)
//   paced         an address in a class of several that has not answered a connect just now
//   (kProofLife);
//                 a black hole is noticed only by the absence of answers, so an old proof proves
//                 nothing
//
// Why a dial may have to wait. Forty parallel dials to four addresses must end with ten connections
// each, and if one of the four is silent it must not see ten SYNs in the same instant. Both at once
// need evidence: a paced address is the first choice of at most kUnprovenDials running dials. A
// further dial whose turn it would be waits for that evidence instead of going to an address that
// already has more (which would ruin the balance for the address's slower sisters) or to the
// unproven one (which would be the storm). The wait is short: one TCP round trip when the address
// lives. When it does not, it ends as soon as the unanswered time alone puts the address outside
// its sisters' band (at best · 3, at least best + 50 ms), or when the race calls the address slow.
// An address that is new in the answer is unproven too: it joins gradually by the same rule. A
// class of one address has no choice to make and never waits; neither do the policies other than
// least_connections.
//
// Before the first answer nothing is known, so kScoutDials dials go ahead and fetch it; the rest
// wait.
//
// Lifecycle of a dial: begin_dial → (order, when addresses came later) → attempt events → end_dial.
// A wait is only answered while a dial runs. The pool asks again when generation() has changed or
// at retry_at; end_dial, an answering address, a slow one and new addresses change it.
#pragma once

#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/settings.h"
#include "policy/address_health.h"

namespace conpool::policy {

struct BalancerOptions {
  BalancePolicy policy = BalancePolicy::LeastConnections;
  HealthOptions health;
  uint32_t eject_most = 50;   // percent of the present addresses
  uint32_t probe_every = 64;  // 0 = never
  bool adaptive = true;       // give measured attempt delays
  Nanos delay_min = 100 * kMillisecond;
  Nanos delay_max = 2 * kSecond;
};
BalancerOptions balancer_options(const Values& values);

using DialToken = uint64_t;  // 0 = none

// One address as the resolver sorted it.
struct SortedAddress {
  SocketAddress address;  // with its port
  // RFC 6724 class, ascending along the list; with several ports counted up port by port, so that
  // the balance never spreads over ports.
  uint32_t class_index = 0;
};

// One address in a dial's order; the fields of racer::Candidate that the balancer knows.
struct Choice {
  SocketAddress address;
  uint32_t class_index = 0;  // renumbered along the order: the race's leading family is the head's
  Nanos expected_delay = 0;  // 0 = connect_delay
  bool cooling = false;      // failed lately
  bool last_resort = false;  // hung up lately: behind all others
};

class Balancer {
 public:
  static constexpr uint32_t kUnprovenDials = 1;
  static constexpr uint32_t kScoutDials = 2;
  static constexpr uint32_t kFamilyLosses = 3;
  static constexpr Nanos kFamilyDemotion = 60 * kSecond;
  static constexpr Nanos kBandSlack = 20 * kMillisecond;
  static constexpr Nanos kUnansweredSlack = 50 * kMillisecond;
  // Addresses remembered; ones that left the answer and carry no connection go first.
  static constexpr size_t kMaxRemembered = 256;

  struct Begin {
    DialToken token = 0;     // 0: wait
    Time retry_at = kNever;  // for a wait: ask again then, or when generation() changes
  };

  Balancer(const BalancerOptions& options, uint64_t seed);

  // The endpoint's present addresses in RFC 6724 order; duplicates count once. Replaces the earlier
  // ones. The load, health and round trips of an address stay as long as it is remembered.
  void set_addresses(Time now, std::span<const SortedAddress> sorted);
  bool has_addresses() const { return !present_.empty(); }
  // False for an address that left the answer: its connections drain.
  bool present(const SocketAddress& address) const;

  // Starts a dial, or tells it to wait. Fills `order` when addresses are known, and counts its
  // head.
  Begin begin_dial(Time now, std::vector<Choice>* order);
  // The order anew, for a running dial whose addresses came or changed. The count moves to the new
  // head unless the dial has started an attempt.
  void order(Time now, DialToken token, std::vector<Choice>* order);

  // Events of the dial's attempts. Every attempt that starts ends in one of failed, lost or (for
  // the winner) end_dial; what is still open then ends there without blame.
  void attempt_started(Time now, DialToken token, const SocketAddress& address);
  void attempt_slow(Time now, DialToken token, const SocketAddress& address);
  void attempt_connected(Time now, DialToken token, const SocketAddress& address, Nanos rtt);
  void attempt_failed(Time now, DialToken token, const SocketAddress& address,
                      const Failure& failure);
  // Closed by the race. by_delay: it was behind the winner by its delay or more, or was given up.
  void attempt_lost(Time now, DialToken token, const SocketAddress& address, bool by_delay);
  // Ends the dial. The winner, if any, is counted as an open connection from here on.
  void end_dial(Time now, DialToken token, const SocketAddress* winner);

  // An active check of the address ended. Passed, it ends an ejection or cooldown at once; failed,
  // it counts as a failed attempt that nothing but a passed check takes back. Unknown addresses are
  // ignored.
  void check_passed(Time now, const SocketAddress& address);
  void check_failed(Time now, const SocketAddress& address, const Failure& failure);

  // What the first request on a connection met, whose dial began at `started`: an answer, or the
  // connection's end without one. Unknown addresses are ignored.
  void answered(const SocketAddress& address);
  void hung_up(Time now, const SocketAddress& address, Time started);

  // A connection that end_dial counted is gone.
  void connection_closed(const SocketAddress& address);
  // Forgets health, round trips and proofs (RFC 8305 §4: histories belong to one network).
  void network_changed(Time now);

  uint64_t generation() const { return generation_; }
  // IPv6 goes behind IPv4 now; a race with family `auto` then takes v4_first and does not await
  // AAAA.
  bool v6_demoted(Time now) const { return now < v6_demoted_until_; }
  size_t running_dials() const { return dials_.size(); }

  // Readout of one address.
  struct View {
    SocketAddress address;
    AddressHealth::State state = AddressHealth::State::Healthy;
    bool present = false;
    uint32_t open = 0;
    uint32_t first_choices = 0;
    uint32_t weight = 0;
    uint32_t failed_in_row = 0;  // connects, checks or hang-ups
    Time cooling_until = 0;
    Nanos srtt = 0;
    uint32_t rtt_samples = 0;
    uint64_t attempts = 0;  // started
    uint64_t connects = 0;  // TCP succeeded
    uint64_t failures = 0;  // with blame
  };
  std::vector<View> views() const;  // present ones first, in RFC 6724 order
  View view(const SocketAddress& address) const;
  // Present addresses in the state Ejected.
  size_t ejected() const;
  uint32_t load(const SocketAddress& address) const;
  // Healthy for an address that is not known.
  AddressHealth::State health(const SocketAddress& address) const;

 private:
  struct Record {
    AddressHealth health;
    RoundTrips rtt;
    uint32_t class_index = 0;
    bool present = false;
    uint32_t open = 0;
    uint32_t first_choices = 0;
    uint64_t left_at = 0;  // order of leaving the answer, for forgetting
    uint64_t attempts = 0;
    uint64_t connects = 0;
    uint64_t failures = 0;
    std::vector<Time> unanswered;  // starts of running attempts without an answer, ascending

    void answered(Time started);
  };
  struct OpenAttempt {
    SocketAddress address;
    Time started = 0;
    bool answered = false;
    bool slow = false;
  };
  struct Dial {
    Record* first = nullptr;
    bool probe = false;  // its first choice is a probe
    bool attempted = false;
    bool v6_blamed = false;
    std::vector<OpenAttempt> attempts;
  };
  struct Rank;  // the sort key of one address in one order
  static size_t class_size(const std::vector<Rank>& ranks, uint32_t class_index);

  Record* find(const SocketAddress& address);
  const Record* find(const SocketAddress& address) const;
  Dial* dial(DialToken token);
  OpenAttempt* attempt(DialToken token, const SocketAddress& address);
  std::vector<Rank> ranked(Time now, const Dial* running);
  std::vector<Rank> usable(Time now, const Dial* running);
  void classify(Time now, std::vector<Rank>& ranks);
  void choose_probe(Time now, std::vector<Rank>& ranks);
  void measure(Time now, std::vector<Rank>& ranks);
  bool must_wait(Time now, const std::vector<Rank>& ranks, Time* retry_at) const;
  static View view_of(const SocketAddress& address, const Record& record);
  size_t most_ejected() const;
  size_t places_taken() const;
  void eject_if_due(Record& record);
  void readmit_excess();
  // When the unanswered time alone puts the address outside its sisters' band.
  static Time outside_band_at(const Record& record, Nanos best);
  Nanos best_of_class(uint32_t class_index, const Record* except) const;
  void write_order(const std::vector<Rank>& ranks, std::vector<Choice>* order) const;
  void take_first(Dial& dial, const std::vector<Rank>& ranks);
  void drop_first(Time now, Dial& dial);
  void end_attempt(Time now, Dial& dial, const SocketAddress& address, Blame blame);
  void count_family(Time now, const Dial& dial, const SocketAddress& winner);
  void forget_excess();

  BalancerOptions options_;
  Rng rng_;
  std::map<SocketAddress, Record> records_;  // stable addresses: dials point into it
  std::vector<SocketAddress> present_;       // in RFC 6724 order
  std::unordered_map<DialToken, Dial> dials_;
  DialToken next_token_ = 1;
  uint64_t generation_ = 0;
  uint64_t orders_ = 0;
  uint64_t turn_ = 0;  // of round_robin
  uint64_t leavings_ = 0;
  uint32_t v6_losses_ = 0;
  Time v6_demoted_until_ = 0;
};

}  // namespace conpool::policy
