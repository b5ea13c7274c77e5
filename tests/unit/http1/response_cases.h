// What a row of the table of raw responses says, and short forms for rows that differ in one line.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "http1/decoder.h"

namespace conpool::http1::table {

// One raw response and its verdict. With a reason it is refused, whatever else is expected of it;
// without, it is accepted with exactly this.
struct Case {
  std::string name = {};
  std::string bytes = {};
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

// Collects rows, each one statement: a list of so many of them takes compilers minutes.
struct Table {
  std::vector<Case> rows;

  void add(Case row) { rows.push_back(std::move(row)); }

  // --- refused rows --------------------------------------------------------------------------
  // A head of this status line alone.
  void bad_status(std::string_view line, Reason reason) {
    refuse("status line ", line, {line, "\r\nContent-Length: 2\r\n\r\nok"}, reason);
  }
  // A good response but for this field line.
  void bad_field(std::string_view line, Reason reason) {
    refuse("field line ", line,
           {"HTTP/1.1 200 OK\r\nServer: x\r\n", line, "\r\nContent-Length: 2\r\n\r\nok"}, reason);
  }
  // A response whose framing these lines say, with "hello" for its body.
  void bad_framing(std::string_view lines, Reason reason) {
    refuse("framing ", lines, {"HTTP/1.1 200 OK\r\n", lines, "\r\n\r\nhello"}, reason);
    rows.back().ends = true;
  }
  // A chunked response with this body.
  void bad_chunks(std::string_view body, Reason reason) {
    refuse("chunks ", body, {kChunked, body}, reason);
  }
  // A chunked response whose trailer section has this line.
  void bad_trailer(std::string_view line, Reason reason) {
    refuse("trailer ", line, {kChunked, "2\r\nok\r\n0\r\n", line, "\r\n\r\n"}, reason);
  }
  // Bytes after which the connection ends too early.
  void cut(std::string_view bytes, Reason reason) {
    refuse("cut after ", bytes, {bytes}, reason);
    rows.back().ends = true;
  }

  // --- accepted rows -------------------------------------------------------------------------
  void good_status(std::string_view line, uint16_t status) {
    accept("status line ", line, {line, "\r\nContent-Length: 2\r\n\r\nok"}, "Content-Length: 2\n",
           "ok");
    rows.back().status = status;
  }
  // A good response with this line, read as this name and value.
  void good_field(std::string_view line, std::string_view name, std::string_view value) {
    accept("field line ", line, {"HTTP/1.1 200 OK\r\n", line, "\r\nContent-Length: 2\r\n\r\nok"},
           join({name, ": ", value, "\nContent-Length: 2\n"}), "ok");
  }
  // A body of the length that these lines say, and the fields they are.
  void sized(std::string_view lines, std::string_view body, std::string_view fields) {
    accept("length ", lines, {"HTTP/1.1 200 OK\r\n", lines, "\r\n\r\n", body}, fields, body);
  }
  void good_chunks(std::string_view chunks, std::string_view body, std::string_view trailers = {}) {
    accept("chunks ", chunks, {kChunked, chunks}, "Transfer-Encoding: chunked\n", body);
    rows.back().trailers = trailers;
  }
  // What these lines (each "name: value\n") say about using the connection again.
  void persistence(std::string_view version, std::string_view lines, bool reusable) {
    accept(join({"persistence of HTTP/", version, " "}), lines,
           {"HTTP/", version, " 200 OK\r\n", crlf(lines), "Content-Length: 2\r\n\r\nok"},
           join({lines, "Content-Length: 2\n"}), "ok");
    rows.back().reusable = reusable;
  }
  // A response without a body by its status or method.
  void bodiless(uint16_t status, std::string_view lines, bool to_head, bool reusable,
                std::string_view after = {}) {
    const std::string code = std::to_string(status);
    accept(join({"bodiless ", to_head ? "HEAD " : "GET ", code, " "}), join({lines, "|", after}),
           {"HTTP/1.1 ", code, " x\r\n", crlf(lines), "\r\n", after}, lines, {});
    Case& row = rows.back();
    row.status = status;
    row.to_head = to_head;
    row.reusable = reusable;
    row.extra = after.size();
  }

 private:
  using Parts = std::initializer_list<std::string_view>;
  static constexpr std::string_view kChunked =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

  static std::string join(Parts parts) {
    std::string text;
    for (const std::string_view part : parts)
      text += part;
    return text;
  }
  void refuse(std::string_view kind, std::string_view text, Parts bytes, Reason reason) {
    Case row;
    row.name = join({kind, in_quotes(text, 60)});
    row.bytes = join(bytes);
    row.reason = reason;
    add(std::move(row));
  }
  void accept(std::string_view kind, std::string_view text, Parts bytes, std::string_view fields,
              std::string_view body) {
    Case row;
    row.name = join({kind, in_quotes(text, 60)});
    row.bytes = join(bytes);
    row.fields = fields;
    row.body = body;
    add(std::move(row));
  }
};

}  // namespace conpool::http1::table
