// The table of raw responses with their verdicts under RFC 9112 and RFC 9110.
#pragma once

#include <utility>
#include <vector>

#include "unit/http1/response_cases.h"

namespace conpool::http1::table {

using namespace std::string_view_literals;  // NOLINT: rows hold NUL bytes

inline void add_status_lines(Table& t) {
  t.good_status("HTTP/1.1 200 OK", 200);
  t.good_status("HTTP/1.1 200 ", 200);
  t.good_status("HTTP/1.1 200  two spaces", 200);
  t.good_status("HTTP/1.1 200 \ttab", 200);
  t.good_status("HTTP/1.1 200 caf\xc3\xa9", 200);
  t.good_status("HTTP/1.1 200 \xff\x80", 200);
  t.good_status("HTTP/1.1 200 HTTP/1.1 404 Not Found", 200);
  t.good_status("HTTP/1.1 201 Created", 201);
  t.good_status("HTTP/1.1 226 IM Used", 226);
  t.good_status("HTTP/1.1 299 ?", 299);
  t.good_status("HTTP/1.1 301 Moved", 301);
  t.good_status("HTTP/1.1 399 ?", 399);
  t.good_status("HTTP/1.1 400 Bad Request", 400);
  t.good_status("HTTP/1.1 418 I'm a teapot", 418);
  t.good_status("HTTP/1.1 500 Oops", 500);
  t.good_status("HTTP/1.1 599 ?", 599);
  t.good_status("HTTP/1.1 600 ?", 600);
  t.good_status("HTTP/1.1 999 Request denied", 999);
  t.bad_status("HTTP/1.1 200", Reason::StatusLine);
  t.bad_status("HTTP/1.1", Reason::StatusLine);
  t.bad_status("HTTP/1.1 ", Reason::StatusCode);
  t.bad_status("HTTP/1.1  200 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 20 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 2 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 20", Reason::StatusCode);
  t.bad_status("HTTP/1.1 1000 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 2000 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 099 Low", Reason::StatusCode);
  t.bad_status("HTTP/1.1 000 Zero", Reason::StatusCode);
  t.bad_status("HTTP/1.1 0200 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 200OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 200\tOK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 2x0 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 +20 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 -20 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 20. OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 0x1 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1 OK 200", Reason::StatusCode);
  t.bad_status("HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK", Reason::StatusCode);
  t.bad_status("HTTP/1.1\t200 OK", Reason::Version);
  t.bad_status("HTTP/0.9 200 OK", Reason::Version);
  t.bad_status("HTTP/1.2 200 OK", Reason::Version);
  t.bad_status("HTTP/2.0 200 OK", Reason::Version);
  t.bad_status("HTTP/2 200 OK", Reason::Version);
  t.bad_status("HTTP/3 200 OK", Reason::Version);
  t.bad_status("HTTP/1 200 OK", Reason::Version);
  t.bad_status("HTTP/1. 200 OK", Reason::Version);
  t.bad_status("HTTP/1.10 200 OK", Reason::Version);
  t.bad_status("HTTP/1.11 200 OK", Reason::Version);
  t.bad_status("HTTP/01.1 200 OK", Reason::Version);
  t.bad_status("HTTP/1.01 200 OK", Reason::Version);
  t.bad_status("HTTP/11 200 OK", Reason::Version);
  t.bad_status("HTTP/+1.1 200 OK", Reason::Version);
  t.bad_status("HTTP/1,1 200 OK", Reason::Version);
  t.bad_status("HTTP/ 1.1 200 OK", Reason::Version);
  t.bad_status("HTTP/1.1\0 200 OK"sv, Reason::Version);
  t.bad_status("HTTP/", Reason::Version);
  t.bad_status("http/1.1 200 OK", Reason::NotHttp);
  t.bad_status("HTTPS/1.1 200 OK", Reason::NotHttp);
  t.bad_status("HTTP 1.1 200 OK", Reason::NotHttp);
  t.bad_status(" HTTP/1.1 200 OK", Reason::NotHttp);
  t.bad_status("\tHTTP/1.1 200 OK", Reason::NotHttp);
  t.bad_status("\r\nHTTP/1.1 200 OK", Reason::NotHttp);
  t.bad_status("\nHTTP/1.1 200 OK", Reason::NotHttp);
  t.bad_status("\xef\xbb\xbfHTTP/1.1 200 OK", Reason::NotHttp);
  t.bad_status("", Reason::NotHttp);
  t.bad_status("ICY 200 OK", Reason::NotHttp);
  t.bad_status("SSH-2.0-OpenSSH_9.2", Reason::NotHttp);
  t.bad_status("<html>hello</html>", Reason::NotHttp);
  t.bad_status("GET / HTTP/1.1", Reason::NotHttp);
  t.bad_status("\x15\x03\x01", Reason::NotHttp);
  t.bad_status("Server: x", Reason::NotHttp);
  t.bad_status("HTTP/1.1 200 O\0K"sv, Reason::Nul);
  t.bad_status("HTTP/1.1 200 O\rK", Reason::BareCr);
  t.bad_status("HTTP/1.1 200 OK\r", Reason::BareCr);
  t.bad_status("HTTP/1.1 200 O\x01K", Reason::ControlByte);
  t.bad_status("HTTP/1.1 200 O\x7fK", Reason::ControlByte);
  t.bad_status("HTTP/1.1 200 OK\x0b", Reason::ControlByte);
  t.bad_status("HTTP/1.1 101 Switching Protocols", Reason::Upgraded);
  t.bad_status("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade",
               Reason::Upgraded);
  t.bad_status("HTTP/1.0 101 x", Reason::Upgraded);
  t.add({.name = "status line without CR",
         .bytes = "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
         .reason = Reason::BareLf});
  t.add({.name = "all lines without CR",
         .bytes = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
         .reason = Reason::BareLf});
  t.add({.name = "HTTP/1.0",
         .bytes = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
         .fields = "Content-Length: 2\n",
         .body = "ok",
         .reusable = false});
  t.add({.name = "HTTP/0.9: no head at all",
         .bytes = "hello",
         .ends = true,
         .reason = Reason::NotHttp});
}

inline void add_field_lines(Table& t) {
  t.good_field("A: b", "A", "b");
  t.good_field("A:b", "A", "b");
  t.good_field("A:", "A", "");
  t.good_field("A: ", "A", "");
  t.good_field("A: \t \t", "A", "");
  t.good_field("A:   b  ", "A", "b");
  t.good_field("A:\tb\t", "A", "b");
  t.good_field("A: b c", "A", "b c");
  t.good_field("A: b\tc", "A", "b\tc");
  t.good_field("A: :", "A", ":");
  t.good_field("A: b: c", "A", "b: c");
  t.good_field("A:: b", "A", ": b");
  t.good_field("A: \"quoted, string\"", "A", "\"quoted, string\"");
  t.good_field("A: \xc3\xa9\xff\x80", "A", "\xc3\xa9\xff\x80");
  t.good_field("!#$%&'*+-.^_`|~09azAZ: b", "!#$%&'*+-.^_`|~09azAZ", "b");
  t.good_field("0: b", "0", "b");
  t.good_field("a-very-long-name-with-many-dashes: b", "a-very-long-name-with-many-dashes", "b");
  t.good_field("Set-Cookie: a=b\r\nSet-Cookie: c=d", "Set-Cookie: a=b\nSet-Cookie", "c=d");
  t.good_field("X: 1\r\nx: 2", "X: 1\nx", "2");
  t.good_field("Content-Lengt: 99", "Content-Lengt", "99");
  t.good_field("Content-Lengths: 99", "Content-Lengths", "99");
  t.good_field("Transfer-Encodin: chunked", "Transfer-Encodin", "chunked");
  t.good_field("Upgrade: h2c", "Upgrade", "h2c");
  t.good_field("Trailer: x", "Trailer", "x");
  t.add({.name = "no field at all",
         .bytes = "HTTP/1.1 200 OK\r\n\r\nbody",
         .ends = true,
         .body = "body",
         .reusable = false});
  t.bad_field(" A: b", Reason::ObsFold);
  t.bad_field("\tA: b", Reason::ObsFold);
  t.bad_field(" ", Reason::ObsFold);
  t.bad_field("\t", Reason::ObsFold);
  t.bad_field("A: b\r\n c", Reason::ObsFold);
  t.bad_field("A: b\r\n\tc", Reason::ObsFold);
  t.bad_field("A:\r\n b", Reason::ObsFold);
  t.bad_field("A: b\r\n \r\nB: c", Reason::ObsFold);
  t.bad_field("Content-Length: 2\r\n 0", Reason::ObsFold);
  t.bad_field("Transfer-Encoding: chunked\r\n , gzip", Reason::ObsFold);
  t.bad_field("Transfer-Encoding:\r\n chunked", Reason::Coding);
  t.bad_field("A", Reason::NoColon);
  t.bad_field("Content-Length", Reason::NoColon);
  t.bad_field("HTTP/1.1 200 OK", Reason::NameByte);
  t.bad_field(": b", Reason::EmptyName);
  t.bad_field(":", Reason::EmptyName);
  t.bad_field("A : b", Reason::NameSpace);
  t.bad_field("A\t: b", Reason::NameSpace);
  t.bad_field("A B: c", Reason::NameSpace);
  t.bad_field("A B", Reason::NameSpace);
  t.bad_field("Content-Length : 2", Reason::NameSpace);
  t.bad_field("Transfer-Encoding : chunked", Reason::NameSpace);
  t.bad_field("A\xc3\xa9: b", Reason::NameByte);
  t.bad_field("A\x01: b", Reason::NameByte);
  t.bad_field("A\x7f: b", Reason::NameByte);
  t.bad_field("A\x0b: b", Reason::NameByte);
  t.bad_field("A(: b", Reason::NameByte);
  t.bad_field("A): b", Reason::NameByte);
  t.bad_field("A,: b", Reason::NameByte);
  t.bad_field("A/: b", Reason::NameByte);
  t.bad_field("A;: b", Reason::NameByte);
  t.bad_field("A<: b", Reason::NameByte);
  t.bad_field("A=: b", Reason::NameByte);
  t.bad_field("A>: b", Reason::NameByte);
  t.bad_field("A?: b", Reason::NameByte);
  t.bad_field("A@: b", Reason::NameByte);
  t.bad_field("A[: b", Reason::NameByte);
  t.bad_field("A\\: b", Reason::NameByte);
  t.bad_field("A]: b", Reason::NameByte);
  t.bad_field("A{: b", Reason::NameByte);
  t.bad_field("A}: b", Reason::NameByte);
  t.bad_field("\"A\": b", Reason::NameByte);
  t.bad_field("A\0: b"sv, Reason::Nul);
  t.bad_field("\0: b"sv, Reason::Nul);
  t.bad_field("A: \0"sv, Reason::Nul);
  t.bad_field("A: b\0c"sv, Reason::Nul);
  t.bad_field("A\r: b", Reason::BareCr);
  t.bad_field("A: b\rc", Reason::BareCr);
  t.bad_field("A: b\rB: c", Reason::BareCr);
  t.bad_field("A: b\r\r", Reason::BareCr);
  t.bad_field("A: \r", Reason::BareCr);
  t.bad_field("\rA: b", Reason::BareCr);
  t.bad_field("\r", Reason::BareCr);
  t.bad_field("A: b\x01", Reason::ControlByte);
  t.bad_field("A: b\x08", Reason::ControlByte);
  t.bad_field("A: b\x0b", Reason::ControlByte);
  t.bad_field("A: b\x0c", Reason::ControlByte);
  t.bad_field("A: \x1b[31mred", Reason::ControlByte);
  t.bad_field("A: b\x7f", Reason::ControlByte);
  t.bad_field("A: b\nB: c", Reason::BareLf);
  t.bad_field("A: b\n", Reason::BareLf);
  t.bad_field("\nA: b", Reason::BareLf);
  t.add({.name = "space before the first field",
         .bytes = "HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 0\r\n\r\n",
         .reason = Reason::LeadingSpace});
  t.add({.name = "tab before the first field",
         .bytes = "HTTP/1.1 200 OK\r\n\tContent-Length: 0\r\n\r\n",
         .reason = Reason::LeadingSpace});
  t.add({.name = "line of a space before the first field",
         .bytes = "HTTP/1.1 200 OK\r\n \r\nContent-Length: 0\r\n\r\n",
         .reason = Reason::LeadingSpace});
  t.add({.name = "empty line ends with LF alone",
         .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n",
         .reason = Reason::BareLf});
  t.add({.name = "empty line is CR CR LF",
         .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\r\n",
         .reason = Reason::BareCr});
}

inline void add_framings(Table& t) {
  const std::string chunked = "Transfer-Encoding: chunked";
  t.sized("Content-Length: 0", "", "Content-Length: 0\n");
  t.sized("Content-Length: 5", "hello", "Content-Length: 5\n");
  t.sized("content-length: 5", "hello", "content-length: 5\n");
  t.sized("CONTENT-LENGTH:5", "hello", "CONTENT-LENGTH: 5\n");
  t.sized("Content-Length: \t5\t ", "hello", "Content-Length: 5\n");
  t.sized("Content-Length: 05", "hello", "Content-Length: 05\n");
  t.sized("Content-Length: 00000000000000000000000000000005", "hello",
          "Content-Length: 00000000000000000000000000000005\n");
  t.sized("Content-Length: 000", "", "Content-Length: 000\n");
  t.sized("Content-Length: 5\r\nContent-Length: 5", "hello",
          "Content-Length: 5\nContent-Length: 5\n");
  t.sized("Content-Length: 5\r\nA: b\r\ncontent-length: 5\r\nContent-Length: 5", "hello",
          "Content-Length: 5\nA: b\ncontent-length: 5\nContent-Length: 5\n");
  t.sized("Content-Length: 7", "\r\n\r\n\0\x80\xff"sv, "Content-Length: 7\n");
  t.sized("Content-Length: 19", "HTTP/1.1 200 OK\r\n\r\n", "Content-Length: 19\n");
  t.bad_framing("Content-Length: 5\r\nContent-Length: 6", Reason::LengthConflict);
  t.bad_framing("Content-Length: 6\r\nContent-Length: 5", Reason::LengthConflict);
  t.bad_framing("Content-Length: 5\r\nContent-Length: 05", Reason::LengthConflict);
  t.bad_framing("Content-Length: 5\r\nContent-Length: 0", Reason::LengthConflict);
  t.bad_framing("Content-Length: 5\r\nA: b\r\nContent-Length: 50", Reason::LengthConflict);
  t.bad_framing("Content-Length: 5\r\nContent-Length:", Reason::LengthValue);
  t.bad_framing("Content-Length: 5\r\nContent-Length: x", Reason::LengthValue);
  t.bad_framing("Content-Length:", Reason::LengthValue);
  t.bad_framing("Content-Length: ", Reason::LengthValue);
  t.bad_framing("Content-Length: +5", Reason::LengthValue);
  t.bad_framing("Content-Length: -5", Reason::LengthValue);
  t.bad_framing("Content-Length: -1", Reason::LengthValue);
  t.bad_framing("Content-Length: -0", Reason::LengthValue);
  t.bad_framing("Content-Length: 0x5", Reason::LengthValue);
  t.bad_framing("Content-Length: 0x10", Reason::LengthValue);
  t.bad_framing("Content-Length: 5 5", Reason::LengthValue);
  t.bad_framing("Content-Length: 5,5", Reason::LengthValue);
  t.bad_framing("Content-Length: 5, 5", Reason::LengthValue);
  t.bad_framing("Content-Length: 5, 6", Reason::LengthValue);
  t.bad_framing("Content-Length: 5,", Reason::LengthValue);
  t.bad_framing("Content-Length: ,5", Reason::LengthValue);
  t.bad_framing("Content-Length: 5;", Reason::LengthValue);
  t.bad_framing("Content-Length: 5.0", Reason::LengthValue);
  t.bad_framing("Content-Length: 5e0", Reason::LengthValue);
  t.bad_framing("Content-Length: 5s", Reason::LengthValue);
  t.bad_framing("Content-Length: 42s", Reason::LengthValue);
  t.bad_framing("Content-Length: s5", Reason::LengthValue);
  t.bad_framing("Content-Length: a", Reason::LengthValue);
  t.bad_framing("Content-Length: \"5\"", Reason::LengthValue);
  t.bad_framing("Content-Length: 5\xc2\xa0", Reason::LengthValue);
  t.bad_framing("Content-Length: \xd9\xa5", Reason::LengthValue);
  t.bad_framing("Content-Length: 5_0", Reason::LengthValue);
  t.bad_framing("Content-Length: 9223372036854775808", Reason::LengthRange);
  t.bad_framing("Content-Length: 18446744073709551615", Reason::LengthRange);
  t.bad_framing("Content-Length: 18446744073709551616", Reason::LengthRange);
  t.bad_framing("Content-Length: 18446744073709551621", Reason::LengthRange);
  t.bad_framing("Content-Length: 99999999999999999999", Reason::LengthRange);
  t.bad_framing("Content-Length: 340282366920938463463374607431768211461", Reason::LengthRange);
  t.bad_framing("Content-Length: 9223372036854775807", Reason::EofInBody);
  t.bad_framing("Content-Length: 6", Reason::EofInBody);
  t.add({.name = "bytes after a sized body",
         .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!",
         .fields = "Content-Length: 5\n",
         .body = "hello",
         .extra = 1});
  t.add({.name = "a second response at once",
         .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
         .fields = "Content-Length: 5\n",
         .body = "hello",
         .extra = 19});
  t.add({.name = "CR LF after a sized body",
         .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\r\n",
         .fields = "Content-Length: 5\n",
         .body = "hello",
         .extra = 2});
  t.bad_framing("Content-Length: 5\r\n" + chunked, Reason::LengthAndCoding);
  t.bad_framing(chunked + "\r\nContent-Length: 5", Reason::LengthAndCoding);
  t.bad_framing(chunked + "\r\nContent-Length: 0", Reason::LengthAndCoding);
  t.bad_framing("content-length: 5\r\nA: b\r\ntransfer-encoding: CHUNKED", Reason::LengthAndCoding);
  t.bad_framing(chunked + "\r\nContent-Length: x", Reason::LengthValue);
  t.bad_framing("Transfer-Encoding:", Reason::Coding);
  t.bad_framing("Transfer-Encoding: identity", Reason::Coding);
  t.bad_framing("Transfer-Encoding: gzip", Reason::Coding);
  t.bad_framing("Transfer-Encoding: xchunked", Reason::Coding);
  t.bad_framing("Transfer-Encoding: chunkedx", Reason::Coding);
  t.bad_framing("Transfer-Encoding: chunke", Reason::Coding);
  t.bad_framing("Transfer-Encoding: chunked, identity", Reason::Coding);
  t.bad_framing("Transfer-Encoding: identity, chunked", Reason::Coding);
  t.bad_framing("Transfer-Encoding: gzip, chunked", Reason::Coding);
  t.bad_framing("Transfer-Encoding: chunked, gzip", Reason::Coding);
  t.bad_framing("Transfer-Encoding: chunked, chunked", Reason::Coding);
  t.bad_framing("Transfer-Encoding: chunked chunked", Reason::Coding);
  t.bad_framing("Transfer-Encoding: chunked,", Reason::Coding);
  t.bad_framing("Transfer-Encoding: ,chunked", Reason::Coding);
  t.bad_framing("Transfer-Encoding: chunked;q=1", Reason::Coding);
  t.bad_framing("Transfer-Encoding: \"chunked\"", Reason::Coding);
  t.bad_framing("Transfer-Encoding: 'chunked'", Reason::Coding);
  t.bad_framing("Transfer-Encoding: chunked\xc2\xa0", Reason::Coding);
  t.bad_framing(chunked + "\r\n" + chunked, Reason::Coding);
  t.bad_framing(chunked + "\r\nTransfer-Encoding: identity", Reason::Coding);
  t.bad_framing("Transfer-Encoding: gzip\r\n" + chunked, Reason::Coding);
  t.bad_framing("Content-Length: 5\r\nTransfer-Encoding: identity", Reason::Coding);
  t.bad_framing(
      "Transfer-Encoding: \x0b"
      "chunked",
      Reason::ControlByte);
  t.bad_framing("Transfer-Encoding: chunked\x0c", Reason::ControlByte);
  t.add({.name = "chunked in HTTP/1.0",
         .bytes = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         .reason = Reason::CodingHttp10});
  t.add({.name = "chunked in HTTP/1.0 with keep-alive",
         .bytes = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "0\r\n\r\n",
         .reason = Reason::CodingHttp10});
  t.add({.name = "chunked and a length in HTTP/1.0",
         .bytes = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
                  "\r\n",
         .reason = Reason::CodingHttp10});
  t.add({.name = "until the connection's end",
         .bytes = "HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello\r\n",
         .ends = true,
         .fields = "A: b\n",
         .body = "hello\r\n",
         .reusable = false});
  t.add({.name = "until the connection's end, empty",
         .bytes = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
         .ends = true,
         .fields = "A: b\n",
         .reusable = false});
  t.add({.name = "until the connection's end, though keep-alive is claimed",
         .bytes = "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello",
         .ends = true,
         .fields = "Connection: keep-alive\n",
         .body = "hello",
         .reusable = false});
  t.add({.name = "until the connection's end, HTTP/1.0",
         .bytes = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello",
         .ends = true,
         .fields = "Connection: keep-alive\n",
         .body = "hello",
         .reusable = false});
  t.add({.name = "what looks like chunks until the connection's end",
         .bytes = "HTTP/1.1 200 OK\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
         .ends = true,
         .body = "5\r\nhello\r\n0\r\n\r\n",
         .reusable = false});
}

inline void add_chunks(Table& t) {
  t.good_chunks("0\r\n\r\n", "");
  t.good_chunks("5\r\nhello\r\n0\r\n\r\n", "hello");
  t.good_chunks("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", "hello");
  t.good_chunks("a\r\n0123456789\r\n0\r\n\r\n", "0123456789");
  t.good_chunks("A\r\n0123456789\r\n0\r\n\r\n", "0123456789");
  t.good_chunks("0a\r\n0123456789\r\n00\r\n\r\n", "0123456789");
  t.good_chunks("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello");
  t.good_chunks("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n");
  t.good_chunks("3\r\n0\r\n\r\n0\r\n\r\n", "0\r\n");
  t.good_chunks("2\r\n\0\xff\r\n0\r\n\r\n"sv, "\0\xff"sv);
  t.good_chunks("5;a\r\nhello\r\n0\r\n\r\n", "hello");
  t.good_chunks("5;a=b\r\nhello\r\n0\r\n\r\n", "hello");
  t.good_chunks("5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n", "hello");
  t.good_chunks("5;a=b;c;d=\"\"\r\nhello\r\n0;last\r\n\r\n", "hello");
  t.good_chunks("5 ; a = b\r\nhello\r\n0\r\n\r\n", "hello");
  t.good_chunks("5\t;\ta\t=\t\"b\"\t;c\r\nhello\r\n0\r\n\r\n", "hello");
  t.good_chunks("0\r\nA: b\r\n\r\n", "", "A: b\n");
  t.good_chunks("5\r\nhello\r\n0\r\nA: b\r\nc:d\r\nA:\r\n\r\n", "hello", "A: b\nc: d\nA: \n");
  t.good_chunks("0\r\nSet-Cookie: a=b\r\nETag: \"x\"\r\nDigest: y\r\n\r\n", "",
                "Set-Cookie: a=b\nETag: \"x\"\nDigest: y\n");
  t.add({.name = "bytes after the last chunk",
         .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
         .fields = "Transfer-Encoding: chunked\n",
         .extra = 1});
  t.add({.name = "Transfer-Encoding in other letters",
         .bytes = "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING:\t ChUnKeD \t\r\n\r\n2\r\nok\r\n0\r\n\r\n",
         .fields = "TRANSFER-ENCODING: ChUnKeD\n",
         .body = "ok"});
  t.bad_chunks("\r\n", Reason::ChunkSize);
  t.bad_chunks("-1\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("+1\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("0x1\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("0X1\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks(" 1\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("\t1\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("1 \r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("1\t\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("1 2\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("g\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("1g\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("1h\r\n", Reason::ChunkSize);
  t.bad_chunks("1.0\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("1,\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("1_0\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks(";a\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("\"1\"\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("\xef\xbc\x91\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("\r\n1\r\nh\r\n0\r\n\r\n", Reason::ChunkSize);
  t.bad_chunks("hello\r\n", Reason::ChunkSize);
  t.bad_chunks("1\0\r\nh\r\n0\r\n\r\n"sv, Reason::Nul);
  t.bad_chunks("1\r\r\nh\r\n0\r\n\r\n", Reason::BareCr);
  t.bad_chunks("1\rh\r\n0\r\n\r\n", Reason::BareCr);
  t.bad_chunks("1\nh\r\n0\r\n\r\n", Reason::BareLf);
  t.bad_chunks("1\n", Reason::BareLf);
  t.bad_chunks("\n", Reason::BareLf);
  t.bad_chunks("1\r\nh\r\n0\n\r\n", Reason::BareLf);
  t.bad_chunks("1\r\nh\r\n0\r\n\n", Reason::BareLf);
  t.bad_chunks("00000000000000001\r\nh\r\n0\r\n\r\n", Reason::ChunkSizeRange);
  t.bad_chunks("10000000000000000\r\nh\r\n0\r\n\r\n", Reason::ChunkSizeRange);
  t.bad_chunks("fffffffffffffffff\r\nh\r\n0\r\n\r\n", Reason::ChunkSizeRange);
  t.bad_chunks("8000000000000000\r\nh\r\n0\r\n\r\n", Reason::ChunkSizeRange);
  t.bad_chunks("ffffffffffffffff\r\nh\r\n0\r\n\r\n", Reason::ChunkSizeRange);
  t.bad_chunks("00000000000000000\r\n\r\n", Reason::ChunkSizeRange);
  t.bad_chunks("1\r\nhello\r\n0\r\n\r\n", Reason::ChunkEnd);
  t.bad_chunks("1\r\nh\n0\r\n\r\n", Reason::ChunkEnd);
  t.bad_chunks("1\r\nh\r0\r\n\r\n", Reason::ChunkEnd);
  t.bad_chunks("1\r\nh0\r\n\r\n", Reason::ChunkEnd);
  t.bad_chunks("1\r\nh\r\r\n0\r\n\r\n", Reason::ChunkEnd);
  t.bad_chunks("1\r\nh\n\r0\r\n\r\n", Reason::ChunkEnd);
  t.bad_chunks("1\r\n\r\n0\r\n\r\n", Reason::ChunkEnd);
  t.bad_chunks("6\r\nhello\r\n0\r\n\r\n", Reason::ChunkEnd);
  t.bad_chunks("1;\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1; \r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;;\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a=\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;=b\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a \r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a b\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a=b c\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a=b=c\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a=\"b\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a=\"b\"c\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a=\"b\\\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a=\x01\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a\xff\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a=\"\x7f\"\r\nh\r\n0\r\n\r\n", Reason::ChunkExtension);
  t.bad_chunks("1;a\0b\r\nh\r\n0\r\n\r\n"sv, Reason::Nul);
  t.bad_chunks("1;a\rb\r\nh\r\n0\r\n\r\n", Reason::BareCr);
  t.bad_chunks("1;a=\"\r\"\r\nh\r\n0\r\n\r\n", Reason::BareCr);
  t.bad_chunks("1;a\nh\r\n0\r\n\r\n", Reason::BareLf);
  t.bad_trailer("Content-Length: 5", Reason::TrailerField);
  t.bad_trailer("content-length: 2", Reason::TrailerField);
  t.bad_trailer("Transfer-Encoding: chunked", Reason::TrailerField);
  t.bad_trailer("Connection: close", Reason::TrailerField);
  t.bad_trailer("Keep-Alive: timeout=5", Reason::TrailerField);
  t.bad_trailer("Host: example.org", Reason::TrailerField);
  t.bad_trailer("Trailer: x", Reason::TrailerField);
  t.bad_trailer("TE: trailers", Reason::TrailerField);
  t.bad_trailer("Upgrade: h2c", Reason::TrailerField);
  t.bad_trailer("A: b\r\nContent-Length: 5", Reason::TrailerField);
  t.bad_trailer(" A: b", Reason::LeadingSpace);
  t.bad_trailer("A: b\r\n c", Reason::ObsFold);
  t.bad_trailer("A", Reason::NoColon);
  t.bad_trailer(": b", Reason::EmptyName);
  t.bad_trailer("A : b", Reason::NameSpace);
  t.bad_trailer("A@: b", Reason::NameByte);
  t.bad_trailer("A: \0"sv, Reason::Nul);
  t.bad_trailer("A: b\rc", Reason::BareCr);
  t.bad_trailer("A: b\x01", Reason::ControlByte);
  t.bad_trailer("A: b\nB: c", Reason::BareLf);
  t.bad_trailer("HTTP/1.1 200 OK", Reason::NameByte);
}

inline void add_interim_responses(Table& t) {
  const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  const auto with = [&](std::string_view name, std::string_view before, std::string_view statuses) {
    t.add({.name = std::string(name),
           .bytes = std::string(before) + ok,
           .interim = std::string(statuses),
           .fields = "Content-Length: 2\n",
           .body = "ok"});
  };
  const auto refused = [&](std::string_view name, std::string_view before, Reason reason) {
    t.add({.name = std::string(name), .bytes = std::string(before) + ok, .reason = reason});
  };
  const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  std::string ten;
  for (int i = 0; i < 10; ++i)
    ten += go_on;
  with("100 first", go_on, "100");
  with("100 without a reason", "HTTP/1.1 100 \r\n\r\n", "100");
  with("102 first", "HTTP/1.1 102 Processing\r\n\r\n", "102");
  with("103 with fields", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n", "103");
  with("199 first", "HTTP/1.1 199 ?\r\n\r\n", "199");
  with("100 and 103", go_on + "HTTP/1.1 103 Early Hints\r\n\r\n", "100 103");
  with("ten of them", ten, "100 100 100 100 100 100 100 100 100 100");
  with("100 of HTTP/1.0", "HTTP/1.0 100 Continue\r\n\r\n", "100");
  refused("eleven of them", ten + go_on, Reason::InterimLimit);
  refused("101 after 100", go_on + "HTTP/1.1 101 Switching\r\n\r\n", Reason::Upgraded);
  refused("100 with a length", "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
          Reason::InterimFraming);
  refused("100 with a body", "HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nno",
          Reason::InterimFraming);
  refused("100 with chunks", "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          Reason::InterimFraming);
  refused("a byte after 100", go_on + "x", Reason::NotHttp);
  refused("an empty line after 100", go_on + "\r\n", Reason::NotHttp);
  refused("a bad field in 103", "HTTP/1.1 103 x\r\nA B: c\r\n\r\n", Reason::NameSpace);
  t.cut(go_on, Reason::EofAfterInterim);
  t.cut("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", Reason::EofAfterInterim);
  t.cut(go_on + "HTTP/1.1 20", Reason::EofInHead);
  t.cut(go_on + "H", Reason::EofInHead);
  t.cut(go_on + "HTTP/1.1 200 OK\r\n", Reason::EofInHead);
  t.cut("HTTP/1.1 100 Continue\r\n", Reason::EofInHead);
}

inline void add_bodies_by_status(Table& t) {
  t.bodiless(204, "", false, true);
  t.bodiless(204, "Content-Length: 0\n", false, true);
  t.bodiless(204, "Content-Length: 5\n", false, false);
  t.bodiless(204, "Transfer-Encoding: chunked\n", false, false);
  t.bodiless(204, "Connection: close\n", false, false);
  t.bodiless(204, "", false, true, "hello");
  t.bodiless(204, "Content-Length: 5\n", false, false, "hello");
  t.bodiless(204, "", true, true);
  t.bodiless(304, "", false, true);
  t.bodiless(304, "Content-Length: 5\n", false, true);
  t.bodiless(304, "Transfer-Encoding: chunked\n", false, true);
  t.bodiless(304, "ETag: \"x\"\n", false, true, "hello");
  t.bodiless(304, "Content-Length: 5\n", false, true, "hello");
  t.bodiless(304, "", true, true);
  t.bodiless(200, "", true, true);
  t.bodiless(200, "Content-Length: 0\n", true, true);
  t.bodiless(200, "Content-Length: 5\n", true, true);
  t.bodiless(200, "Content-Length: 9223372036854775807\n", true, true);
  t.bodiless(200, "Transfer-Encoding: chunked\n", true, true);
  t.bodiless(200, "Connection: close\n", true, false);
  t.bodiless(200, "Content-Length: 5\n", true, true, "hello");
  t.bodiless(200, "Transfer-Encoding: chunked\n", true, true, "0\r\n\r\n");
  t.bodiless(404, "Content-Length: 5\n", true, true);
  t.bodiless(500, "Content-Length: 5\n", true, true, "h");
  t.add({.name = "205 of length 0",
         .bytes = "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
         .status = 205,
         .fields = "Content-Length: 0\n"});
  t.add({.name = "205 of no chunk",
         .bytes = "HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         .status = 205,
         .fields = "Transfer-Encoding: chunked\n"});
  t.add({.name = "205 with a body: framed as any other",
         .bytes = "HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok",
         .status = 205,
         .fields = "Content-Length: 2\n",
         .body = "ok"});
  t.add({.name = "205 until the connection's end",
         .bytes = "HTTP/1.1 205 Reset Content\r\n\r\n",
         .ends = true,
         .status = 205,
         .reusable = false});
  t.add({.name = "HEAD with two lengths",
         .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
         .to_head = true,
         .reason = Reason::LengthConflict});
  t.add({.name = "HEAD with length and chunks",
         .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
         .to_head = true,
         .reason = Reason::LengthAndCoding});
  t.add({.name = "HEAD with a bad length",
         .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n",
         .to_head = true,
         .reason = Reason::LengthValue});
  t.add({.name = "HEAD after 100",
         .bytes = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
         .to_head = true,
         .interim = "100",
         .fields = "Content-Length: 5\n"});
  t.add({.name = "204 with two lengths",
         .bytes = "HTTP/1.1 204 x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
         .reason = Reason::LengthConflict});
  t.add({.name = "304 chunked in HTTP/1.0",
         .bytes = "HTTP/1.0 304 x\r\nTransfer-Encoding: chunked\r\n\r\n",
         .reason = Reason::CodingHttp10});
}

inline void add_persistences(Table& t) {
  t.persistence("1.1", "", true);
  t.persistence("1.1", "Connection: close\n", false);
  t.persistence("1.1", "connection: CLOSE\n", false);
  t.persistence("1.1", "Connection: keep-alive\n", true);
  t.persistence("1.1", "Connection: keep-alive, close\n", false);
  t.persistence("1.1", "Connection: close, keep-alive\n", false);
  t.persistence("1.1", "Connection: a, close ,b\n", false);
  t.persistence("1.1", "Connection: ,,close\n", false);
  t.persistence("1.1", "Connection: Upgrade\nConnection: close\n", false);
  t.persistence("1.1", "Connection: close\nConnection: keep-alive\n", false);
  t.persistence("1.1", "Connection: closed\n", true);
  t.persistence("1.1", "Connection: not-close\n", true);
  t.persistence("1.1", "Connection: \n", true);
  t.persistence("1.1", "Connection: ,\n", true);
  t.persistence("1.1", "Connection: close;x\n", false);
  t.persistence("1.1", "Connection: \"close\"\n", false);
  t.persistence("1.1", "Connection: keep alive\n", false);
  t.persistence("1.1", "Proxy-Connection: close\n", true);
  t.persistence("1.1", "Keep-Alive: timeout=5\n", true);
  t.persistence("1.1", "Keep-Alive: timeout=0\n", false);
  t.persistence("1.1", "Keep-Alive: timeout=5\nConnection: close\n", false);
  t.persistence("1.0", "", false);
  t.persistence("1.0", "Connection: keep-alive\n", true);
  t.persistence("1.0", "Connection: Keep-Alive\n", true);
  t.persistence("1.0", "Connection: a, keep-alive\n", true);
  t.persistence("1.0", "Connection: keep-alive, close\n", false);
  t.persistence("1.0", "Connection: keep-alive\nConnection: close\n", false);
  t.persistence("1.0", "Connection: close\n", false);
  t.persistence("1.0", "Connection: keepalive\n", false);
  t.persistence("1.0", "Keep-Alive: timeout=5\n", false);
  t.persistence("1.0", "Keep-Alive: timeout=5\nConnection: keep-alive\n", true);
  t.add({.name = "chunked and close",
         .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                  "2\r\nok\r\n0\r\n\r\n",
         .fields = "Transfer-Encoding: chunked\nConnection: close\n",
         .body = "ok",
         .reusable = false});
  t.add({.name = "bytes after a response with close",
         .bytes = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nokmore",
         .fields = "Connection: close\nContent-Length: 2\n",
         .body = "ok",
         .reusable = false,
         .extra = 4});
  t.add({.name = "close in an interim response",
         .bytes = "HTTP/1.1 103 x\r\nConnection: close\r\n\r\n"
                  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
         .interim = "103",
         .fields = "Content-Length: 2\n",
         .body = "ok",
         .reusable = false});
}

inline void add_ends(Table& t) {
  const std::string sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  t.cut("", Reason::NoResponse);
  t.cut("H", Reason::EofInHead);
  t.cut("HTTP/", Reason::EofInHead);
  t.cut("HTTP/1.1 200 OK", Reason::EofInHead);
  t.cut("HTTP/1.1 200 OK\r", Reason::EofInHead);
  t.cut("HTTP/1.1 200 OK\r\n", Reason::EofInHead);
  t.cut("HTTP/1.1 200 OK\r\nA", Reason::EofInHead);
  t.cut("HTTP/1.1 200 OK\r\nA: b\r\n", Reason::EofInHead);
  t.cut("HTTP/1.1 200 OK\r\nA: b\r\n\r", Reason::EofInHead);
  t.cut("HTTP/1.1 204 x\r\n\r", Reason::EofInHead);
  t.cut("HTTP/1.0 200 OK\r\n", Reason::EofInHead);
  t.cut("x", Reason::NotHttp);
  t.cut("HTTQ", Reason::NotHttp);
  t.cut(sized, Reason::EofInBody);
  t.cut(sized + "h", Reason::EofInBody);
  t.cut(sized + "hell", Reason::EofInBody);
  t.cut(chunked, Reason::EofInChunk);
  t.cut(chunked + "5", Reason::EofInChunk);
  t.cut(chunked + "5\r\n", Reason::EofInChunk);
  t.cut(chunked + "5\r\nhell", Reason::EofInChunk);
  t.cut(chunked + "5\r\nhello", Reason::EofInChunk);
  t.cut(chunked + "5\r\nhello\r", Reason::EofInChunk);
  t.cut(chunked + "5\r\nhello\r\n", Reason::EofInChunk);
  t.cut(chunked + "5\r\nhello\r\n0", Reason::EofInChunk);
  t.cut(chunked + "5\r\nhello\r\n0\r", Reason::EofInChunk);
  t.cut(chunked + "5\r\nhello\r\n0\r\n", Reason::EofInTrailers);
  t.cut(chunked + "0\r\n\r", Reason::EofInTrailers);
  t.cut(chunked + "0\r\nA: b\r\n", Reason::EofInTrailers);
  t.cut("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhell", Reason::EofInBody);
  t.add({.name = "the end right after a sized body",
         .bytes = sized + "hello",
         .ends = true,
         .fields = "Content-Length: 5\n",
         .body = "hello"});
  t.add({.name = "the end right after the last chunk",
         .bytes = chunked + "0\r\n\r\n",
         .ends = true,
         .fields = "Transfer-Encoding: chunked\n"});
  t.add({.name = "the end right after 204",
         .bytes = "HTTP/1.1 204 x\r\n\r\n",
         .ends = true,
         .status = 204});
}

// A response whose field lines are `count` of "a: " and a value of `size` bytes.
inline std::string many_fields(size_t count, size_t size) {
  std::string text = "HTTP/1.1 204 x\r\n";
  for (size_t i = 0; i < count; ++i)
    text += "a: " + std::string(size, 'v') + "\r\n";
  return text + "\r\n";
}
inline std::string expected_fields(size_t count, size_t size) {
  std::string text;
  for (size_t i = 0; i < count; ++i)
    text += "a: " + std::string(size, 'v') + "\n";
  return text;
}

// The default limits, each met and each passed by one.
inline void add_limits(Table& t) {
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const auto extension = [](size_t size) { return ";" + std::string(size - 1, 'e'); };
  const std::string hints = "HTTP/1.1 103 x\r\nA: " + std::string(9'999, 'v') + "\r\n\r\n";
  std::string six;
  for (int i = 0; i < 6; ++i)
    six += hints;
  t.add({.name = "status line of 8192 bytes",
         .bytes = "HTTP/1.1 204 " + std::string(8192 - 13, 'r') + "\r\n\r\n",
         .status = 204});
  t.add({.name = "status line of 8193 bytes",
         .bytes = "HTTP/1.1 204 " + std::string(8193 - 13, 'r') + "\r\n\r\n",
         .reason = Reason::StatusLineLimit});
  t.add({.name = "status line without an end",
         .bytes = "HTTP/1.1 204 " + std::string(9000, 'r'),
         .reason = Reason::StatusLineLimit});
  t.add({.name = "field line of 16384 bytes",
         .bytes = many_fields(1, 16'384 - 3),
         .status = 204,
         .fields = expected_fields(1, 16'384 - 3)});
  t.add({.name = "field line of 16385 bytes",
         .bytes = many_fields(1, 16'385 - 3),
         .reason = Reason::LineLimit});
  t.add({.name = "field line without an end",
         .bytes = "HTTP/1.1 204 x\r\nA: " + std::string(20'000, 'v'),
         .reason = Reason::LineLimit});
  t.add({.name = "field name without an end",
         .bytes = "HTTP/1.1 204 x\r\n" + std::string(20'000, 'n'),
         .reason = Reason::LineLimit});
  t.add({.name = "field line of white space without an end",
         .bytes = "HTTP/1.1 204 x\r\nA:" + std::string(20'000, ' '),
         .reason = Reason::LineLimit});
  t.add({.name = "256 field lines",
         .bytes = many_fields(256, 1),
         .status = 204,
         .fields = expected_fields(256, 1)});
  t.add({.name = "257 field lines", .bytes = many_fields(257, 1), .reason = Reason::FieldLimit});
  t.add({.name = "header of 65536 bytes",
         .bytes = many_fields(8, 8191),
         .status = 204,
         .fields = expected_fields(8, 8191)});
  t.add({.name = "header of 65544 bytes",
         .bytes = many_fields(8, 8192),
         .reason = Reason::HeaderLimit});
  t.add({.name = "interim headers of 60000 bytes, and 5536 of the last",
         .bytes = six + many_fields(1, 5535),
         .status = 204,
         .interim = "103 103 103 103 103 103",
         .fields = expected_fields(1, 5535)});
  t.add({.name = "interim headers of 60000 bytes, and 5537 of the last",
         .bytes = six + many_fields(1, 5536),
         .reason = Reason::HeaderLimit});
  t.add({.name = "interim headers of 70000 bytes",
         .bytes = six + hints,
         .reason = Reason::HeaderLimit});
  t.add({.name = "256 trailer lines",
         .bytes = chunked + "0" + many_fields(256, 1).substr(14),
         .fields = "Transfer-Encoding: chunked\n",
         .trailers = expected_fields(256, 1)});
  t.add({.name = "257 trailer lines",
         .bytes = chunked + "0" + many_fields(257, 1).substr(14),
         .reason = Reason::FieldLimit});
  t.add({.name = "trailer line of 16385 bytes",
         .bytes = chunked + "0" + many_fields(1, 16'385 - 3).substr(14),
         .reason = Reason::LineLimit});
  t.add({.name = "trailers of 65544 bytes",
         .bytes = chunked + "0" + many_fields(8, 8192).substr(14),
         .reason = Reason::HeaderLimit});
  t.add({.name = "chunk extension of 4096 bytes",
         .bytes = chunked + "2" + extension(4096) + "\r\nok\r\n0\r\n\r\n",
         .fields = "Transfer-Encoding: chunked\n",
         .body = "ok"});
  t.add({.name = "chunk extension of 4097 bytes",
         .bytes = chunked + "2" + extension(4097) + "\r\nok\r\n0\r\n\r\n",
         .reason = Reason::ChunkExtensionLimit});
  t.add({.name = "chunk extensions of 4096 bytes in two chunks",
         .bytes = chunked + "1" + extension(2000) + "\r\nh\r\n1" + extension(2096) +
                  "\r\ni\r\n0\r\n\r\n",
         .fields = "Transfer-Encoding: chunked\n",
         .body = "hi"});
  t.add({.name = "chunk extensions of 4097 bytes in two chunks",
         .bytes = chunked + "1" + extension(2000) + "\r\nh\r\n1" + extension(2097) +
                  "\r\ni\r\n0\r\n\r\n",
         .reason = Reason::ChunkExtensionLimit});
  t.add({.name = "chunk extension without an end",
         .bytes = chunked + "1" + extension(5000),
         .reason = Reason::ChunkExtensionLimit});
  t.add({.name = "chunk size without an end",
         .bytes = chunked + std::string(5000, '1'),
         .reason = Reason::ChunkSizeRange});
  t.add({.name = "body of 100000 bytes",
         .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + std::string(100'000, 'b'),
         .fields = "Content-Length: 100000\n",
         .body = std::string(100'000, 'b')});
  t.add({.name = "chunk of 100000 bytes",
         .bytes = chunked + "186a0\r\n" + std::string(100'000, 'b') + "\r\n0\r\n\r\n",
         .fields = "Transfer-Encoding: chunked\n",
         .body = std::string(100'000, 'b')});
}

inline std::vector<Case> response_table() {
  Table t;
  add_status_lines(t);
  add_field_lines(t);
  add_framings(t);
  add_chunks(t);
  add_interim_responses(t);
  add_bodies_by_status(t);
  add_persistences(t);
  add_ends(t);
  add_limits(t);
  return std::move(t.rows);
}

}  // namespace conpool::http1::table
