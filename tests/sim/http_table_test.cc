// The table of raw HTTP/1.1 responses through the whole pool, over plaintext and over TLS: the same
// verdict as the codec's own, and a connection that is used again exactly where the row says so.
#include "sim/http_world.h"
#include "unit/http1/response_table.h"

namespace conpool::sim {
namespace {

using http1::Reason;
using http1::table::Case;

std::string lines_of(const HttpFields& fields) {
  std::string text;
  for (const auto& [name, value] : fields)
    text += name + ": " + value + "\n";
  return text;
}

void expect_row(const Case& row, const Reply& reply) {
  ASSERT_TRUE(reply.ended);
  if (row.reason != Reason::None) {
    EXPECT_NE(reply.status, 0);
    EXPECT_EQ(conpool_status_class(reply.status), CONPOOL_CLASS_HTTP) << reply.line;
    return;
  }
  ASSERT_EQ(reply.status, 0) << reply.report;
  EXPECT_EQ(reply.code, row.status);
  EXPECT_EQ(reply.body, row.body);
  EXPECT_EQ(lines_of(reply.fields), row.fields);
  EXPECT_EQ(lines_of(reply.trailers), row.trailers);
}

class Rows : public ::testing::TestWithParam<Wire> {};

TEST_P(Rows, HaveTheirVerdictThroughThePool) {
  const std::vector<Case> rows = http1::table::response_table();
  HttpWorld world;
  world.open({{"first_byte.timeout", "1s"}, {"stall.timeout", "1s"}});
  const Case* row = nullptr;
  HttpServer& server = world.serve_on(GetParam());
  server.set_answer_chooser([&row](const HttpRequest& request) {
    HttpAnswer answer;
    if (request.target != "/row") return answer;
    answer.raw = row->bytes;
    answer.keep_alive = !row->ends;
    if (row->bytes.empty()) answer.fault = HttpFault::Close;
    return answer;
  });
  conpool_endpoint* origin = world.target(GetParam());
  for (const Case& one : rows) {
    SCOPED_TRACE(one.name);
    row = &one;
    // A connection that has served before, so that reuse and not its first use is judged.
    ASSERT_TRUE(world.perform(origin, {.target = "/before"}).ok());
    const uint64_t before = server.counts().accepted;
    const Reply reply =
        world.perform(origin, {.method = one.to_head ? "HEAD" : "GET", .target = "/row"});
    expect_row(one, reply);
    ASSERT_TRUE(world.perform(origin, {.target = "/after"}).ok());
    const bool again = one.reason == Reason::None && one.reusable && one.extra == 0 && !one.ends;
    EXPECT_EQ(server.counts().accepted == before, again);
    if (::testing::Test::HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Http, Rows, ::testing::Values(Wire::Http1, Wire::TlsHttp1),
                         [](const auto& wire) {
                           return std::string(wire.param == Wire::Http1 ? "Plain" : "Tls");
                         });

}  // namespace
}  // namespace conpool::sim
