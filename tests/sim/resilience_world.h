// A server that fails and an endpoint with a breaker, for the simulations of outages.
#pragma once

#include <string>
#include <vector>

#include "sim/http_world.h"

namespace conpool::sim {

inline OptionList operator+(OptionList first, const OptionList& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// Open times without a random part.
inline const OptionList kExact = {{"breaker.open_jitter", "0"}};
inline const OptionList kExactWait = {{"breaker.open_jitter", "0"}, {"breaker.wait", "true"}};

// How an op ended that was started without a queue.
struct Ended {
  conpool_status status = 0;
  int code = 0;  // of a response
  Nanos retry_after = -1;
  Time at = 0;
  std::string line;
  std::string report;
  std::string name() const { return status_name(status); }
};

inline Ended take_end(conpool_event* event) {
  Ended out{.status = event->status, .at = event->time_ns};
  if (event->status < 0 && event->object != nullptr) {
    const auto* error = static_cast<const conpool_error*>(event->object);
    out.retry_after = conpool_error_retry_after(error);
    out.line = conpool_error_line(error);
    out.report = conpool_error_report(error);
  } else if (event->kind == CONPOOL_EVENT_RESPONSE && event->object != nullptr) {
    out.code = conpool_response_status(static_cast<const conpool_response*>(event->object));
  }
  conpool_event_dispose(event);
  return out;
}

inline HttpAnswer status_answer(uint16_t status, Nanos delay = 0) {
  HttpAnswer answer;
  answer.status = status;
  answer.text = "x";
  answer.head_delay = delay;
  return answer;
}

inline HttpAnswer fault_answer(HttpFault fault, Nanos delay = 0) {
  HttpAnswer answer;
  answer.fault = fault;
  answer.head_delay = delay;
  return answer;
}

// One server, 5 ms away: a request takes 10 ms, and 10 ms more with a connection of its own.
struct Outage : HttpWorld {
  explicit Outage(Wire on, const OptionList& options = kExact, const OptionList& pool_options = {},
                  HttpScript script = {}, uint64_t seed = 1)
      : HttpWorld(seed), wire(on) {
    network.host("*").latency = ms(5);
    open(pool_options);
    server = &serve_on(wire, std::move(script));
    site = target(wire, options);
  }

  void answer(uint16_t status, Nanos delay = 0) {
    server->set_answer(status_answer(status, delay));
  }
  void fault(HttpFault kind, Nanos delay = 0) { server->set_answer(fault_answer(kind, delay)); }
  Reply get(const OptionList& options = {}) { return perform(site, {.options = options}); }
  // So many failed requests, one after the other; the time at which the last one ended.
  Time fail(int count = 10, uint16_t status = 503) {
    answer(status);
    for (int i = 0; i < count; ++i)
      EXPECT_EQ(get().code, status) << i;
    return now();
  }
  std::vector<conpool_op> start_many(size_t count, const Ask& like = {}) {
    std::vector<conpool_op> ops;
    for (size_t i = 0; i < count; ++i) {
      Ask ask = like;
      ask.id = std::to_string(next_id_++);
      ops.push_back(start(site, ask));
    }
    return ops;
  }

  // One without a queue, for what its error alone tells.
  conpool_op begin(const OptionList& options = {}, conpool_endpoint* at = nullptr) {
    conpool_request* request = nullptr;
    EXPECT_EQ(conpool_request_new_at(at == nullptr ? site : at, "GET", "/", 1, &request, nullptr),
              0);
    const ConfigOf config(options);
    conpool_op op = 0;
    EXPECT_EQ(conpool_request_start(request, options.empty() ? nullptr : config.get(),
                                    CONPOOL_WHOLE, nullptr, 0, &op, nullptr),
              0);
    conpool_request_free(request);
    return op;
  }
  Ended end_of(conpool_op op, Nanos limit = 10 * kMinute) {
    conpool_event event{};
    const conpool_status status = conpool_op_wait(op, limit, &event);
    EXPECT_EQ(status, 0) << "the op did not end in time: now is " << now() / kMillisecond << " ms";
    return status != 0 ? Ended{.status = status} : take_end(&event);
  }
  bool has_ended(conpool_op op) {
    conpool_event event{};
    if (conpool_op_wait(op, 0, &event) != 0) return false;
    last_ended = take_end(&event);
    return true;
  }
  Ended ask(const OptionList& options = {}, conpool_endpoint* at = nullptr) {
    return end_of(begin(options, at));
  }

  conpool_status force(const char* state) { return conpool_endpoint_force_breaker(site, state); }
  std::string explain() {
    char* text = nullptr;
    EXPECT_EQ(conpool_pool_explain(pool, site, &text), 0);
    std::string out(text);
    conpool_text_free(text);
    return out;
  }
  bool explains(const std::string& part) { return explain().find(part) != std::string::npos; }
  uint64_t requests() const { return server->http_counts().requests; }
  Time asked_at(size_t index) const { return server->log().at(index)->time; }

  const Wire wire;
  HttpServer* server;
  conpool_endpoint* site;
  Ended last_ended;

 private:
  int next_id_ = 0;
};

}  // namespace conpool::sim
