// The harness of the simulations.
#include "sim/world.h"

#include <algorithm>

namespace conpool::sim {

ConfigOf::ConfigOf(const OptionList& options) {
  EXPECT_EQ(conpool_config_new(&config_), 0);
  for (const auto& [name, value] : options) {
    conpool_error* error = nullptr;
    EXPECT_EQ(conpool_config_set(config_, name.c_str(), value.data(), value.size(), &error), 0)
        << name << " = " << value << ": " << (error != nullptr ? conpool_error_line(error) : "");
    conpool_error_free(error);
  }
}

Outcome take_outcome(conpool_event* event) {
  Outcome out;
  out.status = event->status;
  out.kind = event->kind;
  out.flags = event->flags;
  out.value = event->value[0];
  out.time = event->time_ns;
  if (event->status < 0 && event->object != nullptr) {
    const auto* error = static_cast<const conpool_error*>(event->object);
    out.line = conpool_error_line(error);
    out.report = conpool_error_report(error);
    for (size_t i = 0; i < conpool_error_attempt_count(error); ++i)
      out.attempts.emplace_back(conpool_error_attempt_target(error, i));
  } else if (event->kind == CONPOOL_EVENT_READ && event->object != nullptr) {
    const auto* chunk = static_cast<const conpool_chunk*>(event->object);
    out.data.assign(reinterpret_cast<const char*>(conpool_chunk_data(chunk)),
                    conpool_chunk_size(chunk));
  } else if (event->kind == CONPOOL_EVENT_CONNECTION) {
    out.connection = static_cast<conpool_connection*>(event->object);
    event->object = nullptr;
  }
  conpool_event_dispose(event);
  return out;
}

SimPool::SimPool(uint64_t seed) : dns(network, kDnsServer), seed_(seed) {}

SimPool::~SimPool() {
  close();
}

void SimPool::open(const OptionList& options) {
  OptionList all{{"pool.seed", std::to_string(seed_)},
                 {"dns.servers", kDnsServer},
                 {"dns.resolv_conf", ""},
                 {"dns.hosts_file", ""},
                 {"events.level", "debug"},
                 {"events.capacity", "65536"}};
  for (const auto& [name, value] : options) {
    std::erase_if(all, [&](const auto& option) { return option.first == name; });
    all.emplace_back(name, value);
  }
  const ConfigOf config(all);
  if (library == nullptr) library = *tls::Library::seeded(seed_, kWallClock);
  conpool_error* error = nullptr;
  const conpool_status status = capi::make_pool(
      config.get(),
      [this](const Values&) -> Result<pool::World> {
        pool::World world;
        world.loop = io::make_sim_loop(network, seed_);
        world.library = library;
        world.simulated = true;
        loop = world.loop.get();
        return world;
      },
      &pool, &error);
  ASSERT_EQ(status, 0) << conpool_error_line(error);
  ASSERT_EQ(conpool_queue_new(pool, &clock_), 0);
}

void SimPool::close() {
  if (pool == nullptr) return;
  end_servers();
  for (conpool_endpoint* endpoint : endpoints_)
    conpool_endpoint_free(endpoint);
  endpoints_.clear();
  conpool_queue_free(clock_);
  conpool_pool_free(pool);
  pool = nullptr;
  loop = nullptr;
  const io::SimLive live = network.live();
  EXPECT_EQ(live.client_streams, 0u);
  EXPECT_EQ(live.server_streams, 0u);
  EXPECT_EQ(live.exchanges, 0u);
  EXPECT_EQ(live.jobs, 0u);
  EXPECT_EQ(live.lent, 0u);
}

void SimPool::end_servers() {
  servers_.clear();
}

origin::Server& SimPool::serve(const std::string& where, origin::Script script) {
  servers_.push_back(std::make_unique<origin::Server>(*loop, std::move(script)));
  const Result<SocketAddress> address = parse_address_and_port(where);
  EXPECT_TRUE(address.has_value()) << where;
  EXPECT_TRUE(servers_.back()->listen(*address).has_value()) << where;
  return *servers_.back();
}

const std::string& SimPool::authority_pem() {
  if (library == nullptr) library = *tls::Library::seeded(seed_, kWallClock);
  if (authority_ == nullptr) {
    authority_ =
        *tls::Authority::make(library, "Test Authority", kWallClock - 864000, kWallClock + 864000);
  }
  return authority_->certificate_pem();
}

std::shared_ptr<tls::ServerContext> SimPool::server_context(std::vector<std::string> names,
                                                            std::vector<std::string> alpn) {
  (void)authority_pem();
  const tls::Certificate certificate = *authority_->issue({.common_name = "server",
                                                           .names = std::move(names),
                                                           .not_before = kWallClock - 86400,
                                                           .not_after = kWallClock + 86400});
  tls::ServerOptions options;
  options.certificate_pem = certificate.certificate_pem;
  options.key_pem = certificate.key_pem;
  options.alpn = std::move(alpn);
  return *tls::ServerContext::make(library, options);
}

origin::Server& SimPool::serve_tls(const std::string& where, std::vector<std::string> names,
                                   origin::Script script) {
  const std::shared_ptr<tls::ServerContext> context = server_context(std::move(names));
  origin::Server& server = serve(where, std::move(script));
  server.set_stream_factory(
      [this, context](std::unique_ptr<io::Stream> lower) -> std::unique_ptr<io::Stream> {
        Result<std::unique_ptr<tls::ServerStream>> stream =
            tls::ServerStream::make(*loop, std::move(lower), context);
        if (!stream) return nullptr;
        return std::unique_ptr<io::Stream>(std::move(*stream));
      });
  return server;
}

conpool_endpoint* SimPool::endpoint(const std::string& url, const OptionList& options) {
  const ConfigOf config(options);
  conpool_endpoint* out = nullptr;
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_endpoint_new(pool, url.data(), url.size(), config.get(), &out, &error), 0)
      << url << ": " << (error != nullptr ? conpool_error_line(error) : "");
  conpool_error_free(error);
  if (out != nullptr) endpoints_.push_back(out);
  return out;
}

conpool_endpoint* SimPool::endpoint_of(const std::string& scheme, const std::string& addresses,
                                       const OptionList& options) {
  const ConfigOf config(options);
  conpool_endpoint* out = nullptr;
  EXPECT_EQ(conpool_endpoint_new_addresses(pool, scheme.c_str(), addresses.data(), addresses.size(),
                                           config.get(), &out, nullptr),
            0);
  if (out != nullptr) endpoints_.push_back(out);
  return out;
}

conpool_op SimPool::acquire(conpool_endpoint* endpoint, const OptionList& options) {
  const ConfigOf config(options);
  conpool_op op = 0;
  EXPECT_EQ(
      conpool_endpoint_acquire(endpoint, options.empty() ? nullptr : config.get(), nullptr, 0, &op),
      0);
  return op;
}

conpool_op SimPool::read(conpool_connection* connection, size_t size_max) {
  conpool_op op = 0;
  EXPECT_EQ(conpool_connection_read(connection, size_max, nullptr, 0, &op), 0);
  return op;
}

conpool_op SimPool::write(conpool_connection* connection, const std::string& bytes) {
  written_.push_back(std::make_unique<std::string>(bytes));
  const std::string& kept = *written_.back();
  conpool_op op = 0;
  EXPECT_EQ(conpool_connection_write(connection, kept.data(), kept.size(), nullptr, 0, &op), 0);
  return op;
}

conpool_op SimPool::shutdown_write(conpool_connection* connection) {
  conpool_op op = 0;
  EXPECT_EQ(conpool_connection_shutdown_write(connection, nullptr, 0, &op), 0);
  return op;
}

conpool_op SimPool::close_pool(Nanos drain) {
  conpool_op op = 0;
  EXPECT_EQ(conpool_pool_close(pool, drain, nullptr, 0, &op), 0);
  return op;
}

Outcome SimPool::wait(conpool_op op, Nanos limit) {
  conpool_event event{};
  const conpool_status status = conpool_op_wait(op, limit, &event);
  EXPECT_EQ(status, 0) << "the op did not end in time: now is " << now() / kMillisecond << " ms";
  if (status != 0) return {.status = status};
  return take_outcome(&event);
}

bool SimPool::ended(conpool_op op, Outcome* out) {
  conpool_event event{};
  if (conpool_op_wait(op, 0, &event) != 0) return false;
  *out = take_outcome(&event);
  return true;
}

std::string SimPool::exchange(conpool_connection* connection, const std::string& bytes) {
  const Outcome written = wait(write(connection, bytes));
  EXPECT_EQ(written.status, 0) << written.line;
  std::string back;
  while (back.size() < bytes.size()) {
    const Outcome piece = wait(read(connection));
    EXPECT_EQ(piece.status, 0) << piece.line;
    if (!piece.ok() || piece.eof()) break;
    back += piece.data;
  }
  return back;
}

void SimPool::run_until(Time until) {
  // One turn at the present instant first: what was just started begins now.
  conpool_event event{};
  (void)conpool_queue_next(clock_, &event, 1, 0);
  while (now() < until)
    (void)conpool_queue_next(clock_, &event, 1, until - now());
}

std::string SimPool::events(const char* format) {
  char* text = nullptr;
  EXPECT_EQ(conpool_pool_events(pool, format, &text), 0);
  std::string out(text);
  conpool_text_free(text);
  return out;
}

std::string SimPool::metrics(const char* format) {
  char* text = nullptr;
  EXPECT_EQ(conpool_pool_metrics(pool, format, &text), 0);
  std::string out(text);
  conpool_text_free(text);
  return out;
}

int64_t SimPool::metric(const std::string& name) {
  const std::string text = "\n" + metrics();
  const size_t at = text.find("\n" + name + "=");
  return at == std::string::npos ? 0 : std::stoll(text.substr(at + name.size() + 2));
}

std::vector<std::string> SimPool::syns(Time from) const {
  std::vector<std::string> lines;
  for (const io::SimSynRecord& syn : network.first_syns()) {
    if (syn.time < from) continue;
    lines.push_back(std::to_string((syn.time - from) / kMillisecond) + " " +
                    syn.destination.text());
  }
  return lines;
}

std::vector<std::string> SimPool::queries(Time from) const {
  std::vector<std::string> lines;
  for (const io::SimDnsRecord& query : network.dns_queries()) {
    if (query.time < from) continue;
    lines.push_back(std::to_string((query.time - from) / kMillisecond) +
                    (query.type == io::kDnsAaaa ? " AAAA " : " A ") + query.name);
  }
  return lines;
}

}  // namespace conpool::sim
