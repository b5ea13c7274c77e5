// The reader of requests.
#include "origin/http1_reader.h"

#include <algorithm>

#include "base/text.h"

namespace conpool::origin {
namespace {

constexpr size_t kLengthDigits = 18;
constexpr size_t kChunkDigits = 15;

bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return is_letter(c) || is_digit(c) || kMarks.find(c) != std::string_view::npos;
  });
}

bool is_visible(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool is_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), to_lower);
  return out;
}

std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  return text;
}

// Whether a comma-separated list has this member.
bool lists(std::string_view list, std::string_view member) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (lower(without_blanks(list.substr(0, comma))) == member) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace

Http1Reader::Event Http1Reader::bad(std::string problem) {
  (void)wrong(std::move(problem));
  return Event::Bad;
}

bool Http1Reader::wrong(std::string problem) {
  state_ = State::Bad;
  problem_ = std::move(problem);
  return false;
}

// True when `line_` holds a whole line, without its end.
bool Http1Reader::take_line(std::string_view& input) {
  if (line_complete_) {
    line_.clear();
    line_complete_ = false;
  }
  const size_t newline = input.find('\n');
  const size_t size = newline == std::string_view::npos ? input.size() : newline + 1;
  line_.append(input.substr(0, size));
  input.remove_prefix(size);
  head_bytes_ += size;
  if (line_.size() > kLineBytes) return wrong("a line longer than 16 KiB");
  if (head_bytes_ > kHeadBytes) return wrong("a head longer than 128 KiB");
  if (newline == std::string_view::npos) return false;
  if (!line_.ends_with("\r\n")) return wrong("a line that ends with LF alone");
  line_.resize(line_.size() - 2);
  if (line_.find('\r') != std::string::npos) return wrong("a CR inside a line");
  line_complete_ = true;
  return true;
}

Http1Reader::Event Http1Reader::take_body(std::string_view& input, State after) {
  body_ = input.substr(0, std::min<uint64_t>(left_, input.size()));
  input.remove_prefix(body_.size());
  left_ -= body_.size();
  if (left_ == 0) state_ = after;
  return Event::Body;
}

Http1Reader::Event Http1Reader::next(std::string_view& input) {
  for (;;) {
    switch (state_) {
      case State::Bad:
        return Event::Bad;
      case State::Complete:
        state_ = State::RequestLine;
        line_.clear();
        line_complete_ = false;
        return Event::End;
      case State::Sized:
        if (input.empty()) return Event::More;
        return take_body(input, State::Complete);
      case State::ChunkData:
        if (input.empty()) return Event::More;
        return take_body(input, State::ChunkEnd);
      default:
        break;
    }
    if (input.empty()) return Event::More;
    if (!take_line(input)) return state_ == State::Bad ? Event::Bad : Event::More;
    switch (state_) {
      case State::RequestLine:
        head_ = {};
        trailers_.clear();
        head_bytes_ = 0;
        if (!request_line()) return Event::Bad;
        state_ = State::Fields;
        break;
      case State::Fields:
        if (line_.empty()) return judge_head() ? Event::Head : Event::Bad;
        if (!field_line(head_.fields)) return Event::Bad;
        break;
      case State::ChunkSize:
        if (!chunk_size()) return Event::Bad;
        break;
      case State::ChunkEnd:
        if (!line_.empty()) return bad("a chunk that is longer than its size");
        state_ = State::ChunkSize;
        break;
      default:  // Trailers
        if (line_.empty()) {
          state_ = State::Complete;
        } else if (!field_line(trailers_)) {
          return Event::Bad;
        }
        break;
    }
  }
}

bool Http1Reader::request_line() {
  const std::string_view line = line_;
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last)
    return wrong("no request line: " + in_quotes(line));
  head_.method = line.substr(0, first);
  head_.target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(head_.method)) return wrong("no method: " + in_quotes(line));
  if (!is_visible(head_.target)) return wrong("no target: " + in_quotes(line));
  if (version != "HTTP/1.1" && version != "HTTP/1.0")
    return wrong("no HTTP/1.1: " + in_quotes(line));
  head_.http10 = version == "HTTP/1.0";
  return true;
}

bool Http1Reader::field_line(HttpFields& fields) {
  const std::string_view line = line_;
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
    return wrong("no field: " + in_quotes(line));
  const std::string_view value = without_blanks(line.substr(colon + 1));
  if (!is_value(value)) return wrong("control characters in a field: " + in_quotes(line));
  if (fields.size() == kFields) return wrong("more than 256 fields");
  fields.emplace_back(lower(line.substr(0, colon)), value);
  return true;
}

bool Http1Reader::judge_head() {
  size_t hosts = 0;
  for (const auto& [name, value] : head_.fields) {
    if (name == "host") {
      ++hosts;
      head_.host = value;
    } else if (name == "connection") {
      head_.close = head_.close || lists(value, "close");
    } else if (name == "expect") {
      if (lower(value) != "100-continue") return wrong("an expectation: " + in_quotes(value));
      head_.expect_continue = true;
    }
  }
  if (head_.http10) head_.close = true;
  if (hosts > 1 || (hosts == 0 && !head_.http10)) return wrong("not one Host field");
  return judge_framing();
}

// RFC 9112 §6.3, without its tolerance.
bool Http1Reader::judge_framing() {
  for (const auto& [name, value] : head_.fields) {
    if (name == "transfer-encoding") {
      if (head_.chunked || lower(value) != "chunked" || head_.http10)
        return wrong("a transfer coding: " + in_quotes(value));
      head_.chunked = true;
    } else if (name == "content-length") {
      const bool digits = !value.empty() && value.size() <= kLengthDigits &&
                          std::all_of(value.begin(), value.end(), is_digit);
      if (head_.length || !digits) return wrong("a length: " + in_quotes(value));
      head_.length = std::stoull(value);
    }
  }
  if (head_.chunked && head_.length) return wrong("a length beside a transfer coding");
  left_ = head_.length.value_or(0);
  state_ = head_.chunked ? State::ChunkSize : left_ > 0 ? State::Sized : State::Complete;
  return true;
}

bool Http1Reader::chunk_size() {
  head_bytes_ = 0;
  const bool digits = !line_.empty() && line_.size() <= kChunkDigits &&
                      std::all_of(line_.begin(), line_.end(), is_hex_digit);
  if (!digits) return wrong("a chunk size: " + in_quotes(line_));
  left_ = std::stoull(line_, nullptr, 16);
  state_ = left_ > 0 ? State::ChunkData : State::Trailers;
  return true;
}

}  // namespace conpool::origin
