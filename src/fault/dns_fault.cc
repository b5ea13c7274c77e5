// DNS answers that nobody sent (RFC 1035 section 4).
#include "fault/dns_fault.h"

#include <algorithm>

namespace conpool::fault {
namespace {

constexpr uint16_t kTypeA = 1;
constexpr uint16_t kTypeAaaa = 28;
constexpr uint16_t kClassIn = 1;
constexpr uint16_t kAnswerFlags = 0x8180;    // a response; recursion desired and available
constexpr uint16_t kQuestionsName = 0xc00c;  // a pointer to the name of the question

class Writer {
 public:
  void number16(uint32_t value) {
    bytes.push_back(static_cast<uint8_t>(value >> 8));
    bytes.push_back(static_cast<uint8_t>(value));
  }
  void name(std::string_view text) {
    if (text.ends_with('.')) text.remove_suffix(1);
    while (!text.empty()) {
      const std::string_view label = text.substr(0, text.find('.'));
      bytes.push_back(static_cast<uint8_t>(label.size()));
      bytes.insert(bytes.end(), label.begin(), label.end());
      text.remove_prefix(std::min(label.size() + 1, text.size()));
    }
    bytes.push_back(0);
  }

  std::vector<uint8_t> bytes;
};

class FaultyExchange final : public io::DnsExchange {
 public:
  FaultyExchange(io::Loop& loop, Time at, Result<std::vector<uint8_t>> result, io::DnsCallback done)
      : result_(std::move(result)), done_(std::move(done)) {
    timer_.set_callback([this] {
      // The callback may destroy this.
      io::DnsCallback call = std::move(done_);
      Result<std::vector<uint8_t>> told = std::move(result_);
      call(std::move(told));
    });
    loop.arm(timer_, at);
  }

 private:
  Timer timer_;
  Result<std::vector<uint8_t>> result_;
  io::DnsCallback done_;
};

}  // namespace

std::vector<uint8_t> dns_answer(const Rule& rule, const io::DnsQuery& query) {
  const Family family = query.type == kTypeAaaa ? Family::V6 : Family::V4;
  std::vector<SocketAddress> addresses;
  if (query.type == kTypeA || query.type == kTypeAaaa) {
    std::copy_if(rule.to.begin(), rule.to.end(), std::back_inserter(addresses),
                 [family](const SocketAddress& address) { return address.family() == family; });
  }
  Writer message;
  message.number16(0);
  message.number16(kAnswerFlags | (rule.kind == Kind::DnsFail ? rule.code : 0));
  message.number16(1);
  message.number16(static_cast<uint32_t>(addresses.size()));
  message.number16(0);
  message.number16(0);
  message.name(query.name);
  message.number16(query.type);
  message.number16(kClassIn);
  for (const SocketAddress& address : addresses) {
    const size_t size = family == Family::V6 ? 16 : 4;
    message.number16(kQuestionsName);
    message.number16(query.type);
    message.number16(kClassIn);
    message.number16(kChangedTtl >> 16);
    message.number16(kChangedTtl);
    message.number16(static_cast<uint32_t>(size));
    message.bytes.insert(message.bytes.end(), address.ip().begin(), address.ip().begin() + size);
  }
  return std::move(message.bytes);
}

std::unique_ptr<io::DnsExchange> faulty_exchange(io::Loop& loop, const Rule& rule,
                                                 io::DnsQuery query, io::DnsCallback done) {
  if (rule.code == Rule::kNoAnswer) {
    return std::make_unique<FaultyExchange>(loop, deadline_after(loop.now(), query.timeout),
                                            fail(Status::E_DNS_TIMEOUT, query.server.text()),
                                            std::move(done));
  }
  return std::make_unique<FaultyExchange>(loop, loop.now(), dns_answer(rule, query),
                                          std::move(done));
}

}  // namespace conpool::fault
