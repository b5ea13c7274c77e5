// What a row of the table of raw responses says, and short forms for rows that differ in one line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/text.h"
#include "http1/decoder.h"

namespace conpool::http1::table {

// One raw response and its verdict. With a reason it is refused, whatever else is expected of it;
// without, it is accepted with exactly this.
struct Case {
  std::string name;
  std::string bytes;
  bool to_head = false;  // it answers HEAD
  bool ends = false;     // the connection ends in good order after the bytes

  Reason reason = Reason::None;

  uint16_t status = 200;
  std::string interim = {};  // "100 103"
  std::string fields = {};   // "name: value\n" each, of the final response
  std::string body = {};
  std::string trailers = {};
  bool reusable = true;  // the connection may carry another exchange
  size_t extra = 0;      // bytes after the response's end
};

inline std::string crlf(std::string_view lines) {
  std::string text;
  for (const char c : lines) {
    if (c == '\n') text += '\r';
    text += c;
  }
  return text;
}

// --- refused rows ----------------------------------------------------------------------------

// A head of this status line alone.
inline Case bad_status(std::string line, Reason reason) {
  return {.name = "status line " + in_quotes(line, 40),
          .bytes = line + "\r\nContent-Length: 2\r\n\r\nok",
          .reason = reason};
}
// A good response but for this field line.
inline Case bad_field(std::string line, Reason reason) {
  return {.name = "field line " + in_quotes(line, 40),
          .bytes = "HTTP/1.1 200 OK\r\nServer: x\r\n" + line + "\r\nContent-Length: 2\r\n\r\nok",
          .reason = reason};
}
// A response whose framing these lines say, with "hello" for its body.
inline Case bad_framing(std::string lines, Reason reason) {
  return {.name = "framing " + in_quotes(lines, 60),
          .bytes = "HTTP/1.1 200 OK\r\n" + lines + "\r\n\r\nhello",
          .ends = true,
          .reason = reason};
}
// A chunked response with this body.
inline Case bad_chunks(std::string body, Reason reason) {
  return {.name = "chunks " + in_quotes(body, 40),
          .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body,
          .reason = reason};
}
// A chunked response whose trailer section has this line.
inline Case bad_trailer(std::string line, Reason reason) {
  return {.name = "trailer " + in_quotes(line, 40),
          .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + line +
                   "\r\n\r\n",
          .reason = reason};
}
// Bytes after which the connection ends too early.
inline Case cut(std::string bytes, Reason reason) {
  return {.name = "cut after " + in_quotes(bytes, 60),
          .bytes = std::move(bytes),
          .ends = true,
          .reason = reason};
}

// --- accepted rows ---------------------------------------------------------------------------

inline Case good_status(std::string line, uint16_t status) {
  return {.name = "status line " + in_quotes(line, 40),
          .bytes = line + "\r\nContent-Length: 2\r\n\r\nok",
          .status = status,
          .fields = "Content-Length: 2\n",
          .body = "ok"};
}
// A good response with this line, read as this name and value.
inline Case good_field(std::string line, std::string name, std::string value) {
  return {.name = "field line " + in_quotes(line, 40),
          .bytes = "HTTP/1.1 200 OK\r\n" + line + "\r\nContent-Length: 2\r\n\r\nok",
          .fields = name + ": " + value + "\nContent-Length: 2\n",
          .body = "ok"};
}
inline Case good_chunks(std::string chunks, std::string body, std::string trailers = {}) {
  return {.name = "chunks " + in_quotes(chunks, 40),
          .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
          .fields = "Transfer-Encoding: chunked\n",
          .body = std::move(body),
          .trailers = std::move(trailers)};
}
// What these lines (each "name: value\n") say about using the connection again.
inline Case persistence(std::string version, std::string lines, bool reusable) {
  return {.name = "persistence of HTTP/" + version + " " + in_quotes(lines, 60),
          .bytes = "HTTP/" + version + " 200 OK\r\n" + crlf(lines) + "Content-Length: 2\r\n\r\nok",
          .fields = lines + "Content-Length: 2\n",
          .body = "ok",
          .reusable = reusable};
}
// A response without a body by its status or method.
inline Case bodiless(uint16_t status, std::string lines, bool to_head, bool reusable,
                     std::string after = {}) {
  return {.name = std::string("bodiless ") + (to_head ? "HEAD " : "GET ") + std::to_string(status) +
                  " " + in_quotes(lines + "|" + after, 60),
          .bytes = "HTTP/1.1 " + std::to_string(status) + " x\r\n" + crlf(lines) + "\r\n" + after,
          .to_head = to_head,
          .status = status,
          .fields = std::move(lines),
          .reusable = reusable,
          .extra = after.size()};
}

}  // namespace conpool::http1::table
