// What every name resolves to, and what every server answers.
#include "origin/simulated_internet.h"

#include "base/rng.h"
#include "io/sim/dns_script.h"

namespace conpool::origin {
namespace {

constexpr int64_t kYear = 365 * 86400;

std::string lower(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string out(name);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::vector<io::SimDnsReply> dns_answer(const io::DnsQuery& query) {
  io::DnsMessage message(query.name, query.type);
  if (query.type == io::kDnsAaaa) {
    message.aaaa(query.name, SimulatedInternet::address_of(query.name, Family::V6).ip_text(),
                 SimulatedInternet::kTtl);
  } else if (query.type == io::kDnsA) {
    message.a(query.name, SimulatedInternet::address_of(query.name, Family::V4).ip_text(),
              SimulatedInternet::kTtl);
  } else {
    message.soa(query.name, SimulatedInternet::kTtl, SimulatedInternet::kTtl);
  }
  return {{.delay = 2 * SimulatedInternet::kLatency, .message = message.bytes()}};
}

}  // namespace

SocketAddress SimulatedInternet::address_of(std::string_view name, Family family) {
  uint64_t hash = Rng(hash_of(lower(name))).next();
  if (family == Family::V6) {
    std::array<uint8_t, 16> ip{0x20, 0x01, 0x0d, 0xb8};
    for (size_t i = 8; i < 16; ++i, hash >>= 8)
      ip[i] = static_cast<uint8_t>(hash);
    return SocketAddress::v6(ip, 0);
  }
  static constexpr std::array<std::array<uint8_t, 3>, 3> kBlocks{
      {{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}};
  const std::array<uint8_t, 3>& block = kBlocks[hash % kBlocks.size()];
  const auto host = static_cast<uint8_t>(1 + (hash >> 32) % 254);
  return SocketAddress::v4({block[0], block[1], block[2], host}, 0);
}

Result<std::unique_ptr<SimulatedInternet>> SimulatedInternet::make(uint64_t seed) {
  std::unique_ptr<SimulatedInternet> internet(new SimulatedInternet(seed));
  Result<std::shared_ptr<tls::Library>> library = tls::Library::seeded(seed, kUnixTime);
  if (!library) return fail(std::move(library).error());
  internet->library_ = std::move(*library);
  auto authority = tls::Authority::make(internet->library_, "conpool simulated authority",
                                        kUnixTime - kYear, kUnixTime + kYear);
  if (!authority) return fail(std::move(authority).error());
  internet->authority_ = std::move(*authority);
  internet->network_.refuse_lending();
  internet->network_.host("*").latency = kLatency;
  internet->network_.dns_anywhere(
      [](const io::DnsQuery& query, Time) { return dns_answer(query); });
  internet->network_.system_lookup([](const std::string& name, Family family) {
    return io::SimLookup{
        .delay = 2 * kLatency,
        .result = std::vector<SocketAddress>{SimulatedInternet::address_of(name, family)}};
  });
  return internet;
}

SimulatedInternet::~SimulatedInternet() = default;

Result<std::unique_ptr<io::Loop>> SimulatedInternet::start() {
  std::unique_ptr<io::Loop> loop = io::make_sim_loop(network_, seed_);
  server_ = std::make_unique<AnyServer>(
      *loop, [this](const std::string& name) { return context_for(name); });
  server_->http().set_log_limit(kLogEntries);
  server_->http().set_answer_chooser(
      [this](const HttpRequest& request) { return answer(request); });
  if (Result<void> listening = server_->listen(SocketAddress()); !listening)
    return fail(std::move(listening).error());
  return loop;
}

std::shared_ptr<tls::ServerContext> SimulatedInternet::context_for(const std::string& name) {
  const auto found = contexts_.find(name);
  if (found != contexts_.end()) return found->second;
  const bool literal = parse_ip_literal(name).has_value();
  tls::CertificateRequest request{.common_name = "simulated server",
                                  .not_before = kUnixTime - kYear,
                                  .not_after = kUnixTime + kYear};
  (literal ? request.ips : request.names) = {name};
  const Result<tls::Certificate> certificate = authority_->issue(request);
  if (!certificate) return nullptr;
  Result<std::shared_ptr<tls::ServerContext>> context =
      tls::ServerContext::make(library_, {.certificate_pem = certificate->certificate_pem,
                                          .key_pem = certificate->key_pem,
                                          .alpn = {"h2", "http/1.1"}});
  if (!context) return nullptr;
  if (contexts_.size() >= kContexts) contexts_.clear();
  contexts_.emplace(name, *context);
  return *context;
}

HttpAnswer SimulatedInternet::answer(const HttpRequest& request) const {
  std::optional<HttpAnswer> known = demo_path(request);
  HttpAnswer answer = known ? *std::move(known) : HttpAnswer{.text = "ok\n"};
  const bool sends =
      request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (!known && sends) answer.body = HttpBody::Echo;
  Rng rng(Rng(seed_).next() ^ request.ordinal);
  answer.head_delay += rng.between(kServiceLeast, kServiceMost);
  return answer;
}

}  // namespace conpool::origin
