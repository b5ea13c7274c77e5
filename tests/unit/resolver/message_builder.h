// Builds DNS messages for tests, good and bad ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "resolver/dns_message.h"

namespace conpool::resolver::testing {

class MessageBuilder {
 public:
  using Bytes = std::vector<uint8_t>;

  // A response to `name` and `family`, with `rcode`.
  MessageBuilder(std::string_view name, Family family, unsigned rcode = 0)
      : MessageBuilder(name, rr_type(family), rcode) {}
  MessageBuilder(std::string_view name, uint16_t type, unsigned rcode) {
    bytes_.assign(12, 0);
    bytes_[0] = 0x12;
    bytes_[1] = 0x34;
    bytes_[2] = 0x81;  // QR, RD
    bytes_[3] = static_cast<uint8_t>(0x80 | rcode);
    bytes_[5] = 1;
    write_name(name);
    u16(type);
    u16(1);
  }

  MessageBuilder& address(std::string_view owner, uint32_t ttl, std::string_view text) {
    const SocketAddress address = *parse_ip_literal(text);
    const bool v6 = address.family() == Family::V6;
    const size_t size = v6 ? 16 : 4;
    begin_record(owner, v6 ? kTypeAaaa : kTypeA, ttl);
    u16(static_cast<uint16_t>(size));
    for (size_t i = 0; i < size; ++i)
      bytes_.push_back(address.ip()[i]);
    return count(7);
  }
  MessageBuilder& cname(std::string_view owner, uint32_t ttl, std::string_view target) {
    begin_record(owner, 5, ttl);
    Bytes data;
    append_name(&data, target);
    return rdata(data).count(7);
  }
  MessageBuilder& soa(std::string_view owner, uint32_t ttl, uint32_t minimum) {
    begin_record(owner, 6, ttl);
    Bytes data;
    append_name(&data, "ns.test");
    append_name(&data, "admin.test");
    for (uint32_t number : {1U, 2U, 3U, 4U, minimum})
      append_u32(&data, number);
    return rdata(data).count(9);
  }
  // Any record; section 7 = answer, 9 = authority, 11 = additional (the count's offset).
  MessageBuilder& record(std::string_view owner, uint16_t type, uint32_t ttl, const Bytes& data,
                         size_t section = 7, uint16_t class_ = 1) {
    begin_record(owner, type, ttl, class_);
    return rdata(data).count(section);
  }
  MessageBuilder& raw(const Bytes& bytes, size_t section) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return count(section);
  }
  MessageBuilder& set(size_t offset, uint8_t value) {
    bytes_[offset] = value;
    return *this;
  }

  const Bytes& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }

 private:
  void u16(uint16_t value) {
    bytes_.push_back(static_cast<uint8_t>(value >> 8));
    bytes_.push_back(static_cast<uint8_t>(value));
  }
  static void append_u32(Bytes* out, uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) {
      out->push_back(static_cast<uint8_t>(value >> shift));
    }
  }
  static void append_name(Bytes* out, std::string_view name) {
    while (!name.empty()) {
      const size_t dot = std::min(name.find('.'), name.size());
      out->push_back(static_cast<uint8_t>(dot));
      out->insert(out->end(), name.begin(), name.begin() + static_cast<ptrdiff_t>(dot));
      name.remove_prefix(std::min(dot + 1, name.size()));
    }
    out->push_back(0);
  }
  void write_name(std::string_view name) { append_name(&bytes_, name); }
  void begin_record(std::string_view owner, uint16_t type, uint32_t ttl, uint16_t class_ = 1) {
    write_name(owner);
    u16(type);
    u16(class_);
    append_u32(&bytes_, ttl);
  }
  MessageBuilder& rdata(const Bytes& data) {
    u16(static_cast<uint16_t>(data.size()));
    bytes_.insert(bytes_.end(), data.begin(), data.end());
    return *this;
  }
  MessageBuilder& count(size_t offset) {
    if (++bytes_[offset] == 0) ++bytes_[offset - 1];
    return *this;
  }

  Bytes bytes_;
};

inline SocketAddress ip(std::string_view text) {
  return *parse_ip_literal(text);
}

}  // namespace conpool::resolver::testing
