// Request heads and chunk framing.
#include "http1/encode.h"

#include <array>
#include <charconv>
#include <string_view>

namespace conpool::http1 {
namespace {

void append_number(std::string* out, uint64_t number, int base) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, base);
  out->append(digits.data(), end.ptr);
}

void append_field(std::string* out, std::string_view name, std::string_view value) {
  out->append(name).append(": ").append(value).append("\r\n");
}

// Methods whose request means something by its content: without any, they say so (RFC 9110 §8.6).
bool means_content(std::string_view method) {
  return method == "POST" || method == "PUT" || method == "PATCH";
}

void append_framing(std::string* out, const session::RequestHead& head,
                    std::optional<uint64_t> body_size) {
  if (!is_chunked(head, body_size)) {
    out->append("Content-Length: ");
    append_number(out, *body_size, 10);
    out->append("\r\n");
    return;
  }
  append_field(out, "Transfer-Encoding", "chunked");
  if (head.trailers.empty()) return;
  out->append("Trailer: ");
  for (size_t i = 0; i < head.trailers.size(); ++i) {
    if (i > 0) out->append(", ");
    out->append(head.trailers[i].name);
  }
  out->append("\r\n");
}

}  // namespace

std::string encode_head(const session::RequestHead& head, std::optional<uint64_t> body_size,
                        bool has_body) {
  std::string out;
  out.reserve(head.method.size() + head.target.size() + head.authority.size() +
              head.fields.bytes() + 4 * head.fields.size() + 128);
  out.append(head.method).append(" ").append(head.target).append(" HTTP/1.1\r\n");
  append_field(&out, "Host", head.authority);  // first, as RFC 9110 §7.2 advises
  for (size_t i = 0; i < head.fields.size(); ++i) {
    const session::Field field = head.fields[i];
    append_field(&out, field.name, field.value);
  }
  // What TE says holds for this connection alone (RFC 9110 §10.1.4).
  if (head.fields.find("te")) append_field(&out, "Connection", "TE");
  if (has_body) {
    append_framing(&out, head, body_size);
  } else if (means_content(head.method)) {
    append_field(&out, "Content-Length", "0");
  }
  if (expects_continue(head, body_size, has_body)) append_field(&out, "Expect", "100-continue");
  out.append("\r\n");
  return out;
}

void append_chunk_line(std::string* out, uint64_t size) {
  append_number(out, size, 16);
  out->append("\r\n");
}

void append_last_chunk(std::string* out, const session::Fields& trailers) {
  out->append("0\r\n");
  for (size_t i = 0; i < trailers.size(); ++i) {
    const session::Field field = trailers[i];
    append_field(out, field.name, field.value);
  }
  out->append("\r\n");
}

}  // namespace conpool::http1
