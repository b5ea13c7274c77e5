// DNS answers: see the header. Names are compared in wire form, so that a dot inside a label stays
// one.
#include "resolver/dns_message.h"

#include <algorithm>

#include "base/limits.h"

namespace conpool::resolver {
namespace {

constexpr uint16_t kTypeCname = 5;
constexpr uint16_t kTypeSoa = 6;
constexpr uint16_t kTypeOpt = 41;
constexpr uint16_t kClassIn = 1;
constexpr size_t kHeaderBytes = 12;
constexpr size_t kNameBytes = 255;  // RFC 1035 §2.3.4, in wire form
constexpr size_t kJumps = 64;       // compression pointers followed in one name
constexpr size_t kCnames = 64;      // CNAME records looked at in one answer

uint8_t lower(uint8_t c) {
  return c >= 'A' && c <= 'Z' ? static_cast<uint8_t>(c + 32) : c;
}

struct Record {
  std::string owner;  // wire form, lower case
  uint16_t type = 0;
  uint16_t class_ = 0;
  uint32_t ttl = 0;
  size_t data = 0;  // offset of the rdata
  size_t size = 0;
};

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> message) : message_(message) {}

  size_t at() const { return at_; }
  void seek(size_t offset) { at_ = offset; }
  uint8_t byte(size_t offset) const { return message_[offset]; }

  bool u16(uint16_t* out) {
    if (message_.size() - at_ < 2) return false;
    *out = static_cast<uint16_t>(message_[at_] << 8 | message_[at_ + 1]);
    at_ += 2;
    return true;
  }
  bool u32(uint32_t* out) {
    uint16_t high = 0;
    uint16_t low = 0;
    if (!u16(&high) || !u16(&low)) return false;
    *out = static_cast<uint32_t>(high) << 16 | low;
    return true;
  }

  // One name in wire form and lower case. Pointers go strictly backwards, which alone ends every
  // loop; the number of jumps is bounded too, because each costs time.
  bool name(std::string* out) {
    out->clear();
    size_t position = at_;
    size_t least = at_;  // a pointer must lead before it
    size_t jumps = 0;
    bool jumped = false;
    for (;;) {
      if (position >= message_.size()) return false;
      const uint8_t length = message_[position];
      if ((length & 0xc0) == 0xc0) {
        if (message_.size() - position < 2) return false;
        const size_t target = static_cast<size_t>(length & 0x3f) << 8 | message_[position + 1];
        if (target < kHeaderBytes || target >= least || ++jumps > kJumps) return false;
        if (!jumped) at_ = position + 2;
        jumped = true;
        least = position = target;
        continue;
      }
      if ((length & 0xc0) != 0) return false;  // reserved label types
      if (message_.size() - position < size_t{1} + length) return false;
      if (out->size() + 1 + length > kNameBytes) return false;
      out->push_back(static_cast<char>(length));
      for (size_t i = 1; i <= length; ++i) {
        out->push_back(static_cast<char>(lower(message_[position + i])));
      }
      position += size_t{1} + length;
      if (length == 0) break;
    }
    if (!jumped) at_ = position;
    return true;
  }

  bool record(Record* out) {
    uint16_t size = 0;
    if (!name(&out->owner) || !u16(&out->type) || !u16(&out->class_) || !u32(&out->ttl) ||
        !u16(&size)) {
      return false;
    }
    if (message_.size() - at_ < size) return false;
    out->data = at_;
    out->size = size;
    at_ += size;
    return true;
  }

 private:
  std::span<const uint8_t> message_;
  size_t at_ = 0;
};

// "a.example" to its wire form; empty when it is not a name.
std::string wire_name(std::string_view text) {
  std::string wire;
  while (!text.empty()) {
    const size_t dot = std::min(text.find('.'), text.size());
    if (dot == 0 || dot > limits::kLabelBytes) return {};
    wire.push_back(static_cast<char>(dot));
    for (char c : text.substr(0, dot)) {
      wire.push_back(static_cast<char>(lower(static_cast<uint8_t>(c))));
    }
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  wire.push_back('\0');
  return wire.size() > kNameBytes ? std::string() : wire;
}

// Whether `ancestor` is `name` or a name above it.
bool is_ancestor(std::string_view ancestor, std::string_view name) {
  while (name.size() > ancestor.size()) {
    name.remove_prefix(size_t{1} + static_cast<uint8_t>(name[0]));
  }
  return name == ancestor;
}

// RFC 2181 §8: a TTL with the top bit set is zero.
uint32_t sane_ttl(uint32_t ttl) {
  return (ttl & 0x80000000U) != 0 ? 0 : ttl;
}

struct Cname {
  std::string owner;
  std::string target;
  uint32_t ttl = 0;
};

class Parser {
 public:
  Parser(std::span<const uint8_t> message, std::string_view name, Family family)
      : reader_(message), size_(message.size()), name_(wire_name(name)), family_(family) {}

  DnsAnswer run() {
    if (!header() || !question()) return std::move(answer_);
    if (!sections() || !follow_chain()) return std::move(answer_);
    decide();
    return std::move(answer_);
  }

 private:
  bool refuse(std::string why) {
    answer_.failure = Failure{.status = Status::E_DNS_BAD_ANSWER, .detail = std::move(why)};
    answer_.addresses.clear();
    return false;
  }

  bool header() {
    if (name_.empty()) return refuse("the name asked for has no wire form");
    uint16_t id = 0;
    uint16_t flags = 0;
    if (size_ == 0) return refuse("empty message");
    if (!reader_.u16(&id) || !reader_.u16(&flags)) return refuse("message shorter than its header");
    for (uint16_t& count : counts_) {
      if (!reader_.u16(&count)) return refuse("message shorter than its header");
    }
    if ((flags & 0x8000) == 0) return refuse("not a response");
    if ((flags & 0x7800) != 0) return refuse("not the answer to a standard query");
    rcode_ = flags & 0x000f;
    if ((flags & 0x0200) != 0) return refuse("truncated");
    return true;
  }

  bool question() {
    std::string owner;
    uint16_t type = 0;
    uint16_t class_ = 0;
    if (counts_[0] != 1) {
      return refuse("an answer has one question, this one " + std::to_string(counts_[0]) +
                    " (rcode " + std::to_string(rcode_) + ")");
    }
    if (!reader_.name(&owner) || !reader_.u16(&type) || !reader_.u16(&class_)) {
      return refuse("malformed question");
    }
    if (owner != name_ || type != rr_type(family_) || class_ != kClassIn) {
      return refuse("the answer to another question");
    }
    return true;
  }

  // First pass: the shape of every record, the aliases, and what the other sections tell.
  bool sections() {
    answers_at_ = reader_.at();
    Record record;
    for (int section = 1; section <= 3; ++section) {
      for (unsigned i = 0; i < counts_[section]; ++i) {
        if (!reader_.record(&record)) return refuse("malformed record");
        const size_t next = reader_.at();
        if (section == 1 && !answer_record(record)) return false;
        if (section == 2 && !authority_record(record)) return false;
        if (section == 3 && record.type == kTypeOpt) {
          rcode_ |= static_cast<unsigned>(record.ttl >> 24) << 4;  // RFC 6891 §6.1.3
        }
        reader_.seek(next);
      }
    }
    return true;
  }

  bool answer_record(const Record& record) {
    if (record.class_ != kClassIn) return true;
    if (record.type == rr_type(family_) && record.size != (family_ == Family::V6 ? 16U : 4U)) {
      return refuse("address record of a wrong size");
    }
    if (record.type != kTypeCname || cnames_.size() >= kCnames) return true;
    Cname cname{record.owner, {}, sane_ttl(record.ttl)};
    reader_.seek(record.data);
    if (!reader_.name(&cname.target) || reader_.at() != record.data + record.size) {
      return refuse("malformed alias");
    }
    cnames_.push_back(std::move(cname));
    return true;
  }

  bool authority_record(const Record& record) {
    if (record.class_ != kClassIn || record.type != kTypeSoa) return true;
    std::string ignored;
    reader_.seek(record.data);
    uint32_t number = 0;
    bool good = reader_.name(&ignored) && reader_.name(&ignored);
    for (int i = 0; i < 5 && good; ++i)
      good = reader_.u32(&number);
    if (!good || reader_.at() != record.data + record.size) return refuse("malformed SOA record");
    soas_.push_back({record.owner, {}, std::min(sane_ttl(record.ttl), sane_ttl(number))});
    if (soas_.size() > kCnames) return refuse("too many SOA records");
    return true;
  }

  // From the name asked for through the aliases, whatever the order of their records: servers are
  // known to send an alias after what it leads to.
  bool follow_chain() {
    end_ = name_;
    for (size_t hops = 0;; ++hops) {
      const auto alias = std::find_if(cnames_.begin(), cnames_.end(),
                                      [&](const Cname& c) { return c.owner == end_; });
      if (alias == cnames_.end()) return true;
      if (hops == limits::kCnameHops) return refuse("alias chain too long, or a loop");
      chain_ttl_ = std::min(chain_ttl_, alias->ttl);
      end_ = alias->target;
    }
  }

  void decide() {
    if (rcode_ == 0) collect_addresses();
    if (!answer_.addresses.empty()) {
      answer_.ttl = least_ttl_;
      answer_.failure = Failure{.status = Status::OK};
      return;
    }
    answer_.failure = rcode_failure();
    const bool negative =
        answer_.status() == Status::E_DNS_NO_DATA || answer_.status() == Status::E_DNS_NOT_FOUND;
    if (!negative) return;
    if (answer_.unusable > 0) {
      answer_.ttl = least_ttl_;
      answer_.failure.detail = "all its addresses are unusable";
      return;
    }
    for (const Cname& soa : soas_) {
      if (is_ancestor(soa.owner, end_)) answer_.ttl = std::min(soa.ttl, chain_ttl_);
    }
  }

  // Second pass: the addresses at the chain's end.
  void collect_addresses() {
    reader_.seek(answers_at_);
    Record record;
    least_ttl_ = chain_ttl_;
    for (unsigned i = 0; i < counts_[1] && reader_.record(&record); ++i) {
      if (record.class_ != kClassIn || record.type != rr_type(family_) || record.owner != end_) {
        continue;
      }
      least_ttl_ = std::min(least_ttl_, sane_ttl(record.ttl));
      const SocketAddress address = address_at(record.data);
      std::vector<SocketAddress>& kept = answer_.addresses;
      if (!usable_address(address)) {
        ++answer_.unusable;
      } else if (kept.size() < limits::kAddressesPerName &&
                 std::find(kept.begin(), kept.end(), address) == kept.end()) {
        kept.push_back(address);
      }
    }
  }

  SocketAddress address_at(size_t offset) const {
    std::array<uint8_t, 4> v4{};
    std::array<uint8_t, 16> v6{};
    if (family_ == Family::V6) {
      for (size_t i = 0; i < v6.size(); ++i)
        v6[i] = reader_.byte(offset + i);
      return SocketAddress::v6(v6, 0);
    }
    for (size_t i = 0; i < v4.size(); ++i)
      v4[i] = reader_.byte(offset + i);
    return SocketAddress::v4(v4, 0);
  }

  Failure rcode_failure() const {
    switch (rcode_) {
      case 0:
        return Failure{.status = Status::E_DNS_NO_DATA};
      case 1:
        return Failure{.status = Status::E_DNS_SERVER_FAILURE, .detail = "FORMERR"};
      case 2:
        return Failure{.status = Status::E_DNS_SERVER_FAILURE, .detail = "SERVFAIL"};
      case 3:
        return Failure{.status = Status::E_DNS_NOT_FOUND};
      case 4:
        return Failure{.status = Status::E_DNS_SERVER_FAILURE, .detail = "NOTIMP"};
      case 5:
        return Failure{.status = Status::E_DNS_REFUSED};
      default:
        return Failure{.status = Status::E_DNS_SERVER_FAILURE,
                       .detail = "rcode " + std::to_string(rcode_)};
    }
  }

  Reader reader_;
  size_t size_;
  std::string name_;
  Family family_;
  uint16_t counts_[4] = {};
  unsigned rcode_ = 0;
  size_t answers_at_ = 0;
  std::vector<Cname> cnames_;
  std::vector<Cname> soas_;  // owner and the TTL of a negative answer
  std::string end_;
  uint32_t chain_ttl_ = 0x7fffffff;
  uint32_t least_ttl_ = 0;
  DnsAnswer answer_;
};

}  // namespace

DnsAnswer parse_dns_answer(std::span<const uint8_t> message, std::string_view name, Family family) {
  return Parser(message, name, family).run();
}

bool usable_address(const SocketAddress& address) {
  const auto& ip = address.ip();
  if (address.family() == Family::V4) {
    // 0/8 means "this host", which connects to the machine itself; 224/4 is multicast; the rest
    // reserved or broadcast only as 255.255.255.255 (RFC 1122 §3.2.1.3).
    const bool broadcast = ip[0] == 255 && ip[1] == 255 && ip[2] == 255 && ip[3] == 255;
    return ip[0] != 0 && (ip[0] & 0xf0) != 0xe0 && !broadcast;
  }
  if (address.family() != Family::V6 || ip[0] == 0xff) return false;
  const bool zeros = std::all_of(ip.begin(), ip.begin() + 10, [](uint8_t b) { return b == 0; });
  if (!zeros) return true;
  const bool unspecified = std::all_of(ip.begin() + 10, ip.end(), [](uint8_t b) { return b == 0; });
  const bool mapped = ip[10] == 0xff && ip[11] == 0xff;
  return !unspecified && !mapped;
}

}  // namespace conpool::resolver
