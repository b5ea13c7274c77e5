// Requests that are wrong: each is refused before anything is connected to, with a code of its own
// and words that name the input.
#include <cstring>

#include "http_support.h"

namespace capi_test {
namespace {

using namespace std::string_literals;

constexpr size_t kNul = CONPOOL_NUL_TERMINATED;

template <typename T>
T* untouched() {
  return reinterpret_cast<T*>(uintptr_t{0x5a5a});
}

class BadRequests : public testing::Test {
 protected:
  ~BadRequests() override { EXPECT_EQ(server_.accepted(), 0); }

  void expect_refused(conpool_status status, conpool_error* error, conpool_status code,
                      const std::string& words) {
    const ErrorPtr owned(error);
    EXPECT_EQ(status, code) << words;
    ASSERT_NE(error, nullptr) << words;
    EXPECT_EQ(conpool_error_status(error), code);
    EXPECT_NE(std::strstr(conpool_error_line(error), words.c_str()), nullptr)
        << conpool_error_line(error);
  }

  HttpServer server_{HttpServer::echo};
  PoolPtr pool_ = make_pool();
};

TEST_F(BadRequests, MethodsAndUrls) {
  const std::string at = server_.authority();
  const struct {
    std::string method;
    std::string url;
    conpool_status code;
    const char* words;
  } cases[] = {
      {"", "http://" + at, CONPOOL_E_BAD_METHOD, "the method is empty"},
      {"GE T", "http://" + at, CONPOOL_E_BAD_METHOD, "\"GE T\" is not a method"},
      {"GET\r", "http://" + at, CONPOOL_E_BAD_METHOD, "\\x0d"},
      {"GET\n", "http://" + at, CONPOOL_E_BAD_METHOD, "is not a method"},
      {"G\xc3\xa9T", "http://" + at, CONPOOL_E_BAD_METHOD, "is not a method"},
      {"CONNECT", "http://" + at, CONPOOL_E_UNSUPPORTED, "CONNECT"},
      {"GET", "", CONPOOL_E_BAD_URL, "the URL is empty"},
      {"GET", at, CONPOOL_E_BAD_URL, "has no scheme"},
      {"GET", "gopher://" + at, CONPOOL_E_BAD_URL, "\"gopher\""},
      {"GET", "tcp://" + at, CONPOOL_E_BAD_URL, "\"tcp\""},
      {"GET", "http://", CONPOOL_E_BAD_URL, "has no host"},
      {"GET", "http:///x", CONPOOL_E_BAD_URL, "has no host"},
      {"GET", "http://me:pw@" + at, CONPOOL_E_BAD_URL, "user information"},
      {"GET", "http://" + at + "/#top", CONPOOL_E_BAD_URL, "fragment"},
      {"GET", "http://" + at + "/a b", CONPOOL_E_BAD_URL, "%20"},
      {"GET", "http://" + at + "/a\r\nX: y", CONPOOL_E_BAD_URL, "%0D"},
      {"GET", "http://" + at + "/a\0b"s, CONPOOL_E_BAD_URL, "%00"},
      {"GET", "http://" + at + "/\xff", CONPOOL_E_BAD_URL, "%FF"},
      {"GET", "http://a b/", CONPOOL_E_BAD_NAME, "\"a b\""},
      {"GET", "http://a\r\nb/", CONPOOL_E_BAD_NAME, "a\\r\\nb"},
      {"GET", "http://127.1/", CONPOOL_E_BAD_NAME, "\"127.1\""},
      {"GET", "http://h:0/", CONPOOL_E_BAD_PORT, "\"0\""},
      {"GET", "http://h:x/", CONPOOL_E_BAD_PORT, "\"x\""},
      {"GET", "http://h:/", CONPOOL_E_BAD_PORT, "\"\""},
      {"GET",
       "http://b\xc3\xbc"
       "cher.test/",
       CONPOOL_E_BAD_NAME, "xn--"},
  };
  for (const auto& c : cases) {
    conpool_request* request = untouched<conpool_request>();
    conpool_error* error = nullptr;
    const conpool_status status = conpool_request_new(pool_.get(), c.method.c_str(), c.url.data(),
                                                      c.url.size(), nullptr, &request, &error);
    expect_refused(status, error, c.code, c.words);
    EXPECT_EQ(request, untouched<conpool_request>());
  }
}

TEST_F(BadRequests, Targets) {
  const EndpointPtr endpoint = make_endpoint(pool_, server_.url());
  for (const char* target : {"", "x", "*", "http://h/", "/a b", "/\r\n", "/#x"}) {
    conpool_request* request = untouched<conpool_request>();
    EXPECT_EQ(conpool_request_new_at(endpoint.get(), "GET", target, kNul, &request, nullptr),
              CONPOOL_E_BAD_URL)
        << target;
    EXPECT_EQ(request, untouched<conpool_request>());
  }
}

TEST_F(BadRequests, Fields) {
  const struct {
    std::string name;
    std::string value;
    const char* words;
  } cases[] = {
      {"", "x", "empty name"},
      {"a b", "x", "\"a b\" is not a field name"},
      {"a:b", "x", "':'"},
      {"a\r\nb", "x", "\\x0d"},
      {"a\0b"s, "x", "\\x00"},
      {":authority", "h", "pseudo field"},
      {"x", "a\r\nInjected: 1", "\\x0d"},
      {"x", "a\nb", "\\x0a"},
      {"x", "a\0b"s, "\\x00"},
      {"x", "a\x7f", "\\x7f"},
      {"Host", "a b", "\"a b\""},
      {"Host", "", "it is empty"},
      {"Host", "h:99999", "99999"},
      {"Host", "u@h", "Host"},
      {"Content-Length", "5,5", "is not a length"},
      {"Content-Length", "-1", "is not a length"},
      {"Connection", "close", "belongs to the connection"},
      {"Keep-Alive", "timeout=5", "belongs to the connection"},
      {"Proxy-Connection", "keep-alive", "belongs to the connection"},
      {"Transfer-Encoding", "chunked", "frames the body itself"},
      {"Upgrade", "h2c", "belongs to the connection"},
      {"HTTP2-Settings", "x", "belongs to the connection"},
      {"TE", "gzip", "\"trailers\" alone"},
      {"Trailer", "x-sum", "conpool_request_trailer"},
      {"Expect", "200-ok", "\"100-continue\""},
  };
  const RequestPtr request = make_request(pool_, "POST", server_.url());
  for (const auto& c : cases) {
    conpool_error* error = nullptr;
    const conpool_status status = conpool_request_header(
        request.get(), c.name.data(), c.name.size(), c.value.data(), c.value.size(), &error);
    expect_refused(status, error, CONPOOL_E_BAD_FIELD, c.words);
  }
  for (const char* name : {"Content-Length", "Host", "Authorization", "Content-Type"}) {
    conpool_error* error = nullptr;
    const conpool_status status =
        conpool_request_trailer(request.get(), name, kNul, "x", kNul, &error);
    expect_refused(status, error, CONPOOL_E_BAD_FIELD, name);
  }
  add_header(request, "Host", "one.test");
  conpool_error* error = nullptr;
  const conpool_status twice =
      conpool_request_header(request.get(), "host", kNul, "one.test", kNul, &error);
  expect_refused(twice, error, CONPOOL_E_BAD_FIELD, "one Host field only");
}

TEST_F(BadRequests, TooMuchOfAHead) {
  const RequestPtr request = make_request(pool_, "GET", server_.url());
  const std::string big(65536, 'x');
  conpool_error* error = nullptr;
  conpool_status status =
      conpool_request_header(request.get(), "x", 1, big.data(), big.size(), &error);
  expect_refused(status, error, CONPOOL_E_BAD_FIELD, "at most 65536 bytes");
  for (int i = 0; i < 256; ++i)
    add_header(request, "x", "y");
  status = conpool_request_header(request.get(), "x", 1, "y", 1, &error);
  expect_refused(status, error, CONPOOL_E_BAD_FIELD, "at most 256 fields");
}

// Parts that only contradict each other are told by the start.
TEST_F(BadRequests, Contradictions) {
  const struct {
    const char* method;
    std::vector<std::pair<std::string, std::string>> fields;
    int64_t body;  // -2: none; -1: pieces of unknown length
    bool trailer;
    conpool_status code;
    const char* words;
  } cases[] = {
      {"POST",
       {{"Content-Length", "4"}},
       5,
       false,
       CONPOOL_E_BAD_FIELD,
       "says 4, but the body has 5 bytes"},
      {"POST",
       {{"Content-Length", "4"}},
       -2,
       false,
       CONPOOL_E_BAD_FIELD,
       "says 4, but the request has no body"},
      {"POST", {{"Content-Length", "4"}}, -1, false, CONPOOL_E_BAD_FIELD, "length is not known"},
      {"POST", {}, -2, true, CONPOOL_E_BAD_FIELD, "trailers need a body"},
      {"GET", {{"Expect", "100-continue"}}, -2, false, CONPOOL_E_BAD_FIELD, "needs a body"},
      {"TRACE", {}, 5, false, CONPOOL_E_BAD_BODY, "TRACE has no body"},
  };
  for (const auto& c : cases) {
    const RequestPtr request = make_request(pool_, c.method, server_.url());
    for (const auto& [name, value] : c.fields)
      add_header(request, name, value);
    if (c.body >= 0) set_body(request, "12345");
    if (c.body == -1) {
      EXPECT_EQ(conpool_request_body_stream(request.get(), -1), CONPOOL_OK);
    }
    if (c.trailer) add_trailer(request, "x", "y");
    conpool_op op = 5;
    conpool_error* error = nullptr;
    const conpool_status status =
        conpool_request_start(request.get(), nullptr, CONPOOL_WHOLE, nullptr, 0, &op, &error);
    expect_refused(status, error, c.code, c.words);
    EXPECT_EQ(op, 5u);
    // It can still be mended.
    EXPECT_EQ(conpool_request_idempotent(request.get(), 1), CONPOOL_OK);
  }
}

TEST_F(BadRequests, Starts) {
  const RequestPtr request = make_request(pool_, "GET", server_.url());
  const PoolPtr other = make_pool();
  const QueuePtr foreign = make_queue(other);
  const ConfigPtr wide = make_config({{"partition", "x"}});
  conpool_op op = 5;
  conpool_error* error = nullptr;
  conpool_status status =
      conpool_request_start(request.get(), nullptr, CONPOOL_STREAM, nullptr, 0, &op, &error);
  expect_refused(status, error, CONPOOL_E_INVALID, "CONPOOL_STREAM needs a queue");
  status = conpool_request_start(request.get(), nullptr, 2, nullptr, 0, &op, &error);
  expect_refused(status, error, CONPOOL_E_INVALID, "neither CONPOOL_WHOLE nor CONPOOL_STREAM");
  status =
      conpool_request_start(request.get(), nullptr, CONPOOL_WHOLE, foreign.get(), 0, &op, &error);
  expect_refused(status, error, CONPOOL_E_INVALID, "another pool");
  status = conpool_request_start(request.get(), wide.get(), CONPOOL_WHOLE, nullptr, 0, &op, &error);
  expect_refused(status, error, CONPOOL_E_OPTION_SCOPE, "partition");
  EXPECT_EQ(op, 5u);
}

TEST_F(BadRequests, NullPointers) {
  const EndpointPtr endpoint = make_endpoint(pool_, server_.url());
  const RequestPtr request = make_request(pool_, "GET", server_.url());
  conpool_request* out = untouched<conpool_request>();
  conpool_pool* p = pool_.get();
  EXPECT_EQ(conpool_request_new(nullptr, "GET", "http://h", kNul, nullptr, &out, nullptr),
            CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_new(p, nullptr, "http://h", kNul, nullptr, &out, nullptr),
            CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_new(p, "GET", nullptr, 0, nullptr, &out, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_new(p, "GET", "http://h", kNul, nullptr, nullptr, nullptr),
            CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_new_at(nullptr, "GET", "/", 1, &out, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_new_at(endpoint.get(), "GET", nullptr, 0, &out, nullptr),
            CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_new_at(endpoint.get(), "GET", "/", 1, nullptr, nullptr),
            CONPOOL_E_INVALID);
  EXPECT_EQ(out, untouched<conpool_request>());
  EXPECT_EQ(conpool_request_header(nullptr, "a", 1, "b", 1, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_header(request.get(), nullptr, 0, "b", 1, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_header(request.get(), "a", 1, nullptr, 0, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_trailer(request.get(), nullptr, 0, "b", 1, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_body(nullptr, "x", 1), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_body(request.get(), nullptr, 1), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_body_fd(nullptr, 0, 0, 0), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_body_stream(nullptr, 0), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_body_stream(request.get(), -2), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_idempotent(nullptr, 1), CONPOOL_E_INVALID);
  conpool_op op = 5;
  EXPECT_EQ(conpool_request_start(nullptr, nullptr, 0, nullptr, 0, &op, nullptr),
            CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_request_start(request.get(), nullptr, 0, nullptr, 0, nullptr, nullptr),
            CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_body_write(0, "x", 1, 0, nullptr, 0, &op), CONPOOL_E_STALE);
  EXPECT_EQ(conpool_body_write(1, nullptr, 1, 0, nullptr, 0, &op), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_body_write(1, "x", 1, 0, nullptr, 0, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(op, 5u);
  conpool_response* response = untouched<conpool_response>();
  EXPECT_EQ(conpool_perform(nullptr, nullptr, &response, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_perform(request.get(), nullptr, nullptr, nullptr), CONPOOL_E_INVALID);
  EXPECT_EQ(response, untouched<conpool_response>());
  EXPECT_EQ(conpool_endpoint_preconnect(nullptr, 1, nullptr, nullptr, 0, &op), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_endpoint_preconnect(endpoint.get(), 1, nullptr, nullptr, 0, nullptr),
            CONPOOL_E_INVALID);
  conpool_request_free(nullptr);
}

TEST(NullResponse, IsEmpty) {
  size_t size = 7;
  EXPECT_EQ(conpool_response_status(nullptr), 0);
  EXPECT_EQ(conpool_response_version(nullptr), 0);
  EXPECT_EQ(conpool_response_header_count(nullptr), 0u);
  EXPECT_EQ(conpool_response_header_name(nullptr, 0, &size), nullptr);
  EXPECT_EQ(size, 0u);
  EXPECT_EQ(conpool_response_header_value(nullptr, 0, nullptr), nullptr);
  EXPECT_EQ(conpool_response_header(nullptr, "a", 0, nullptr), nullptr);
  EXPECT_EQ(conpool_response_trailer_count(nullptr), 0u);
  EXPECT_EQ(conpool_response_trailer_name(nullptr, 0, nullptr), nullptr);
  EXPECT_EQ(conpool_response_trailer_value(nullptr, 0, nullptr), nullptr);
  EXPECT_EQ(conpool_response_body(nullptr, &size), nullptr);
  char* text = nullptr;
  EXPECT_EQ(conpool_response_describe(nullptr, &text), CONPOOL_E_INVALID);
  EXPECT_EQ(conpool_error_h2_code(nullptr), -1);
  conpool_response_free(nullptr);
}

}  // namespace
}  // namespace capi_test
