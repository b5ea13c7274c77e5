// DnsScript: a scripted DNS server for the simulated world, and the encoder of its messages (RFC
// 1035 §4).
//
//   DnsScript zone(network, "192.0.2.53:53");
//   zone.a("www.test", {"192.0.2.1", "192.0.2.2"}).aaaa("www.test", {"2001:db8::1"}, 60);
//   zone.delay("www.test", kDnsAaaa, 20 * kMillisecond);
//   network.at(5 * kSecond, [&] { zone.drop("www.test"); });
#pragma once

#include <initializer_list>
#include <map>
#include <optional>

#include "io/sim/sim_world.h"

namespace conpool::io {

inline constexpr uint16_t kDnsA = 1;
inline constexpr uint16_t kDnsCname = 5;
inline constexpr uint16_t kDnsSoa = 6;
inline constexpr uint16_t kDnsAaaa = 28;
inline constexpr uint16_t kDnsAny = 255;  // in a script: every type

enum class DnsRcode : uint8_t {
  NoError = 0,
  FormErr = 1,
  ServFail = 2,
  NxDomain = 3,
  NotImp = 4,
  Refused = 5,
};

// Writes one response, part by part. Owner names are written whole, without compression.
class DnsMessage {
 public:
  DnsMessage(std::string_view name, uint16_t type, DnsRcode rcode = DnsRcode::NoError);

  DnsMessage& a(std::string_view owner, std::string_view address, uint32_t ttl);
  DnsMessage& aaaa(std::string_view owner, std::string_view address, uint32_t ttl);
  DnsMessage& cname(std::string_view owner, std::string_view target, uint32_t ttl);
  // In the authority section, for negative answers (RFC 2308 §3): ttl of the record, and its
  // MINIMUM.
  DnsMessage& soa(std::string_view zone, uint32_t ttl, uint32_t minimum);
  DnsMessage& record(std::string_view owner, uint16_t type, uint32_t ttl,
                     std::span<const uint8_t> data);
  DnsMessage& id(uint16_t value);
  DnsMessage& rcode(DnsRcode value);
  DnsMessage& truncated(bool on);
  std::vector<uint8_t> bytes() const { return bytes_; }

  // Labels by length, closed by the root; escapes are not interpreted.
  static std::vector<uint8_t> encode_name(std::string_view name);

 private:
  void number16(uint16_t value);
  void number32(uint32_t value);
  void count_up(size_t offset);

  std::vector<uint8_t> bytes_;
};

// What a server at one address answers. Each call replaces what was there for that name and type,
// at any time; queries see the state of the moment they are sent.
class DnsScript {
 public:
  DnsScript(SimNetwork& network, std::string_view server);

  DnsScript& a(std::string_view name, std::vector<std::string> addresses, uint32_t ttl = 300);
  DnsScript& aaaa(std::string_view name, std::vector<std::string> addresses, uint32_t ttl = 300);
  DnsScript& cname(std::string_view name, std::string_view target, uint32_t ttl = 300);
  // The name does not exist: NXDOMAIN with this SOA time (also the answer for unknown names).
  DnsScript& nxdomain(std::string_view name, uint32_t ttl = 60);
  // No record of this type; also the answer when only another type is scripted.
  DnsScript& nodata(std::string_view name, uint16_t type, uint32_t ttl = 60);
  DnsScript& rcode(std::string_view name, uint16_t type, DnsRcode rcode);
  DnsScript& raw(std::string_view name, uint16_t type, std::vector<uint8_t> message);
  DnsScript& drop(std::string_view name, uint16_t type = kDnsAny);
  // Every query is lost, or (off) answered again.
  DnsScript& drop_all(bool on = true);
  // Answers of this name and type come so much later than `server_delay`.
  DnsScript& delay(std::string_view name, uint16_t type, Nanos delay);
  DnsScript& server_delay(Nanos delay);
  // Each answer starts one address later than the one before.
  DnsScript& rotate(bool on = true);
  DnsScript& forget(std::string_view name);
  // SOA time of negative answers that were not scripted one by one; 60 s unless set.
  DnsScript& negative_ttl(uint32_t ttl);

  const SocketAddress& server() const;
  // Queries this server received for a name (all of them when empty) and type.
  size_t queries(std::string_view name = {}, uint16_t type = kDnsAny) const;

 private:
  struct State;
  SimNetwork& network_;
  std::shared_ptr<State> state_;
};

}  // namespace conpool::io
