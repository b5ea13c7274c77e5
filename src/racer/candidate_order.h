// The order of a race's candidates: families interleaved inside ranks, each (address, port) once.
#pragma once

#include <span>
#include <vector>

#include "base/address.h"
#include "base/settings.h"
#include "base/time.h"

namespace conpool::racer {

struct Candidate {
  SocketAddress address;     // with its port
  uint32_t class_index = 0;  // preference over both families (RFC 6724 class); the lower one leads
  Nanos expected_delay = 0;  // the address's own attempt delay; 0 = connect_delay
  // Position of its port in the endpoint's list of ports; last resorts have ranks behind these.
  uint32_t rank = 0;
  bool cooling = false;      // failed lately: nobody waits long for it
  bool last_resort = false;  // it connects only to hang up: tried when those before it have failed
};

class CandidateOrder {
 public:
  // Candidates kept of one family's answer: kAddressesPerName on each of kPortsPerEndpoint.
  static constexpr size_t kMaxPerFamily = 1024;

  CandidateOrder(RaceFamily family, uint32_t first_family_count)
      : family_(family), first_family_count_(first_family_count) {}

  // Replaces the family's list. Tried candidates stay in front, whether they are in it or not.
  // Everything that is not IPv6 counts as the second family.
  void replace(Family family, std::span<const Candidate> candidates);
  // Both families out of one list.
  void replace_all(std::span<const Candidate> candidates);

  // The next untried candidate, or nullptr.
  const Candidate* next() const;
  // Marks the one that next() answered as tried.
  void mark_tried();
  bool has(Family family) const { return !lists_[family == Family::V6 ? 0 : 1].empty(); }
  bool empty() const { return order_.empty(); }

 private:
  struct Entry {
    Candidate candidate;
    bool tried = false;
  };
  bool allowed(Family family) const;
  bool v6_leads() const;
  void rebuild();

  RaceFamily family_;
  uint32_t first_family_count_;
  std::vector<Entry> lists_[2];  // 0: IPv6, 1: the rest; in the caller's order inside a rank
  struct Place {
    uint8_t list;
    uint32_t index;
  };
  std::vector<Place> order_;
  size_t next_ = 0;
};

}  // namespace conpool::racer
