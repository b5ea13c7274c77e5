// Tickets: TLS sessions that may be resumed, under keys that hold everything they depend on.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/time.h"
#include "tls/library.h"

struct ssl_session_st;  // OpenSSL's SSL_SESSION

namespace conpool::tls {

// What a ticket is bound to. OpenSSL itself resumes a session of one name on a connection to
// another without a complaint, so a field that is missing here is a hole. A test flips every one.
struct TicketFields {
  std::string kind;  // "raw", "http1", "http"
  std::string host;  // the endpoint's normalised host
  std::vector<uint16_t> ports;
  std::vector<SocketAddress> addresses;  // the caller's own list, in its order
  uint64_t settings_id = 0;
  std::string partition;
  std::string verify_name;         // the name the certificate must carry
  std::string sni;                 // empty for IP literals
  std::vector<std::string> alpn;   // as offered
  std::string client_fingerprint;  // Context::client_fingerprint()
  std::string hop;                 // "", "postgres"
};

// An opaque string that differs whenever a field differs.
std::string ticket_key(const TicketFields& fields);

// A session's certificates are objects of its library, which therefore outlives it.
struct SessionDeleter {
  std::shared_ptr<Library> library = nullptr;
  void operator()(ssl_session_st* session) const noexcept;
};
using SessionPtr = std::unique_ptr<ssl_session_st, SessionDeleter>;

// Belongs to one loop. At most kPerKey tickets per key, newest first; at most kKeys keys, the one
// unused for longest goes first. A ticket is handed out once.
class SessionCache {
 public:
  static constexpr size_t kPerKey = 2;
  static constexpr size_t kKeys = 1024;
  static constexpr Nanos kMaxLifetime = 7 * 24 * kHour;  // RFC 8446 §4.6.1

  explicit SessionCache(size_t keys = kKeys) : limit_(keys) {}

  void put(const std::string& key, SessionPtr session, Time now);
  // The newest live ticket, or null. It is no longer in the cache afterwards.
  SessionPtr take(const std::string& key, Time now);
  void drop(const std::string& key);
  void clear();
  size_t keys() const { return entries_.size(); }
  size_t tickets() const;

 private:
  struct Ticket {
    SessionPtr session;
    Time expires = 0;
  };
  struct Entry {
    std::string key;
    std::deque<Ticket> tickets;
  };
  using Entries = std::list<Entry>;  // most recently used first

  size_t limit_;
  Entries entries_;
  std::unordered_map<std::string, Entries::iterator> index_;
};

}  // namespace conpool::tls
