// Tests of the request reader: what it takes, what it refuses and why, in pieces of every size.
#include "origin/http1_reader.h"

#include <gtest/gtest.h>

namespace conpool::origin {
namespace {

// Everything the reader says of these bytes: "POST /a [3] abc .", then "bad: …".
std::string read(std::string_view bytes, size_t piece) {
  Http1Reader reader;
  std::string said;
  std::string body;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    std::string_view rest = bytes.substr(at, piece);
    for (;;) {
      const Http1Reader::Event event = reader.next(rest);
      if (event == Http1Reader::Event::More) break;
      if (event == Http1Reader::Event::Bad) return said + "bad: " + reader.problem();
      if (event == Http1Reader::Event::Head) {
        const Http1Head& head = reader.head();
        said += head.method + " " + head.target;
        if (head.close) said += " close";
        if (head.expect_continue) said += " expect";
        said += " ";
      }
      if (event == Http1Reader::Event::Body) body += reader.body();
      if (event == Http1Reader::Event::End) {
        said += "[" + body + "]";
        for (const auto& [name, value] : reader.trailers())
          said += " " + name + "=" + value;
        said += reader.between() ? ". " : "! ";
        body.clear();
      }
    }
  }
  return said + (reader.between() ? "" : "…");
}

std::string read_in_all_pieces(const std::string& bytes) {
  const std::string whole = read(bytes, bytes.size());
  for (size_t piece = 1; piece < bytes.size(); ++piece)
    EXPECT_EQ(read(bytes, piece), whole) << "in pieces of " << piece << ": " << bytes;
  return whole;
}

TEST(Http1Reader, TakesRequests) {
  EXPECT_EQ(read_in_all_pieces("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "GET / []. ");
  EXPECT_EQ(read_in_all_pieces("GET /x HTTP/1.1\r\nhost:a\r\nConnection: x, Close\r\n\r\n"
                               "GET /y HTTP/1.1\r\nhost:a\r\n\r\n"),
            "GET /x close []. GET /y []. ");
  EXPECT_EQ(read_in_all_pieces("GET / HTTP/1.0\r\n\r\n"), "GET / close []. ");
  EXPECT_EQ(read_in_all_pieces("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPU"),
            "POST /a [abc]. …");
  EXPECT_EQ(read_in_all_pieces("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
            "POST /a []. ");
  EXPECT_EQ(read_in_all_pieces("PUT * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"),
            "PUT * expect [abc0123456789] x-sum=1. ");
}

TEST(Http1Reader, RefusesWhatIsNoHttp) {
  const std::string host = "Host: a\r\n";
  const auto head = [&](const std::string& fields) {
    return read_in_all_pieces("POST / HTTP/1.1\r\n" + host + fields + "\r\n\r\n");
  };
  EXPECT_EQ(read_in_all_pieces("GET / HTTP/1.1\nHost: a\n\n"),
            "bad: a line that ends with LF alone");
  EXPECT_EQ(read_in_all_pieces("GET / HTTP/1.1\r\r\n"), "bad: a CR inside a line");
  EXPECT_EQ(read_in_all_pieces("\r\nGET / HTTP/1.1\r\n"), "bad: no request line: \"\"");
  EXPECT_EQ(read_in_all_pieces("GET /\r\n"), "bad: no request line: \"GET /\"");
  EXPECT_EQ(read_in_all_pieces("GE T / HTTP/1.1\r\n"), "bad: no target: \"GE T / HTTP/1.1\"");
  EXPECT_EQ(read_in_all_pieces("G:T / HTTP/1.1\r\n"), "bad: no method: \"G:T / HTTP/1.1\"");
  EXPECT_EQ(read_in_all_pieces("GET / HTTP/2.0\r\n"), "bad: no HTTP/1.1: \"GET / HTTP/2.0\"");
  EXPECT_EQ(read_in_all_pieces("GET / HTTP/1.1\r\n\r\n"), "bad: not one Host field");
  EXPECT_EQ(head("host: b"), "bad: not one Host field");
  EXPECT_EQ(head("a b: c"), "bad: no field: \"a b: c\"");
  EXPECT_EQ(head("a : c"), "bad: no field: \"a : c\"");
  EXPECT_EQ(head(" folded"), "bad: no field: \" folded\"");
  EXPECT_EQ(head("a: b\x01"), "bad: control characters in a field: \"a: b\\x01\"");
  EXPECT_EQ(head("Expect: tea"), "bad: an expectation: \"tea\"");
}

TEST(Http1Reader, RefusesFramingThatCouldBeReadInTwoWays) {
  const auto head = [](const std::string& fields, const std::string& body = "") {
    return read_in_all_pieces("POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n\r\n" + body);
  };
  EXPECT_EQ(head("Content-Length: 3\r\nContent-Length: 3"), "bad: a length: \"3\"");
  EXPECT_EQ(head("Content-Length: +3"), "bad: a length: \"+3\"");
  EXPECT_EQ(head("Content-Length: 3, 3"), "bad: a length: \"3, 3\"");
  EXPECT_EQ(head("Content-Length:"), "bad: a length: \"\"");
  EXPECT_EQ(head("Content-Length: 1000000000000000000"), "bad: a length: \"1000000000000000000\"");
  EXPECT_EQ(head("Content-Length: 3\r\nTransfer-Encoding: chunked"),
            "bad: a length beside a transfer coding");
  EXPECT_EQ(head("Transfer-Encoding: gzip, chunked"), "bad: a transfer coding: \"gzip, chunked\"");
  EXPECT_EQ(head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            "bad: a transfer coding: \"chunked\"");
  const std::string chunked = "Transfer-Encoding: chunked";
  EXPECT_EQ(head(chunked, "3;x=y\r\nabc\r\n"), "POST / bad: a chunk size: \"3;x=y\"");
  EXPECT_EQ(head(chunked, "0x3\r\nabc\r\n"), "POST / bad: a chunk size: \"0x3\"");
  EXPECT_EQ(head(chunked, "\r\n"), "POST / bad: a chunk size: \"\"");
  EXPECT_EQ(head(chunked, "0000000000000003\r\n"),
            "POST / bad: a chunk size: \"0000000000000003\"");
  EXPECT_EQ(head(chunked, "3\r\nabcd\r\n"), "POST / bad: a chunk that is longer than its size");
}

TEST(Http1Reader, KeepsItsLimits) {
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
  // "x: " and CRLF belong to the line.
  const std::string fits = std::string(Http1Reader::kLineBytes - 5, 'v');
  EXPECT_EQ(read(start + "x: " + fits + "\r\n\r\n", 1000), "GET / []. ");
  EXPECT_EQ(read(start + "x: " + fits + "v\r\n\r\n", 1000), "bad: a line longer than 16 KiB");
  std::string fields;
  for (size_t i = 1; i < Http1Reader::kFields; ++i)
    fields += "x: y\r\n";
  EXPECT_EQ(read(start + fields + "\r\n", 1000), "GET / []. ");
  EXPECT_EQ(read(start + fields + "x: y\r\n\r\n", 1000), "bad: more than 256 fields");
  std::string long_ones;
  for (int i = 0; i < 9; ++i)
    long_ones += "x: " + fits + "\r\n";
  EXPECT_EQ(read(start + long_ones + "\r\n", 1000), "bad: a head longer than 128 KiB");
}

}  // namespace
}  // namespace conpool::origin
