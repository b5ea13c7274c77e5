// Request heads and chunk framing, byte for byte.
#include "http1/encode.h"

#include <gtest/gtest.h>

namespace conpool::http1 {
namespace {

session::RequestHead head_of(std::string method) {
  session::RequestHead head;
  head.method = std::move(method);
  head.scheme = "http";
  head.authority = "example.org:8080";
  head.target = "/a?b=c";
  return head;
}

TEST(Encode, WritesARequestWithoutABody) {
  session::RequestHead head = head_of("GET");
  head.fields.add("accept", "*/*");
  head.fields.add("x-empty", "");
  EXPECT_EQ(encode_head(head, {}, false),
            "GET /a?b=c HTTP/1.1\r\n"
            "Host: example.org:8080\r\n"
            "accept: */*\r\n"
            "x-empty: \r\n"
            "\r\n");
}

TEST(Encode, NamesTeAsAnOptionOfTheConnection) {
  session::RequestHead head = head_of("GET");
  head.fields.add("te", "trailers");
  EXPECT_EQ(encode_head(head, {}, false),
            "GET /a?b=c HTTP/1.1\r\n"
            "Host: example.org:8080\r\n"
            "te: trailers\r\n"
            "Connection: TE\r\n"
            "\r\n");
}

TEST(Encode, SaysThatContentIsEmptyWhereItWouldMeanSomething) {
  for (const char* method : {"POST", "PUT", "PATCH"}) {
    EXPECT_EQ(encode_head(head_of(method), {}, false),
              std::string(method) +
                  " /a?b=c HTTP/1.1\r\nHost: example.org:8080\r\nContent-Length: 0\r\n\r\n");
  }
  for (const char* method : {"GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "QUERY", "post"}) {
    EXPECT_EQ(encode_head(head_of(method), {}, false),
              std::string(method) + " /a?b=c HTTP/1.1\r\nHost: example.org:8080\r\n\r\n");
  }
}

TEST(Encode, FramesBodies) {
  const std::string begin = "POST /a?b=c HTTP/1.1\r\nHost: example.org:8080\r\n";
  const session::RequestHead head = head_of("POST");
  EXPECT_EQ(encode_head(head, 0, true), begin + "Content-Length: 0\r\n\r\n");
  EXPECT_EQ(encode_head(head, 5, true), begin + "Content-Length: 5\r\n\r\n");
  EXPECT_EQ(encode_head(head, UINT64_MAX, true),
            begin + "Content-Length: 18446744073709551615\r\n\r\n");
  EXPECT_EQ(encode_head(head, {}, true), begin + "Transfer-Encoding: chunked\r\n\r\n");
}

TEST(Encode, AnnouncesTrailers) {
  session::RequestHead head = head_of("PUT");
  head.trailers.add("x-sum", "1");
  head.trailers.add("x-end", "2");
  const std::string expected =
      "PUT /a?b=c HTTP/1.1\r\nHost: example.org:8080\r\n"
      "Transfer-Encoding: chunked\r\nTrailer: x-sum, x-end\r\n\r\n";
  EXPECT_EQ(encode_head(head, {}, true), expected);
  EXPECT_EQ(encode_head(head, 5, true), expected);  // a sized body cannot have trailers
}

TEST(Encode, AsksForContinueOnlyForABody) {
  session::RequestHead head = head_of("POST");
  head.expect_continue = true;
  const std::string asked = "Expect: 100-continue\r\n";
  EXPECT_NE(encode_head(head, 5, true).find(asked), std::string::npos);
  EXPECT_NE(encode_head(head, {}, true).find(asked), std::string::npos);
  EXPECT_EQ(encode_head(head, 0, true).find(asked), std::string::npos);
  EXPECT_EQ(encode_head(head, {}, false).find(asked), std::string::npos);
}

TEST(Encode, WritesOptionsOfAServer) {
  session::RequestHead head = head_of("OPTIONS");
  head.target = "*";
  EXPECT_EQ(encode_head(head, {}, false), "OPTIONS * HTTP/1.1\r\nHost: example.org:8080\r\n\r\n");
}

TEST(Encode, FramesChunks) {
  std::string out;
  append_chunk_line(&out, 1);
  append_chunk_line(&out, 255);
  append_chunk_line(&out, UINT64_MAX);
  EXPECT_EQ(out, "1\r\nff\r\nffffffffffffffff\r\n");
  session::Fields trailers;
  out.clear();
  append_last_chunk(&out, trailers);
  EXPECT_EQ(out, "0\r\n\r\n");
  trailers.add("x-sum", "1");
  trailers.add("x-end", "");
  out.clear();
  append_last_chunk(&out, trailers);
  EXPECT_EQ(out, "0\r\nx-sum: 1\r\nx-end: \r\n\r\n");
}

}  // namespace
}  // namespace conpool::http1
