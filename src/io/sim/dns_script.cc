// Scripted DNS servers and the encoder of their messages.
#include "io/sim/dns_script.h"

#include <algorithm>
#include <cassert>

namespace conpool::io {

namespace {

constexpr size_t kAnswerCount = 6;  // offsets in the header, RFC 1035 §4.1.1
constexpr size_t kAuthorityCount = 8;
constexpr uint16_t kInternet = 1;
constexpr size_t kMaxChain = 64;  // CNAMEs followed within one answer; a loop ends here

std::string lower(std::string_view text) {
  std::string out(text);
  if (out.size() > 1 && out.back() == '.') out.pop_back();
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string parent_of(const std::string& name) {
  const size_t dot = name.find('.');
  return dot == std::string::npos ? std::string(".") : name.substr(dot + 1);
}

}  // namespace

// --- the encoder -----------------------------------------------------------------------

DnsMessage::DnsMessage(std::string_view name, uint16_t type, DnsRcode rcode) {
  bytes_ = {0, 0, 0x81, static_cast<uint8_t>(0x80 | static_cast<uint8_t>(rcode)), 0, 1, 0, 0, 0,
            0, 0, 0};
  const std::vector<uint8_t> question = encode_name(name);
  bytes_.insert(bytes_.end(), question.begin(), question.end());
  number16(type);
  number16(kInternet);
}

std::vector<uint8_t> DnsMessage::encode_name(std::string_view name) {
  std::vector<uint8_t> bytes;
  while (!name.empty() && name != ".") {
    const std::string_view label = name.substr(0, name.find('.'));
    assert(label.size() < 64);
    bytes.push_back(static_cast<uint8_t>(label.size()));
    bytes.insert(bytes.end(), label.begin(), label.end());
    name.remove_prefix(std::min(name.size(), label.size() + 1));
  }
  bytes.push_back(0);
  return bytes;
}

void DnsMessage::number16(uint16_t value) {
  bytes_.push_back(static_cast<uint8_t>(value >> 8));
  bytes_.push_back(static_cast<uint8_t>(value));
}

void DnsMessage::number32(uint32_t value) {
  number16(static_cast<uint16_t>(value >> 16));
  number16(static_cast<uint16_t>(value));
}

void DnsMessage::count_up(size_t offset) {
  if (++bytes_[offset + 1] == 0) ++bytes_[offset];
}

DnsMessage& DnsMessage::record(std::string_view owner, uint16_t type, uint32_t ttl,
                               std::span<const uint8_t> data) {
  count_up(kAnswerCount);
  const std::vector<uint8_t> name = encode_name(owner);
  bytes_.insert(bytes_.end(), name.begin(), name.end());
  number16(type);
  number16(kInternet);
  number32(ttl);
  number16(static_cast<uint16_t>(data.size()));
  bytes_.insert(bytes_.end(), data.begin(), data.end());
  return *this;
}

DnsMessage& DnsMessage::a(std::string_view owner, std::string_view address, uint32_t ttl) {
  const Result<SocketAddress> parsed = parse_ip_literal(address);
  assert(parsed && parsed->family() == Family::V4);
  return record(owner, kDnsA, ttl, {parsed->ip().data(), 4});
}

DnsMessage& DnsMessage::aaaa(std::string_view owner, std::string_view address, uint32_t ttl) {
  const Result<SocketAddress> parsed = parse_ip_literal(address);
  assert(parsed && parsed->family() == Family::V6);
  return record(owner, kDnsAaaa, ttl, {parsed->ip().data(), 16});
}

DnsMessage& DnsMessage::cname(std::string_view owner, std::string_view target, uint32_t ttl) {
  return record(owner, kDnsCname, ttl, encode_name(target));
}

DnsMessage& DnsMessage::soa(std::string_view zone, uint32_t ttl, uint32_t minimum) {
  DnsMessage numbers(".", 0);
  numbers.bytes_ = encode_name("ns." + std::string(zone));
  const std::vector<uint8_t> mailbox = encode_name("hostmaster." + std::string(zone));
  numbers.bytes_.insert(numbers.bytes_.end(), mailbox.begin(), mailbox.end());
  for (uint32_t value : {1u, 3600u, 600u, 86400u, minimum})
    numbers.number32(value);
  record(zone, kDnsSoa, ttl, numbers.bytes_);
  // The record belongs to the next section.
  if (bytes_[kAnswerCount + 1]-- == 0) --bytes_[kAnswerCount];
  count_up(kAuthorityCount);
  return *this;
}

DnsMessage& DnsMessage::id(uint16_t value) {
  bytes_[0] = static_cast<uint8_t>(value >> 8);
  bytes_[1] = static_cast<uint8_t>(value);
  return *this;
}

DnsMessage& DnsMessage::rcode(DnsRcode value) {
  bytes_[3] = static_cast<uint8_t>((bytes_[3] & 0xf0) | static_cast<uint8_t>(value));
  return *this;
}

DnsMessage& DnsMessage::truncated(bool on) {
  bytes_[2] = static_cast<uint8_t>(on ? bytes_[2] | 0x02 : bytes_[2] & ~0x02);
  return *this;
}

// --- the server ------------------------------------------------------------------------

struct DnsScript::State {
  struct Entry {
    std::vector<std::string> values;  // addresses, or the CNAME's target
    uint32_t ttl = 0;
    std::optional<DnsRcode> rcode;
    std::optional<std::vector<uint8_t>> raw;
    bool drop = false;
  };
  using Key = std::pair<std::string, uint16_t>;

  SocketAddress server;
  std::map<Key, Entry> entries;
  std::map<Key, Nanos> delays;
  std::map<Key, size_t> turns;
  std::map<Key, size_t> queries;
  Nanos delay = 0;
  uint32_t negative_ttl = 60;
  bool rotate = false;
  bool drop_all = false;

  Entry& entry(std::string_view name, uint16_t type) {
    Entry& made = entries[{lower(name), type}];
    made = Entry{};
    return made;
  }
  const Entry* find(const std::string& name, uint16_t type) const {
    for (const uint16_t wanted : {type, kDnsAny}) {
      const auto found = entries.find({name, wanted});
      if (found != entries.end()) return &found->second;
    }
    return nullptr;
  }
  bool has_name(const std::string& name) const {
    const auto found = entries.lower_bound({name, 0});
    return found != entries.end() && found->first.first == name;
  }
  SimDnsReply reply(const DnsQuery& query);
  std::vector<uint8_t> message(const DnsQuery& query);
  void add_addresses(DnsMessage* message, const std::string& name, uint16_t type,
                     const Entry& entry);
};

SimDnsReply DnsScript::State::reply(const DnsQuery& query) {
  const std::string name = lower(query.name);
  ++queries[{name, query.type}];
  SimDnsReply reply;
  reply.delay = delay;
  for (const uint16_t type : {query.type, kDnsAny}) {
    const auto found = delays.find({name, type});
    if (found != delays.end()) {
      reply.delay += found->second;
      break;
    }
  }
  const Entry* entry = find(name, query.type);
  if (drop_all || (entry != nullptr && entry->drop)) {
    reply.kind = SimDnsReply::Kind::Drop;
    return reply;
  }
  reply.message = entry != nullptr && entry->raw ? *entry->raw : message(query);
  return reply;
}

std::vector<uint8_t> DnsScript::State::message(const DnsQuery& query) {
  std::string name = lower(query.name);
  DnsMessage message(query.name, query.type);
  for (size_t hop = 0; hop < kMaxChain; ++hop) {
    const Entry* entry = find(name, query.type);
    if (entry != nullptr && entry->rcode) {
      if (*entry->rcode == DnsRcode::NoError || *entry->rcode == DnsRcode::NxDomain) {
        message.soa(parent_of(name), entry->ttl, entry->ttl);
      }
      return message.rcode(*entry->rcode).bytes();
    }
    if (entry != nullptr) {
      add_addresses(&message, name, query.type, *entry);
      return message.bytes();
    }
    const auto alias = entries.find({name, kDnsCname});
    if (alias == entries.end()) break;
    message.cname(name, alias->second.values.front(), alias->second.ttl);
    name = lower(alias->second.values.front());
  }
  // RFC 2308 §2: an existing name without such a record, or no such name (after its aliases).
  message.soa(parent_of(name), negative_ttl, negative_ttl);
  return message.rcode(has_name(name) ? DnsRcode::NoError : DnsRcode::NxDomain).bytes();
}

void DnsScript::State::add_addresses(DnsMessage* message, const std::string& name, uint16_t type,
                                     const Entry& entry) {
  const size_t first = rotate ? turns[{name, type}]++ : 0;
  for (size_t i = 0; i < entry.values.size(); ++i) {
    const std::string& value = entry.values[(first + i) % entry.values.size()];
    if (type == kDnsAaaa) message->aaaa(name, value, entry.ttl);
    if (type == kDnsA) message->a(name, value, entry.ttl);
    if (type == kDnsCname) message->cname(name, value, entry.ttl);
  }
}

DnsScript::DnsScript(SimNetwork& network, std::string_view server)
    : network_(network), state_(std::make_shared<State>()) {
  const Result<SocketAddress> address = parse_address_and_port(server);
  assert(address && "a DNS server is address:port");
  state_->server = *address;
  network_.dns(*address, [state = state_](const DnsQuery& query, Time) {
    return std::vector<SimDnsReply>{state->reply(query)};
  });
}

DnsScript& DnsScript::a(std::string_view name, std::vector<std::string> addresses, uint32_t ttl) {
  State::Entry& entry = state_->entry(name, kDnsA);
  entry.values = std::move(addresses);
  entry.ttl = ttl;
  return *this;
}

DnsScript& DnsScript::aaaa(std::string_view name, std::vector<std::string> addresses,
                           uint32_t ttl) {
  State::Entry& entry = state_->entry(name, kDnsAaaa);
  entry.values = std::move(addresses);
  entry.ttl = ttl;
  return *this;
}

DnsScript& DnsScript::cname(std::string_view name, std::string_view target, uint32_t ttl) {
  State::Entry& entry = state_->entry(name, kDnsCname);
  entry.values = {std::string(target)};
  entry.ttl = ttl;
  return *this;
}

DnsScript& DnsScript::nxdomain(std::string_view name, uint32_t ttl) {
  forget(name);
  State::Entry& entry = state_->entry(name, kDnsAny);
  entry.rcode = DnsRcode::NxDomain;
  entry.ttl = ttl;
  return *this;
}

DnsScript& DnsScript::nodata(std::string_view name, uint16_t type, uint32_t ttl) {
  State::Entry& entry = state_->entry(name, type);
  entry.rcode = DnsRcode::NoError;
  entry.ttl = ttl;
  return *this;
}

DnsScript& DnsScript::rcode(std::string_view name, uint16_t type, DnsRcode rcode) {
  State::Entry& entry = state_->entry(name, type);
  entry.rcode = rcode;
  entry.ttl = state_->negative_ttl;
  return *this;
}

DnsScript& DnsScript::raw(std::string_view name, uint16_t type, std::vector<uint8_t> message) {
  state_->entry(name, type).raw = std::move(message);
  return *this;
}

DnsScript& DnsScript::drop(std::string_view name, uint16_t type) {
  if (type == kDnsAny) forget(name);
  state_->entry(name, type).drop = true;
  return *this;
}

DnsScript& DnsScript::drop_all(bool on) {
  state_->drop_all = on;
  return *this;
}

DnsScript& DnsScript::delay(std::string_view name, uint16_t type, Nanos delay) {
  state_->delays[{lower(name), type}] = delay;
  return *this;
}

DnsScript& DnsScript::server_delay(Nanos delay) {
  state_->delay = delay;
  return *this;
}

DnsScript& DnsScript::rotate(bool on) {
  state_->rotate = on;
  return *this;
}

DnsScript& DnsScript::negative_ttl(uint32_t ttl) {
  state_->negative_ttl = ttl;
  return *this;
}

DnsScript& DnsScript::forget(std::string_view name) {
  const std::string key = lower(name);
  std::erase_if(state_->entries, [&](const auto& item) { return item.first.first == key; });
  return *this;
}

const SocketAddress& DnsScript::server() const {
  return state_->server;
}

size_t DnsScript::queries(std::string_view name, uint16_t type) const {
  const std::string key = lower(name);
  size_t count = 0;
  for (const auto& [asked, times] : state_->queries) {
    if ((key.empty() || asked.first == key) && (type == kDnsAny || asked.second == type))
      count += times;
  }
  return count;
}

}  // namespace conpool::io
