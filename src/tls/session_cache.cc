// Tickets by key: bounded, newest first, each handed out once.
#include "tls/session_cache.h"

#include <openssl/ssl.h>

#include <algorithm>

namespace conpool::tls {

namespace {

void add_number(std::string* key, uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8)
    key->push_back(static_cast<char>(value >> shift));
}
// Length first, so that no two lists of fields give the same bytes.
void add_text(std::string* key, const std::string& text) {
  add_number(key, text.size());
  *key += text;
}

// RFC 8446 §4.6.1 and RFC 5077 §5.6: the hint bounds the life; 0 leaves it to the client in
// TLS 1.2.
Nanos lifetime(const SSL_SESSION* session) {
  const auto hint = static_cast<int64_t>(SSL_SESSION_get_ticket_lifetime_hint(session));
  const int64_t own = SSL_SESSION_get_timeout(session);
  if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION && hint == 0) return 0;
  int64_t seconds = own;
  if (hint > 0) seconds = std::min(hint, SessionCache::kMaxLifetime / kSecond);
  return std::clamp<int64_t>(seconds, 0, SessionCache::kMaxLifetime / kSecond) * kSecond;
}

}  // namespace

std::string ticket_key(const TicketFields& fields) {
  std::string key;
  add_text(&key, fields.kind);
  add_text(&key, fields.host);
  add_number(&key, fields.ports.size());
  for (const uint16_t port : fields.ports)
    add_number(&key, port);
  add_number(&key, fields.addresses.size());
  for (const SocketAddress& address : fields.addresses)
    add_text(&key, address.text());
  add_number(&key, fields.settings_id);
  add_text(&key, fields.partition);
  add_text(&key, fields.verify_name);
  add_text(&key, fields.sni);
  add_number(&key, fields.alpn.size());
  for (const std::string& protocol : fields.alpn)
    add_text(&key, protocol);
  add_text(&key, fields.client_fingerprint);
  add_text(&key, fields.hop);
  return key;
}

void SessionDeleter::operator()(ssl_session_st* session) const noexcept {
  SSL_SESSION_free(session);
}

void SessionCache::put(const std::string& key, SessionPtr session, Time now) {
  if (session == nullptr || limit_ == 0) return;
  const Nanos life = lifetime(session.get());
  if (life <= 0) return;
  auto found = index_.find(key);
  if (found == index_.end()) {
    if (entries_.size() >= limit_) {
      index_.erase(entries_.back().key);
      entries_.pop_back();
    }
    entries_.push_front(Entry{key, {}});
    found = index_.emplace(key, entries_.begin()).first;
  } else {
    entries_.splice(entries_.begin(), entries_, found->second);
  }
  std::deque<Ticket>& tickets = found->second->tickets;
  if (tickets.size() >= kPerKey) tickets.pop_back();
  tickets.push_front(Ticket{std::move(session), deadline_after(now, life)});
}

SessionPtr SessionCache::take(const std::string& key, Time now) {
  const auto found = index_.find(key);
  if (found == index_.end()) return nullptr;
  std::deque<Ticket>& tickets = found->second->tickets;
  SessionPtr session;
  while (!tickets.empty() && session == nullptr) {
    if (tickets.front().expires > now) session = std::move(tickets.front().session);
    tickets.pop_front();
  }
  if (tickets.empty()) {
    entries_.erase(found->second);
    index_.erase(found);
  } else {
    entries_.splice(entries_.begin(), entries_, found->second);
  }
  return session;
}

void SessionCache::drop(const std::string& key) {
  const auto found = index_.find(key);
  if (found == index_.end()) return;
  entries_.erase(found->second);
  index_.erase(found);
}

void SessionCache::clear() {
  index_.clear();
  entries_.clear();
}

size_t SessionCache::tickets() const {
  size_t count = 0;
  for (const Entry& entry : entries_)
    count += entry.tickets.size();
  return count;
}

}  // namespace conpool::tls
