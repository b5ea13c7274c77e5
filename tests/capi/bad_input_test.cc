// Bad input: every call that is wrong is refused with a code of its own and words that name the
// input, and leaves its out parameters as they were.
#include <cstring>
#include <set>

#include "json.h"
#include "support.h"

namespace capi_test {
namespace {

constexpr size_t kNul = CONPOOL_NUL_TERMINATED;

template <typename T>
T* untouched() {
  return reinterpret_cast<T*>(uintptr_t{0x5a5a});
}

// --- NULL for each pointer ---------------------------------------------------------------------

class NullPointers : public testing::Test {
 protected:
  Server server_{Server::echo};
  PoolPtr pool_ = make_pool();
  EndpointPtr endpoint_ = make_endpoint(pool_, server_.url());
  QueuePtr queue_ = make_queue(pool_);
  conpool_op op_ = 77;
  char* text_ = untouched<char>();
  conpool_error* error_ = nullptr;
};

TEST_F(NullPointers, Library) {
  EXPECT_EQ(conpool_describe(nullptr, &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_describe("options", nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_describe("colours", &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(text_, untouched<char>());
  conpool_text_free(nullptr);
}

TEST_F(NullPointers, Config) {
  EXPECT_EQ(conpool_config_new(nullptr), CONPOOL_E_INVALID);
  const ConfigPtr config = make_config({});
  const struct {
    conpool_config* config;
    const char* name;
    const char* value;
    const char* words;
  } cases[] = {{nullptr, "partition", "x", "config is NULL"},
               {config.get(), nullptr, "x", "name is NULL"},
               {config.get(), "partition", nullptr, "value is NULL"}};
  for (const auto& c : cases) {
    conpool_error* error = nullptr;
    EXPECT_EQ(conpool_config_set(c.config, c.name, c.value, kNul, &error), CONPOOL_E_INVALID);
    const ErrorPtr owned(error);
    EXPECT_NE(std::strstr(conpool_error_line(error), c.words), nullptr)
        << conpool_error_line(error);
    EXPECT_EQ(conpool_error_status(error), CONPOOL_E_INVALID);
    EXPECT_EQ(conpool_config_set(c.config, c.name, c.value, kNul, nullptr), CONPOOL_E_INVALID);
  }
  conpool_config_free(nullptr);
}

TEST_F(NullPointers, ErrorReaders) {
  EXPECT_EQ(conpool_error_status(nullptr), CONPOOL_OK);
  EXPECT_EQ(conpool_error_phase(nullptr), CONPOOL_PHASE_NONE);
  EXPECT_EQ(conpool_error_proof(nullptr), CONPOOL_PROOF_NEVER_SENT);
  EXPECT_EQ(conpool_error_os_errno(nullptr), 0);
  EXPECT_EQ(conpool_error_tls_verify(nullptr), 0);
  EXPECT_STREQ(conpool_error_line(nullptr), "");
  EXPECT_STREQ(conpool_error_report(nullptr), "");
  EXPECT_EQ(conpool_error_attempt_count(nullptr), 0u);
  EXPECT_EQ(conpool_error_attempt_target(nullptr, 0), nullptr);
  EXPECT_EQ(conpool_error_attempt_status(nullptr, 0), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_error_attempt_phase(nullptr, 0), CONPOOL_PHASE_NONE);
  EXPECT_EQ(conpool_error_attempt_os_errno(nullptr, 0), 0);
  EXPECT_EQ(conpool_error_attempt_started(nullptr, 0), 0);
  EXPECT_EQ(conpool_error_attempt_duration(nullptr, 0), 0);
  conpool_error_free(nullptr);
}

TEST_F(NullPointers, Pool) {
  EXPECT_EQ(conpool_pool_new(nullptr, nullptr, &error_), CONPOOL_E_INVALID);
  const ErrorPtr owned(error_);
  EXPECT_NE(std::strstr(conpool_error_line(error_), "out is NULL"), nullptr);
  EXPECT_EQ(conpool_pool_close(nullptr, 0, nullptr, 0, &op_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_close(pool_.get(), -2, nullptr, 0, &op_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_metrics(nullptr, "json", &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_metrics(pool_.get(), nullptr, &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_metrics(pool_.get(), "json", nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_metrics(pool_.get(), "xml", &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_events(nullptr, "jsonl", &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_events(pool_.get(), nullptr, &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_events(pool_.get(), "jsonl", nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_events(pool_.get(), "json", &text_), CONPOOL_E_INVALID);
  const auto since = conpool_pool_events_since;
  EXPECT_EQ(since(nullptr, "jsonl", 0, 0, nullptr, nullptr, &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(since(pool_.get(), nullptr, 0, 0, nullptr, nullptr, &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(since(pool_.get(), "xml", 0, 0, nullptr, nullptr, &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(since(pool_.get(), "text", 0, 0, nullptr, nullptr, nullptr), CONPOOL_E_INVALID);
  const std::string longest(32, 'a');
  const std::string too_long(33, 'a');
  const auto event = [this](conpool_pool* pool, int32_t level, const char* name, size_t size) {
    return conpool_pool_event(pool, level, name, size, "text", 4);
  };
  EXPECT_EQ(event(pool_.get(), CONPOOL_LEVEL_DEBUG, longest.data(), 32), CONPOOL_OK);
  EXPECT_EQ(event(pool_.get(), CONPOOL_LEVEL_DEBUG, too_long.data(), 33), CONPOOL_E_INVALID);
  EXPECT_EQ(event(pool_.get(), CONPOOL_LEVEL_DEBUG, "", 0), CONPOOL_E_INVALID);
  EXPECT_EQ(event(pool_.get(), CONPOOL_LEVEL_DEBUG, "a b", 3), CONPOOL_E_INVALID);
  EXPECT_EQ(event(pool_.get(), CONPOOL_LEVEL_DEBUG, "a\n", 2), CONPOOL_E_INVALID);
  EXPECT_EQ(event(pool_.get(), CONPOOL_LEVEL_DEBUG, nullptr, 1), CONPOOL_E_INVALID);
  EXPECT_EQ(event(pool_.get(), -1, "a", 1), CONPOOL_E_INVALID);
  EXPECT_EQ(event(pool_.get(), 4, "a", 1), CONPOOL_E_INVALID);
  EXPECT_EQ(event(nullptr, 0, "a", 1), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_event(pool_.get(), 0, "a", 1, nullptr, 5), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_event(pool_.get(), 0, "a", 1, nullptr, 0), CONPOOL_OK);
  EXPECT_EQ(conpool_pool_explain(nullptr, endpoint_.get(), &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_explain(pool_.get(), nullptr, &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_explain(pool_.get(), endpoint_.get(), nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_set_resolver(nullptr, queue_.get(), 0), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_pool_set_resolver(pool_.get(), queue_.get(), 0), CONPOOL_E_WRONG_STATE);
  EXPECT_EQ(text_, untouched<char>());
  EXPECT_EQ(op_, 77u);
  conpool_pool_free(nullptr);
}

TEST_F(NullPointers, ExplainOfAnotherPoolsEndpoint) {
  const PoolPtr other = make_pool();
  EXPECT_EQ(conpool_pool_explain(other.get(), endpoint_.get(), &text_), CONPOOL_E_INVALID);
}

TEST_F(NullPointers, Endpoint) {
  const uint16_t port = 80;
  conpool_endpoint* out = untouched<conpool_endpoint>();
  conpool_pool* pool = pool_.get();
  const char* list = "127.0.0.1:80";
  const std::vector<std::pair<const char*, std::function<conpool_status(conpool_error**)>>> cases =
      {{"pool is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new(nullptr, "tcp://h:1", kNul, nullptr, &out, e);
        }},
       {"text is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new(pool, nullptr, 0, nullptr, &out, e);
        }},
       {"out is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new(pool, "tcp://h:1", kNul, nullptr, nullptr, e);
        }},
       {"pool is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new_host(nullptr, "tcp", "h", kNul, &port, 1, nullptr, &out, e);
        }},
       {"scheme is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new_host(pool, nullptr, "h", kNul, &port, 1, nullptr, &out, e);
        }},
       {"text is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new_host(pool, "tcp", nullptr, 0, &port, 1, nullptr, &out, e);
        }},
       {"ports is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new_host(pool, "tcp", "h", kNul, nullptr, 1, nullptr, &out, e);
        }},
       {"out is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new_host(pool, "tcp", "h", kNul, &port, 1, nullptr, nullptr, e);
        }},
       {"pool is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new_addresses(nullptr, "tcp", list, kNul, nullptr, &out, e);
        }},
       {"scheme is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new_addresses(pool, nullptr, list, kNul, nullptr, &out, e);
        }},
       {"text is NULL",
        [&](conpool_error** e) {
          return conpool_endpoint_new_addresses(pool, "tcp", nullptr, 0, nullptr, &out, e);
        }},
       {"out is NULL", [&](conpool_error** e) {
          return conpool_endpoint_new_addresses(pool, "tcp", list, kNul, nullptr, nullptr, e);
        }}};
  for (const auto& [words, call] : cases) {
    conpool_error* error = nullptr;
    EXPECT_EQ(call(&error), CONPOOL_E_INVALID) << words;
    const ErrorPtr owned(error);
    EXPECT_NE(std::strstr(conpool_error_line(error), words), nullptr)
        << words << " / " << conpool_error_line(error);
    EXPECT_EQ(call(nullptr), CONPOOL_E_INVALID) << words;
  }
  EXPECT_EQ(out, untouched<conpool_endpoint>());
  EXPECT_EQ(conpool_endpoint_acquire(nullptr, nullptr, nullptr, 0, &op_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_endpoint_acquire(endpoint_.get(), nullptr, nullptr, 0, nullptr),
            CONPOOL_E_INVALID);
  EXPECT_EQ(op_, 77u);
  conpool_endpoint_free(nullptr);
}

TEST_F(NullPointers, Queue) {
  conpool_queue* out = untouched<conpool_queue>();
  conpool_event event{};
  EXPECT_EQ(conpool_queue_new(nullptr, &out), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_queue_new(pool_.get(), nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(out, untouched<conpool_queue>());
  EXPECT_EQ(conpool_queue_next(nullptr, &event, 1, 0), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_queue_next(queue_.get(), nullptr, 1, 0), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_queue_next(queue_.get(), &event, 0, 0), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_queue_next(queue_.get(), &event, 1, -2), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_queue_fd(nullptr), CONPOOL_E_INVALID);
  conpool_queue_wake(nullptr);
  conpool_queue_close(nullptr);
  conpool_queue_free(nullptr);
  conpool_event_dispose(nullptr);
  conpool_event_dispose(&event);
}

TEST_F(NullPointers, Connection) {
  conpool_connection* c = lease(endpoint_);
  int32_t fd = -7;
  conpool_chunk* chunk = untouched<conpool_chunk>();
  EXPECT_EQ(conpool_connection_read(nullptr, 0, nullptr, 0, &op_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_connection_read(c, 0, nullptr, 0, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_connection_write(nullptr, "x", 1, nullptr, 0, &op_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_connection_write(c, nullptr, 1, nullptr, 0, &op_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_connection_write(c, "x", 1, nullptr, 0, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_connection_shutdown_write(nullptr, nullptr, 0, &op_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_connection_shutdown_write(c, nullptr, 0, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_connection_lend(nullptr, 0, &fd, &chunk), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_connection_lend(c, 0, nullptr, &chunk), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_connection_lend(c, 0, &fd, nullptr), CONPOOL_E_INVALID);
  EXPECT_STREQ(conpool_connection_address(nullptr), "");
  EXPECT_EQ(conpool_connection_describe(nullptr, &text_), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_connection_describe(c, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(op_, 77u);
  EXPECT_EQ(fd, -7);
  EXPECT_EQ(chunk, untouched<conpool_chunk>());
  EXPECT_EQ(text_, untouched<char>());
  conpool_connection_release(nullptr, CONPOOL_REUSABLE);
  EXPECT_EQ(conpool_chunk_data(nullptr), nullptr);
  EXPECT_EQ(conpool_chunk_size(nullptr), 0u);
  conpool_chunk_free(nullptr);
  // None of it disturbed the connection.
  EXPECT_EQ(write_all(c, "still fine")->status, CONPOOL_OK);
  EXPECT_EQ(read_exactly(c, 10), "still fine");
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST_F(NullPointers, Lookup) {
  EXPECT_STREQ(conpool_lookup_name(nullptr), "");
  EXPECT_EQ(conpool_lookup_family(nullptr), 0);
  EXPECT_EQ(conpool_lookup_answer(nullptr, "127.0.0.1", kNul), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_lookup_fail(nullptr, "no", kNul), CONPOOL_E_INVALID);
  conpool_lookup_free(nullptr);
}

// --- op ids ------------------------------------------------------------------------------------

TEST(StaleOps, AreRecognised) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  const conpool_op op = start_acquire(endpoint);
  Event event = wait_for(op);
  conpool_event out{};
  for (const conpool_op stale :
       {op, conpool_op{0}, op + 1, op ^ (conpool_op{1} << 40), ~conpool_op{0}}) {
    EXPECT_EQ(conpool_op_cancel(stale), CONPOOL_E_STALE) << stale;
    EXPECT_EQ(conpool_op_wait(stale, 0, &out), CONPOOL_E_STALE) << stale;
  }
  EXPECT_EQ(out.op, 0u);
  EXPECT_EQ(conpool_op_wait(op, 0, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_op_wait(op, -2, &out), CONPOOL_E_INVALID);
  // The slot's next use has another id.
  conpool_connection* c = event.connection();
  const conpool_op next = start_read(c);
  EXPECT_NE(next, op);
  EXPECT_EQ(conpool_op_cancel(op), CONPOOL_E_STALE);
  EXPECT_EQ(conpool_op_cancel(next), CONPOOL_OK);
  EXPECT_EQ(wait_for(next)->status, CONPOOL_E_CANCELLED);
  conpool_connection_release(c, CONPOOL_REUSABLE);
}

TEST(StaleOps, AnOpWithAQueueIsNotWaitedFor) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  const QueuePtr queue = make_queue(pool);
  const conpool_op op = start_acquire(endpoint, queue);
  conpool_event out{};
  EXPECT_EQ(conpool_op_wait(op, kLong, &out), CONPOOL_E_WRONG_STATE);
  conpool_connection_release(next_event(queue).connection(), CONPOOL_BROKEN);
}

// --- queues ------------------------------------------------------------------------------------

TEST(WrongQueue, OfAnotherCallerDrivenPool) {
  Server server(Server::echo);
  const PoolPtr threaded = make_pool();
  const PoolPtr driven = make_pool({{"loop.drive", "caller"}});
  const PoolPtr other = make_pool({{"loop.drive", "caller"}});
  const EndpointPtr endpoint = make_endpoint(driven, server.url());
  conpool_op op = 77;
  for (const PoolPtr* wrong : {&threaded, &other}) {
    const QueuePtr queue = make_queue(*wrong);
    EXPECT_EQ(conpool_endpoint_acquire(endpoint.get(), nullptr, queue.get(), 0, &op),
              CONPOOL_E_INVALID);
    EXPECT_EQ(conpool_pool_close(driven.get(), 0, queue.get(), 0, &op), CONPOOL_E_INVALID);
  }
  const QueuePtr own = make_queue(driven);
  const EndpointPtr of_threaded = make_endpoint(threaded, server.url());
  EXPECT_EQ(conpool_endpoint_acquire(of_threaded.get(), nullptr, own.get(), 0, &op),
            CONPOOL_E_INVALID);
  EXPECT_EQ(op, 77u);
  EXPECT_EQ(conpool_endpoint_acquire(endpoint.get(), nullptr, own.get(), 0, &op), CONPOOL_OK);
  conpool_connection_release(next_event(own).connection(), CONPOOL_BROKEN);
}

TEST(WrongQueue, AClosedOneRefusesOps) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  const QueuePtr queue = make_queue(pool);
  conpool_queue_close(queue.get());
  conpool_op op = 77;
  EXPECT_EQ(conpool_endpoint_acquire(endpoint.get(), nullptr, queue.get(), 0, &op),
            CONPOOL_E_CLOSED);
  EXPECT_EQ(op, 77u);
}

// --- options -----------------------------------------------------------------------------------

struct Refusal {
  conpool_status status;
  std::string line;
};

Refusal set_option(const std::string& name, const std::string& value) {
  const ConfigPtr config = make_config({});
  conpool_error* error = nullptr;
  const conpool_status status =
      conpool_config_set(config.get(), name.c_str(), value.data(), value.size(), &error);
  const ErrorPtr owned(error);
  return {status, conpool_error_line(error)};
}

const Json& options() {
  static const Json* const table = [] {
    auto* json = new Json;
    std::string reason;
    EXPECT_TRUE(parse_json(describe("options"), json, &reason)) << reason;
    return json;
  }();
  return *table;
}

bool is_secret(const std::string& name) {
  return name == "proxy" || (name.size() > 4 && name.substr(name.size() - 4) == "_pem");
}

std::vector<std::string> wrong_types(const std::string& type) {
  if (type == "duration") return {"", "soon", "5", "5 s", "1e3s", "5sec", "0x10ms", "1.s", "--1s"};
  if (type == "count") return {"", "many", "1.5", "0x10", "1 ", "1s", "+1"};
  if (type == "size") return {"", "big", "1.5KiB", "1kib", "1 KiB", "KiB"};
  if (type == "bool") return {"", "yes", "1", "TRUE", "on"};
  if (type == "choice") return {"", "something else", "THREAD", "|"};
  if (type == "list") return {"a,,b", ",a", "a,", std::string("a\0b", 3)};
  if (type == "text") return {std::string("a\0b", 3)};
  if (type == "bytes") return {"\\", "\\q", "\\x1", "\\xZZ"};
  return {};
}

std::vector<std::string> out_of_range(const Json& option) {
  const std::string type = option["type"].text;
  std::vector<std::string> values;
  if (type == "count") {
    values = {
        std::to_string(option["least"].text == "-1" ? -2 : std::stoll(option["least"].text) - 1),
        "9223372036854775808", "-9223372036854775809"};
    if (option["most"].text != "9223372036854775807")
      values.push_back(std::to_string(std::stoll(option["most"].text) + 1));
  } else if (type == "duration") {
    values = {"-1ms", "9999999h", "99999999999999999999s"};
    if (option["least"].text != "0") values.push_back("0");
  } else if (type == "size") {
    values = {"-1", "99999999999999999999", "9000000000000000000"};
    if (option["least"].text != "0") values.push_back("0");
  } else if (type == "text" || type == "list" || type == "bytes") {
    values = {std::string(std::stoull(option["most"].text) + 1, 'x')};
  }
  return values;
}

TEST(BadOptions, EveryOptionOutOfRangeAndMistyped) {
  std::set<std::string> lines;
  size_t cases = 0;
  ASSERT_GT(options().items.size(), 60u);
  for (const Json& option : options().items) {
    const std::string name = option["name"].text;
    const auto refused = [&](const std::string& value, conpool_status expected) {
      const Refusal got = set_option(name, value);
      EXPECT_EQ(got.status, expected) << name << " = " << value.substr(0, 40);
      EXPECT_NE(got.line.find(name), std::string::npos) << got.line;
      if (value.size() < 30 && !value.empty() && value.find('\0') == value.npos &&
          value.find('\\') == value.npos && !is_secret(name)) {
        EXPECT_NE(got.line.find(value), std::string::npos) << got.line;
      }
      if (is_secret(name)) {
        EXPECT_EQ(got.line.find("xxxx"), std::string::npos) << got.line;
      }
      EXPECT_LT(got.line.size(), 500u) << got.line;
      EXPECT_TRUE(lines.insert(got.line).second || is_secret(name)) << "twice: " << got.line;
      ++cases;
    };
    for (const std::string& value : wrong_types(option["type"].text))
      refused(value, CONPOOL_E_OPTION_TYPE);
    for (const std::string& value : out_of_range(option))
      refused(value, CONPOOL_E_OPTION_RANGE);
  }
  EXPECT_GT(cases, 300u);
}

TEST(BadOptions, TheEdgesThemselvesAreTaken) {
  for (const Json& option : options().items) {
    const std::string name = option["name"].text;
    const std::string type = option["type"].text;
    if (type == "count" || type == "duration" || type == "size") {
      EXPECT_EQ(set_option(name, option["least"].text).status, CONPOOL_OK) << name;
      EXPECT_EQ(set_option(name, option["most"].text).status, CONPOOL_OK) << name;
    }
    EXPECT_EQ(set_option(name, option["default"].text).status, CONPOOL_OK) << name;
  }
}

TEST(BadOptions, UnknownNamesOfferTheNearest) {
  for (const Json& option : options().items) {
    const std::string name = option["name"].text;
    if (name.size() < 6) continue;
    std::string typo = name;
    std::swap(typo[name.size() - 2], typo[name.size() - 1]);
    if (typo == name) typo.pop_back();
    const Refusal got = set_option(typo, "1");
    EXPECT_EQ(got.status, CONPOOL_E_UNKNOWN_OPTION) << typo;
    EXPECT_NE(got.line.find(typo), std::string::npos) << got.line;
    EXPECT_NE(got.line.find('"' + name + '"'), std::string::npos) << got.line;
  }
  EXPECT_EQ(set_option("", "1").status, CONPOOL_E_UNKNOWN_OPTION);
  const Refusal far = set_option("colour", "1");
  EXPECT_EQ(far.status, CONPOOL_E_UNKNOWN_OPTION);
  EXPECT_NE(far.line.find("colour"), std::string::npos);
  const Refusal huge = set_option(std::string(1 << 20, 'n'), "1");
  EXPECT_EQ(huge.status, CONPOOL_E_UNKNOWN_OPTION);
  EXPECT_LT(huge.line.size(), 500u);
}

TEST(BadOptions, WrongScope) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  for (const Json& option : options().items) {
    const std::string name = option["name"].text;
    const std::string scope = option["scope"].text;
    const ConfigPtr config = make_config({{name, option["default"].text}});
    conpool_endpoint* out = nullptr;
    conpool_error* error = nullptr;
    conpool_op op = 77;
    if (scope == "pool") {
      EXPECT_EQ(conpool_endpoint_new(pool.get(), "tcp://h:1", kNul, config.get(), &out, &error),
                CONPOOL_E_OPTION_SCOPE)
          << name;
      EXPECT_NE(std::strstr(conpool_error_line(error), name.c_str()), nullptr) << name;
      conpool_error_free(error);
    }
    if (scope != "request") {
      EXPECT_EQ(conpool_endpoint_acquire(endpoint.get(), config.get(), nullptr, 0, &op),
                CONPOOL_E_OPTION_SCOPE)
          << name;
      EXPECT_EQ(op, 77u);
    }
  }
}

TEST(BadOptions, ThatContradictEachOther) {
  const struct {
    Options options;
    conpool_status status;
    const char* words;
  } cases[] = {
      {{{"check.send", "PING"}}, CONPOOL_E_INVALID, "check.expect"},
      {{{"check.expect", "PONG"}}, CONPOOL_E_INVALID, "check.send"},
      {{{"race.delay_min", "2s"}, {"race.delay_max", "1s"}},
       CONPOOL_E_OPTION_RANGE,
       "race.delay_max"},
      {{{"dns.servers", "dns.example"}}, CONPOOL_E_BAD_ADDRESS, "dns.servers"},
      {{{"tls.ca_file", "/nonexistent/ca.pem"}}, CONPOOL_E_TLS_CONFIG, "/nonexistent/ca.pem"},
      {{{"proxy", "http://proxy:3128"}}, CONPOOL_E_UNSUPPORTED, "proxy"},
      {{{"proxy", "http://proxy:3128"}}, CONPOOL_E_UNSUPPORTED, "not supported yet"},
  };
  for (const auto& c : cases) {
    const ConfigPtr config = make_config(c.options);
    conpool_pool* pool = untouched<conpool_pool>();
    conpool_error* error = nullptr;
    EXPECT_EQ(conpool_pool_new(config.get(), &pool, &error), c.status) << c.words;
    const ErrorPtr owned(error);
    EXPECT_NE(std::strstr(conpool_error_line(error), c.words), nullptr)
        << conpool_error_line(error);
    EXPECT_EQ(pool, untouched<conpool_pool>());
    const PoolPtr good = make_pool();
    conpool_endpoint* endpoint = nullptr;
    if (c.options[0].first == "dns.servers") continue;  // a pool's option
    EXPECT_EQ(conpool_endpoint_new(good.get(), "tls://h:1", kNul, config.get(), &endpoint, nullptr),
              c.status)
        << c.words;
  }
}

// --- endpoints ---------------------------------------------------------------------------------

struct BadEndpoint {
  std::string text;
  conpool_status status;
  std::string words;  // that the error must have
};

void expect_refusal(const PoolPtr& pool, const BadEndpoint& c, std::set<std::string>* lines) {
  conpool_endpoint* out = untouched<conpool_endpoint>();
  conpool_error* error = nullptr;
  EXPECT_EQ(conpool_endpoint_new(pool.get(), c.text.data(), c.text.size(), nullptr, &out, &error),
            c.status)
      << c.text << ": " << conpool_error_line(error);
  const ErrorPtr owned(error);
  EXPECT_EQ(out, untouched<conpool_endpoint>());
  const std::string line = conpool_error_line(error);
  EXPECT_NE(line.find(c.words), std::string::npos) << c.text << ": " << line;
  EXPECT_TRUE(lines->insert(line).second) << "twice: " << line;
}

TEST(BadEndpoints, HostNames) {
  const PoolPtr pool = make_pool();
  const std::string long_label(64, 'a');
  std::string long_name;
  for (int i = 0; i < 64; ++i)
    long_name += "abc.";
  const std::vector<BadEndpoint> cases = {
      {"tcp://a..b:80", CONPOOL_E_BAD_NAME, "empty label"},
      {"tcp://.a:80", CONPOOL_E_BAD_NAME, "\".a\""},
      {"tcp://" + long_label + ".example:80", CONPOOL_E_BAD_NAME, "64 bytes"},
      {"tcp://" + long_name + ":80", CONPOOL_E_BAD_NAME, "at most 253"},
      {"tcp://a b:80", CONPOOL_E_BAD_NAME, "space"},
      {"tcp:// a:80", CONPOOL_E_BAD_NAME, "\" a\""},
      {std::string("tcp://a\0b:80", 12), CONPOOL_E_BAD_NAME, "NUL"},
      {"tcp://0x7f.1:80", CONPOOL_E_BAD_NAME, "dotted quad"},
      {"tcp://127.1:80", CONPOOL_E_BAD_NAME, "127.1"},
      {"tcp://1.2.3.4.5:80", CONPOOL_E_BAD_NAME, "1.2.3.4.5"},
      {"tcp://256.0.0.1:80", CONPOOL_E_BAD_NAME, "256.0.0.1"},
      {"tcp://127.0.0.01:80", CONPOOL_E_BAD_NAME, "127.0.0.01"},
      {"tcp://2130706433:80", CONPOOL_E_BAD_NAME, "2130706433"},
      {"tcp://b\xc3\xbc"
       "cher.example:80",
       CONPOOL_E_BAD_NAME, "A-label"},
      {"tcp://-a.example:80", CONPOOL_E_BAD_NAME, "begins with '-'"},
      {"tcp://a-.example:80", CONPOOL_E_BAD_NAME, "ends with '-'"},
      {"tcp://a*.example:80", CONPOOL_E_BAD_NAME, "*"},
      {"tcp://:80", CONPOOL_E_BAD_NAME, "empty"},
      {"tcp://.:80", CONPOOL_E_BAD_NAME, "root"},
      {"tcp://[::1:80", CONPOOL_E_BAD_NAME, "[::1"},
      {"tcp://[fe80::1%nosuchif0]:80", CONPOOL_E_BAD_NAME, "interface"},
      {"tcp://[:::1]:80", CONPOOL_E_BAD_NAME, "IPv6"},
      {"tcp://::1:80", CONPOOL_E_BAD_ADDRESS, "brackets"},
  };
  std::set<std::string> lines;
  for (const BadEndpoint& c : cases)
    expect_refusal(pool, c, &lines);
}

TEST(BadEndpoints, Ports) {
  const PoolPtr pool = make_pool();
  std::set<std::string> lines;
  for (const BadEndpoint& c :
       std::vector<BadEndpoint>{{"tcp://h:0", CONPOOL_E_BAD_PORT, "\"0\""},
                                {"tcp://h:99999", CONPOOL_E_BAD_PORT, "99999"},
                                {"tcp://h:65536", CONPOOL_E_BAD_PORT, "65536"},
                                {"tcp://h:-1", CONPOOL_E_BAD_PORT, "-1"},
                                {"tcp://h:http", CONPOOL_E_BAD_PORT, "http"},
                                {"tcp://h:080x", CONPOOL_E_BAD_PORT, "080x"},
                                {"tcp://h:", CONPOOL_E_BAD_PORT, "\"\""},
                                {"tcp://h:80,", CONPOOL_E_BAD_PORT, ""},
                                {"tcp://h", CONPOOL_E_BAD_PORT, "no port"},
                                {"tcp://[::1]", CONPOOL_E_BAD_PORT, "no port"},
                                {"tcp://h:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
                                 CONPOOL_E_BAD_PORT, "at most 16"}}) {
    if (c.text == "tcp://h:80,") lines.clear();  // its empty item reads like that of "tcp://h:"
    expect_refusal(pool, c, &lines);
  }
  conpool_endpoint* out = untouched<conpool_endpoint>();
  conpool_error* error = nullptr;
  const uint16_t zero = 0;
  EXPECT_EQ(
      conpool_endpoint_new_host(pool.get(), "tcp", "h", kNul, &zero, 1, nullptr, &out, &error),
      CONPOOL_E_BAD_PORT);
  EXPECT_NE(std::strstr(conpool_error_line(error), "\"0\""), nullptr);
  conpool_error_free(error);
  EXPECT_EQ(
      conpool_endpoint_new_host(pool.get(), "tcp", "h", kNul, nullptr, 0, nullptr, &out, &error),
      CONPOOL_E_BAD_PORT);
  EXPECT_NE(std::strstr(conpool_error_line(error), "no port"), nullptr);
  conpool_error_free(error);
  EXPECT_EQ(out, untouched<conpool_endpoint>());
}

TEST(BadEndpoints, Urls) {
  const PoolPtr pool = make_pool();
  std::set<std::string> lines;
  for (const BadEndpoint& c :
       std::vector<BadEndpoint>{{"", CONPOOL_E_BAD_URL, "no scheme"},
                                {"h:80", CONPOOL_E_BAD_URL, "no scheme"},
                                {"ftp://h:21", CONPOOL_E_BAD_URL, "ftp"},
                                {"http://h:80/path", CONPOOL_E_BAD_URL, "has a path"},
                                {"https://", CONPOOL_E_BAD_NAME, ""},
                                {"TCP://h:80", CONPOOL_E_BAD_URL, "TCP"},
                                {"tcp://u:p@h:80", CONPOOL_E_BAD_URL, "user information"},
                                {"tcp://h:80/x", CONPOOL_E_BAD_URL, "path"},
                                {"tcp://h:80?x", CONPOOL_E_BAD_URL, "tcp://h:80?x"},
                                {"unix:", CONPOOL_E_BAD_URL, "absolute path"},
                                {"unix:relative", CONPOOL_E_BAD_URL, "relative"},
                                {"unix:/" + std::string(107, 'p'), CONPOOL_E_BAD_URL, "107"}})
    expect_refusal(pool, c, &lines);
}

TEST(BadEndpoints, Lists) {
  const PoolPtr pool = make_pool();
  std::string many;
  for (int i = 1; i <= 65; ++i)
    many += (i > 1 ? ",127.0.0." : "127.0.0.") + std::to_string(i) + ":80";
  const struct {
    const char* scheme;
    std::string list;
    conpool_status status;
    const char* words;
  } cases[] = {{"tcp", "", CONPOOL_E_BAD_ADDRESS, ""},
               {"tcp", "h:80", CONPOOL_E_BAD_ADDRESS, "h"},
               {"tcp", "127.0.0.1:80,,127.0.0.2:80", CONPOOL_E_BAD_ADDRESS, ""},
               {"tcp", "127.0.0.1", CONPOOL_E_BAD_PORT, "127.0.0.1"},
               {"tcp", "127.0.0.1:0", CONPOOL_E_BAD_PORT, "0"},
               {"tcp", "127.0.0.1:99999", CONPOOL_E_BAD_PORT, "99999"},
               {"tcp", "::1:80", CONPOOL_E_BAD_ADDRESS, "::1"},
               {"tcp", "0x7f.1:80", CONPOOL_E_BAD_ADDRESS, "0x7f.1"},
               {"tcp", many, CONPOOL_E_BAD_ADDRESS, "64"},
               {"http", "127.0.0.1:80", CONPOOL_E_INVALID, "tls.server_name"},
               {"ftp", "127.0.0.1:80", CONPOOL_E_BAD_URL, "ftp"},
               {"tls", "127.0.0.1:443", CONPOOL_E_INVALID, "tls.server_name"}};
  for (const auto& c : cases) {
    conpool_endpoint* out = untouched<conpool_endpoint>();
    conpool_error* error = nullptr;
    EXPECT_EQ(conpool_endpoint_new_addresses(pool.get(), c.scheme, c.list.data(), c.list.size(),
                                             nullptr, &out, &error),
              c.status)
        << c.list.substr(0, 40) << ": " << conpool_error_line(error);
    const ErrorPtr owned(error);
    EXPECT_NE(std::strstr(conpool_error_line(error), c.words), nullptr)
        << conpool_error_line(error);
    EXPECT_EQ(out, untouched<conpool_endpoint>());
  }
}

TEST(BadEndpoints, HugeAndHostileTextsAreRefusedBriefly) {
  const PoolPtr pool = make_pool();
  const std::string huge(4 << 20, 'a');
  for (const std::string& text :
       {huge, "tcp://" + huge + ":80", "tcp://h:" + huge, "tcp://[" + huge + "]:80",
        "unix:/" + huge, "tcp://" + std::string(1 << 20, '.') + ":80",
        "tcp://h:" + std::string(1 << 20, ','), std::string(1 << 20, '\0'),
        std::string("tcp://h\r\nX: y:80"), std::string("tcp://\x1b[2J:80")}) {
    conpool_endpoint* out = nullptr;
    conpool_error* error = nullptr;
    EXPECT_LT(conpool_endpoint_new(pool.get(), text.data(), text.size(), nullptr, &out, &error), 0);
    const ErrorPtr owned(error);
    const std::string line = conpool_error_line(error);
    EXPECT_LT(line.size(), 600u) << line.substr(0, 200);
    for (const char c : line)
      EXPECT_GE(static_cast<unsigned char>(c), 0x20) << line;
    EXPECT_LT(conpool_endpoint_new_addresses(pool.get(), "tcp", text.data(), text.size(), nullptr,
                                             &out, nullptr),
              0);
  }
}

TEST(BadEndpoints, NulTerminatedTextsAndSizesAgree) {
  Server server(Server::echo);
  const PoolPtr pool = make_pool();
  const std::string url = server.url();
  const std::string longer = url + " and more";
  conpool_endpoint* by_nul = nullptr;
  conpool_endpoint* by_size = nullptr;
  EXPECT_EQ(conpool_endpoint_new(pool.get(), url.c_str(), kNul, nullptr, &by_nul, nullptr),
            CONPOOL_OK);
  EXPECT_EQ(conpool_endpoint_new(pool.get(), longer.data(), url.size(), nullptr, &by_size, nullptr),
            CONPOOL_OK);
  const EndpointPtr first(by_nul);
  const EndpointPtr second(by_size);
  conpool_connection* c = lease(first);
  conpool_connection_release(c, CONPOOL_REUSABLE);
  Event again = acquire(second);  // the same endpoint: the same connection
  EXPECT_EQ(again->value[0], 1u);
}

// --- threads -----------------------------------------------------------------------------------

TEST(WrongThread, OnlyOneDrives) {
  Server server(Server::silent);
  const PoolPtr pool = make_pool({{"loop.drive", "caller"}});
  const EndpointPtr endpoint = make_endpoint(pool, server.url());
  const QueuePtr queue = make_queue(pool);
  std::atomic<bool> done{false};
  std::atomic<bool> counting{false};
  std::atomic<int> refused{0};
  std::thread driver([&] {
    while (!done) {
      conpool_event event{};
      const int32_t taken = conpool_queue_next(queue.get(), &event, 1, kLong);
      if (taken == CONPOOL_E_BUSY && counting) ++refused;
    }
  });
  conpool_event event{};
  // Until the other thread drives, this one may.
  EXPECT_TRUE(
      eventually([&] { return conpool_queue_next(queue.get(), &event, 1, 0) == CONPOOL_E_BUSY; }));
  const QueuePtr second = make_queue(pool);
  EXPECT_TRUE(
      eventually([&] { return conpool_queue_next(second.get(), &event, 1, 0) == CONPOOL_E_BUSY; }));
  const conpool_op op = start_acquire(endpoint);
  conpool_status waited = CONPOOL_OK;
  EXPECT_TRUE(eventually([&] {
    waited = conpool_op_wait(op, 0, &event);
    return waited != CONPOOL_E_TIMEOUT;
  }));
  EXPECT_TRUE(waited == CONPOOL_E_BUSY || waited == CONPOOL_OK) << waited;
  if (waited == CONPOOL_OK) conpool_event_dispose(&event);
  // Looking is no driving: it is let in between two turns of the sleeping driver, which is not
  // refused for it.
  counting = true;
  char* text = nullptr;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(conpool_pool_metrics(pool.get(), "text", &text), CONPOOL_OK);
    conpool_text_free(text);
  }
  EXPECT_EQ(refused.load(), 0);
  done = true;
  conpool_queue_wake(queue.get());
  driver.join();
  EXPECT_EQ(conpool_pool_metrics(pool.get(), "text", &text), CONPOOL_OK);
  conpool_text_free(text);
}

TEST(StatusCodes, AreDistinctAndWorded) {
  Json statuses;
  std::string reason;
  ASSERT_TRUE(parse_json(describe("statuses"), &statuses, &reason)) << reason;
  std::set<std::string> names, texts;
  std::set<long long> values;
  for (const Json& status : statuses.items) {
    const auto value = static_cast<conpool_status>(status["value"].number());
    EXPECT_TRUE(names.insert(status["name"].text).second);
    EXPECT_TRUE(texts.insert(status["text"].text).second) << status["text"].text;
    EXPECT_TRUE(values.insert(value).second);
    EXPECT_EQ(conpool_status_name(value), status["name"].text);
    EXPECT_EQ(conpool_status_text(value), status["text"].text);
    EXPECT_NE(conpool_status_class(value), CONPOOL_CLASS_UNKNOWN);
  }
  EXPECT_STREQ(conpool_status_name(-12345), "UNKNOWN");
  EXPECT_STREQ(conpool_status_name(1), "UNKNOWN");
  EXPECT_EQ(conpool_status_class(-499), CONPOOL_CLASS_CONNECT);  // of a newer library
  EXPECT_EQ(conpool_status_class(-99999), CONPOOL_CLASS_UNKNOWN);
}

}  // namespace
}  // namespace capi_test
