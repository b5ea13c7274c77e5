// The harness of the simulations of HTTP.
#include "sim/http_world.h"

namespace conpool::sim {
namespace {

HttpFields fields_of(const conpool_response* response, bool trailers) {
  HttpFields fields;
  const size_t count =
      trailers ? conpool_response_trailer_count(response) : conpool_response_header_count(response);
  for (size_t i = 0; i < count; ++i) {
    size_t name_size = 0;
    size_t value_size = 0;
    const char* name = trailers ? conpool_response_trailer_name(response, i, &name_size)
                                : conpool_response_header_name(response, i, &name_size);
    const char* value = trailers ? conpool_response_trailer_value(response, i, &value_size)
                                 : conpool_response_header_value(response, i, &value_size);
    fields.emplace_back(std::string(name, name_size), std::string(value, value_size));
  }
  return fields;
}

char letter_of(const conpool_event& event) {
  switch (event.kind) {
    case CONPOOL_EVENT_INTERIM:
      return 'I';
    case CONPOOL_EVENT_HEAD:
      return 'H';
    case CONPOOL_EVENT_CHUNK:
      return 'C';
    case CONPOOL_EVENT_TRAILERS:
      return 'T';
    default:
      return 'F';
  }
}

}  // namespace

std::string status_name(conpool_status status) {
  return conpool_status_name(status);
}

HttpWorld::~HttpWorld() {
  close();
}

void HttpWorld::open(const OptionList& options) {
  SimPool::open(options);
  ASSERT_EQ(conpool_queue_new(pool, &queue_), 0);
}

void HttpWorld::close() {
  http_servers_.clear();
  if (queue_ != nullptr) conpool_queue_free(std::exchange(queue_, nullptr));
  free_chunks();
  SimPool::close();
}

// --- servers -------------------------------------------------------------------------------------

HttpServer& HttpWorld::serve_http(const std::string& where, HttpScript script) {
  http_servers_.push_back(std::make_unique<HttpServer>(*loop, std::move(script)));
  const Result<SocketAddress> address = parse_address_and_port(where);
  EXPECT_TRUE(address.has_value()) << where;
  EXPECT_TRUE(http_servers_.back()->listen(*address).has_value()) << where;
  return *http_servers_.back();
}

void HttpWorld::set_alpn(HttpServer& server, const std::vector<std::string>& names,
                         const std::vector<std::string>& alpn) {
  server.set_stream_factory([this, context = server_context(names, alpn)](
                                std::unique_ptr<io::Stream> lower) -> std::unique_ptr<io::Stream> {
    Result<std::unique_ptr<tls::ServerStream>> stream =
        tls::ServerStream::make(*loop, std::move(lower), context);
    if (!stream) return nullptr;
    return std::unique_ptr<io::Stream>(std::move(*stream));
  });
}

HttpServer& HttpWorld::serve_https(const std::string& where, const std::vector<std::string>& names,
                                   const std::vector<std::string>& alpn, HttpScript script) {
  HttpServer& server = serve_http(where, std::move(script));
  set_alpn(server, names, alpn);
  return server;
}

HttpServer& HttpWorld::serve_on(Wire wire, HttpScript script) {
  dns.a("origin.test", {"192.0.2.1"}, 300);
  dns.nodata("origin.test", io::kDnsAaaa, 300);
  if (!is_tls(wire)) {
    script.http2 = wire == Wire::H2c;
    return serve_http("192.0.2.1:80", std::move(script));
  }
  const std::vector<std::string> alpn = is_h2(wire) ? std::vector<std::string>{"h2", "http/1.1"}
                                                    : std::vector<std::string>{"http/1.1"};
  return serve_https("192.0.2.1:443", {"origin.test"}, alpn, std::move(script));
}

conpool_endpoint* HttpWorld::target(Wire wire, const OptionList& options) {
  OptionList all = options;
  if (wire == Wire::H2c) all.emplace_back("http.version", "h2");
  if (is_tls(wire)) all.emplace_back("tls.ca_pem", authority_pem());
  return endpoint(is_tls(wire) ? "https://origin.test" : "http://origin.test", all);
}

// --- requests ------------------------------------------------------------------------------------

conpool_op HttpWorld::start(conpool_endpoint* endpoint, const Ask& ask) {
  conpool_error* error = nullptr;
  const auto expect_ok = [&](conpool_status status, const std::string& what) {
    EXPECT_EQ(status, 0) << what << ": " << (error != nullptr ? conpool_error_line(error) : "");
    conpool_error_free(std::exchange(error, nullptr));
    return status == 0;
  };
  conpool_request* request = nullptr;
  if (!expect_ok(conpool_request_new_at(endpoint, ask.method.c_str(), ask.target.data(),
                                        ask.target.size(), &request, &error),
                 ask.method + " " + ask.target))
    return 0;
  HttpFields fields = ask.fields;
  if (!ask.id.empty()) fields.emplace_back("x-request-id", ask.id);
  for (const auto& [name, value] : fields) {
    expect_ok(conpool_request_header(request, name.data(), name.size(), value.data(), value.size(),
                                     &error),
              name);
  }
  for (const auto& [name, value] : ask.trailers) {
    expect_ok(conpool_request_trailer(request, name.data(), name.size(), value.data(), value.size(),
                                      &error),
              name);
  }
  std::unique_ptr<std::string> body;
  if (ask.body) {
    body = std::make_unique<std::string>(*ask.body);
    expect_ok(conpool_request_body(request, body->data(), body->size()), "body");
  }
  if (ask.pieces) expect_ok(conpool_request_body_stream(request, *ask.pieces), "pieces");
  if (ask.idempotent) expect_ok(conpool_request_idempotent(request, 1), "idempotent");
  const ConfigOf config(ask.options);
  conpool_op op = 0;
  const bool started =
      expect_ok(conpool_request_start(request, ask.options.empty() ? nullptr : config.get(),
                                      ask.how, queue_, 0, &op, &error),
                "start");
  conpool_request_free(request);
  if (!started) return 0;
  replies_[op].started = now();
  if (body != nullptr) bodies_[op] = std::move(body);
  return op;
}

conpool_op HttpWorld::write_piece(conpool_op request, const std::string& bytes, bool last) {
  auto kept = std::make_unique<std::string>(bytes);
  conpool_op op = 0;
  const conpool_status status =
      conpool_body_write(request, kept->data(), kept->size(), last ? 1 : 0, queue_, 0, &op);
  if (status != 0) return 0;
  bodies_[op] = std::move(kept);
  return op;
}

bool HttpWorld::take(Nanos timeout) {
  conpool_event events[64];
  const int32_t count = conpool_queue_next(queue_, events, 64, timeout);
  for (int32_t i = 0; i < count; ++i)
    take(&events[i]);
  return count > 0;
}

void HttpWorld::take(conpool_event* event) {
  if (event->kind == CONPOOL_EVENT_WRITE) {
    writes_[event->op] = event->status;
    bodies_.erase(event->op);
    conpool_event_dispose(event);
    return;
  }
  Reply& reply = replies_[event->op];
  const bool final = (event->flags & CONPOOL_EVENT_FINAL) != 0;
  const char letter = letter_of(*event);
  EXPECT_EQ(letter == 'F', final);
  EXPECT_FALSE(reply.ended) << "an event after FINAL";
  if (reply.events.empty() || reply.events.back() != letter) reply.events += letter;
  if (letter == 'C') {
    EXPECT_EQ(event->value[0], reply.body.size());
    auto* chunk = static_cast<conpool_chunk*>(event->object);
    ++reply.chunks;
    reply.body.append(reinterpret_cast<const char*>(conpool_chunk_data(chunk)),
                      conpool_chunk_size(chunk));
    if (hold_chunks) {
      chunks_.push_back(chunk);
      event->object = nullptr;
    }
  } else if (event->status < 0) {
    const auto* error = static_cast<const conpool_error*>(event->object);
    if (error != nullptr) {
      reply.line = conpool_error_line(error);
      reply.report = conpool_error_report(error);
      EXPECT_EQ(conpool_error_status(error), event->status);
      EXPECT_EQ(conpool_error_proof(error), static_cast<int32_t>(event->value[1])) << reply.line;
    }
  } else {
    const auto* response = static_cast<const conpool_response*>(event->object);
    EXPECT_NE(response, nullptr);
    if (letter == 'I') {
      reply.interims.push_back(conpool_response_status(response));
    } else {
      reply.code = conpool_response_status(response);
      reply.version = conpool_response_version(response);
      reply.fields = fields_of(response, false);
      reply.trailers = fields_of(response, true);
      size_t size = 0;
      const uint8_t* body = conpool_response_body(response, &size);
      if (size > 0) reply.body.assign(reinterpret_cast<const char*>(body), size);
    }
  }
  if (final) {
    reply.ended = true;
    ++reply.finals;
    reply.status = event->status;
    reply.sends = event->value[0];
    reply.proof = event->value[1];
    reply.at = event->time_ns;
    bodies_.erase(event->op);
  }
  conpool_event_dispose(event);
}

Reply& HttpWorld::finish(conpool_op op, Nanos limit) {
  const Time until = now() + limit;
  while (!replies_[op].ended && now() < until && op != 0)
    (void)take(until - now());
  EXPECT_TRUE(replies_[op].ended) << "the request did not end in time: now is "
                                  << now() / kMillisecond << " ms";
  return replies_[op];
}

void HttpWorld::finish_all(Nanos limit) {
  const Time until = now() + limit;
  for (const auto& [op, reply] : replies_) {
    while (!reply.ended && now() < until)
      (void)take(until - now());
    EXPECT_TRUE(reply.ended) << "a request did not end in time";
  }
}

std::optional<conpool_status> HttpWorld::write_status(conpool_op op) const {
  const auto found = writes_.find(op);
  if (found == writes_.end()) return std::nullopt;
  return found->second;
}

conpool_status HttpWorld::preconnect(conpool_endpoint* endpoint, uint32_t count) {
  conpool_op op = 0;
  EXPECT_EQ(conpool_endpoint_preconnect(endpoint, count, nullptr, nullptr, 0, &op), 0);
  return wait(op).status;
}

void HttpWorld::free_chunk() {
  conpool_chunk_free(chunks_.front());
  chunks_.erase(chunks_.begin());
}

void HttpWorld::free_chunks() {
  for (conpool_chunk* chunk : chunks_)
    conpool_chunk_free(chunk);
  chunks_.clear();
}

}  // namespace conpool::sim
