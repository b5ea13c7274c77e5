// The parser's states, line by line.
#include "http1/decoder.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstring>

#include "base/text.h"
#include "http1/bytes.h"

namespace conpool::http1 {
namespace {

constexpr std::string_view kHttp = "HTTP/";
constexpr uint64_t kLengthMost = INT64_MAX;
// Of memory that one response's size suggests for the next: a large one is an exception.
constexpr size_t kKeptBytes = 4096;
constexpr Nanos kIdleLimitMost = 365 * 24 * kHour;

struct ReasonRow {
  std::string_view name;
  Status status;
  std::string_view text;
  std::string_view rule;
};

constexpr ReasonRow kReasons[] = {
#define REASON(name, status, text, rule) {#name, Status::status, text, rule},
#include "http1/reasons.def"
#undef REASON
};

const ReasonRow& row(Reason reason) {
  return kReasons[static_cast<size_t>(reason)];
}

// Fields that frame, route or steer the message itself and come too late in a trailer section.
bool barred_from_trailers(std::string_view name) {
  static constexpr std::array<std::string_view, 8> kNames = {
      "content-length", "transfer-encoding", "connection", "keep-alive",
      "host",           "trailer",           "te",         "upgrade"};
  return std::any_of(kNames.begin(), kNames.end(),
                     [name](std::string_view barred) { return session::same_name(name, barred); });
}

}  // namespace

std::string_view reason_name(Reason reason) {
  return row(reason).name;
}
std::string_view reason_text(Reason reason) {
  return row(reason).text;
}
std::string_view reason_rule(Reason reason) {
  return row(reason).rule;
}
Status reason_status(Reason reason) {
  return row(reason).status;
}

DecoderLimits DecoderLimits::of(const Values& values) {
  return {.header_bytes = static_cast<size_t>(values.response_max_header),
          .line = static_cast<size_t>(values.response_max_line),
          .fields = static_cast<size_t>(values.response_max_fields),
          .interim = static_cast<size_t>(values.response_max_interim)};
}

void Decoder::begin(bool head_only) {
  state_ = State::StatusLine;
  head_only_ = head_only;
  touched_ = has_head_ = false;
  if (partial_.capacity() > kKeptBytes) partial_ = {};
  partial_.clear();
  partial_used_ = false;
  head_ = {};
  trailers_.clear();
  body_ = {};
  header_bytes_ = interim_ = extension_bytes_ = 0;
  length_.reset();
  chunked_ = close_ = keep_alive_ = never_reusable_ = false;
  idle_limit_.reset();
  reason_ = Reason::None;
  quoted_.clear();
}

void Decoder::transition(State next) {
  assert(state_ != State::Complete && state_ != State::Failed);
  state_ = next;
}

Decoder::Event Decoder::refuse(Reason reason, std::string_view quoted) {
  transition(State::Failed);
  reason_ = reason;
  quoted_ = quoted.empty() ? std::string() : in_quotes(quoted);
  return Event::Error;
}

Failure Decoder::failure() const {
  const ReasonRow& why = row(reason_);
  std::string detail(why.text);
  if (!quoted_.empty()) detail += ": " + quoted_;
  return {.status = why.status, .detail = std::move(detail)};
}

bool Decoder::reusable() const {
  if (close_ || never_reusable_) return false;
  return head_.version == session::HttpVersion::Http11 || keep_alive_;
}

session::ResponseHead Decoder::take_head() {
  reserve_lines_ = std::clamp<size_t>(head_.fields.size(), 8, 64);
  reserve_bytes_ = std::clamp<size_t>(head_.fields.bytes(), 256, kKeptBytes);
  session::ResponseHead head;
  head.version = head_.version;
  head.status = head_.status;
  head.fields = std::move(head_.fields);
  head_.fields = {};
  return head;
}

session::Fields Decoder::take_trailers() {
  session::Fields trailers = std::move(trailers_);
  trailers_ = {};
  return trailers;
}

// --- the machine ---------------------------------------------------------------------------------

Decoder::Event Decoder::next(std::span<const uint8_t>& input) {
  if (!input.empty()) touched_ = true;
  for (;;) {
    switch (state_) {
      case State::StatusLine:
      case State::FieldLines:
      case State::ChunkSize:
      case State::TrailerLines: {
        std::string_view line;
        const Line got = take_line(input, line);
        if (got == Line::Partial) return Event::NeedMore;
        if (got == Line::Refused) return Event::Error;
        if (const std::optional<Event> event = on_line(line)) return *event;
        break;
      }
      case State::Sized:
        if (body_left_ == 0) {
          transition(State::Ending);
          break;
        }
        return take_body(input);
      case State::UntilClose:
        body_left_ = input.size();
        return take_body(input);
      case State::ChunkData:
        if (body_left_ == 0) {
          transition(State::ChunkCr);
          break;
        }
        return take_body(input);
      case State::ChunkCr:
      case State::ChunkLf:
        if (const std::optional<Event> event = take_chunk_end(input)) return *event;
        break;
      case State::Ending:
        transition(State::Complete);
        return Event::Done;
      case State::Complete:
        return Event::Done;
      case State::Failed:
        return Event::Error;
    }
  }
}

std::optional<Decoder::Event> Decoder::on_line(std::string_view line) {
  switch (state_) {
    case State::StatusLine:
      return status_line(line);
    case State::FieldLines:
      return field_line(line);
    case State::ChunkSize:
      return chunk_line(line);
    default:
      return trailer_line(line);
  }
}

Decoder::Event Decoder::end() {
  if (state_ != State::UntilClose) return cut();
  transition(State::Complete);
  return Event::Done;
}

Decoder::Event Decoder::cut() {
  switch (state_) {
    case State::StatusLine:
      if (!touched_) return refuse(Reason::NoResponse);
      return refuse(partial_.empty() || partial_used_ ? Reason::EofAfterInterim
                                                      : Reason::EofInHead);
    case State::FieldLines:
      return refuse(Reason::EofInHead);
    case State::Sized:
    case State::UntilClose:
      return refuse(Reason::EofInBody);
    case State::ChunkSize:
    case State::ChunkData:
    case State::ChunkCr:
    case State::ChunkLf:
      return refuse(Reason::EofInChunk);
    case State::TrailerLines:
      return refuse(Reason::EofInTrailers);
    case State::Ending:
      transition(State::Complete);
      return Event::Done;
    case State::Complete:
      return Event::Done;
    case State::Failed:
      break;
  }
  return Event::Error;
}

// --- lines ---------------------------------------------------------------------------------------

// A line that lies in the input as a whole is judged there; else its pieces are joined first.
Decoder::Line Decoder::take_line(std::span<const uint8_t>& input, std::string_view& line) {
  if (partial_used_) {
    partial_.clear();
    partial_used_ = false;
  }
  if (input.empty()) return Line::Partial;
  const void* found = std::memchr(input.data(), '\n', input.size());
  const size_t size =
      found == nullptr ? input.size()
                       : static_cast<size_t>(static_cast<const uint8_t*>(found) - input.data()) + 1;
  std::string_view raw = as_text(input.first(size));
  input = input.subspan(size);
  if (!partial_.empty() || found == nullptr) {
    partial_ += raw;
    raw = partial_;
    partial_used_ = found != nullptr;
  }
  if (!line_fits(raw, found != nullptr)) return Line::Refused;
  if (found == nullptr) return Line::Partial;
  if (raw.size() < 2 || raw[raw.size() - 2] != '\r') {
    refuse(Reason::BareLf, raw.substr(0, raw.size() - 1));
    return Line::Refused;
  }
  line = raw.substr(0, raw.size() - 2);
  return Line::Whole;
}

// Sizes count without CR LF: what has no LF yet has at most its CR.
bool Decoder::line_fits(std::string_view raw, bool whole) {
  if (state_ == State::ChunkSize) return chunk_line_fits(raw, whole);
  size_t most = limits_.line;
  Reason reason = Reason::LineLimit;
  if (state_ == State::StatusLine) {
    // A peer that speaks something else is told from the first bytes: it may never send a line.
    const size_t seen = std::min(raw.size(), kHttp.size());
    if (raw.substr(0, seen) != kHttp.substr(0, seen)) {
      refuse(Reason::NotHttp, raw.substr(0, 32));
      return false;
    }
    most = std::min(most, DecoderLimits::kStatusLine);
    reason = Reason::StatusLineLimit;
  }
  if (raw.size() <= most + (whole ? 2 : 1)) return true;
  refuse(reason, raw);
  return false;
}

bool Decoder::chunk_line_fits(std::string_view raw, bool whole) {
  size_t digits = 0;
  while (digits < raw.size() && is_hex_digit(raw[digits]))
    if (++digits > DecoderLimits::kChunkDigits) {
      refuse(Reason::ChunkSizeRange, raw);
      return false;
    }
  const size_t allowed =
      digits + (DecoderLimits::kChunkExtensions - extension_bytes_) + (whole ? 2 : 1);
  if (raw.size() <= allowed) return true;
  refuse(Reason::ChunkExtensionLimit);
  return false;
}

// Refuses a line for a byte that may not stand in it.
bool Decoder::bad_byte(char c, Reason otherwise, std::string_view line) {
  Reason reason = otherwise;
  if (c == '\r') reason = Reason::BareCr;
  if (c == '\0') reason = Reason::Nul;
  refuse(reason, line);
  return false;
}

std::optional<Decoder::Event> Decoder::status_line(std::string_view line) {
  const std::string_view rest = line.substr(kHttp.size());
  const size_t space = rest.find(' ');
  const std::string_view version = rest.substr(0, space);
  if (version == "1.1") {
    head_.version = session::HttpVersion::Http11;
  } else if (version == "1.0") {
    head_.version = session::HttpVersion::Http10;
  } else {
    return refuse(Reason::Version, line);
  }
  if (space == std::string_view::npos) return refuse(Reason::StatusLine, line);
  const std::string_view after = rest.substr(space + 1);
  const size_t end = after.find(' ');
  const std::string_view code = after.substr(0, end);
  if (code.size() != 3 || !std::all_of(code.begin(), code.end(), is_digit) || code[0] == '0') {
    return refuse(Reason::StatusCode, line);
  }
  if (end == std::string_view::npos) return refuse(Reason::StatusLine, line);
  for (const char c : after.substr(end + 1)) {
    if (!is_value_byte(c)) {
      bad_byte(c, Reason::ControlByte, line);
      return Event::Error;
    }
  }
  const auto status =
      static_cast<uint16_t>((code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0'));
  if (status == 101) return refuse(Reason::Upgraded);
  if (status < 200 && interim_ == limits_.interim) return refuse(Reason::InterimLimit);
  head_.status = status;
  head_.fields.clear();
  transition(State::FieldLines);
  return std::nullopt;
}

bool Decoder::split_field(std::string_view line, session::Fields& into, session::Field& field) {
  if (line.front() == ' ' || line.front() == '\t') {
    refuse(into.empty() ? Reason::LeadingSpace : Reason::ObsFold, line);
    return false;
  }
  size_t colon = 0;
  while (colon < line.size() && is_token_byte(line[colon]))
    ++colon;
  if (colon == line.size()) {
    refuse(Reason::NoColon, line);
    return false;
  }
  if (const char c = line[colon]; c != ':') {
    return bad_byte(c, c == ' ' || c == '\t' ? Reason::NameSpace : Reason::NameByte, line);
  }
  if (colon == 0) {
    refuse(Reason::EmptyName, line);
    return false;
  }
  size_t begin = colon + 1;
  size_t end = line.size();
  while (begin < end && is_space(line[begin]))
    ++begin;
  while (end > begin && is_space(line[end - 1]))
    --end;
  for (size_t i = begin; i < end; ++i)
    if (!is_value_byte(line[i])) return bad_byte(line[i], Reason::ControlByte, line);
  field = {line.substr(0, colon), line.substr(begin, end - begin)};
  header_bytes_ += field.name.size() + field.value.size();
  if (header_bytes_ > limits_.header_bytes) {
    refuse(Reason::HeaderLimit);
    return false;
  }
  if (into.size() == limits_.fields) {
    refuse(Reason::FieldLimit);
    return false;
  }
  if (into.empty()) into.reserve(reserve_lines_, reserve_bytes_);
  into.add(field.name, field.value);
  return true;
}

std::optional<Decoder::Event> Decoder::field_line(std::string_view line) {
  if (line.empty()) return end_of_head();
  session::Field field;
  if (!split_field(line, head_.fields, field) || !interpret(field)) return Event::Error;
  return std::nullopt;
}

std::optional<Decoder::Event> Decoder::trailer_line(std::string_view line) {
  if (line.empty()) {
    transition(State::Ending);
    if (trailers_.empty()) return std::nullopt;
    return Event::Trailers;
  }
  session::Field field;
  if (!split_field(line, trailers_, field)) return Event::Error;
  if (barred_from_trailers(field.name)) return refuse(Reason::TrailerField, field.name);
  return std::nullopt;
}

// --- fields that frame the message or speak of the connection ------------------------------------

bool Decoder::interpret(const session::Field& field) {
  switch (field.name.size()) {
    case 10:
      if (session::same_name(field.name, "connection")) connection(field.value);
      if (session::same_name(field.name, "keep-alive")) keep_alive(field.value);
      return true;
    case 14:
      return !session::same_name(field.name, "content-length") || content_length(field.value);
    case 17:
      if (!session::same_name(field.name, "transfer-encoding")) return true;
      if (chunked_ || !session::same_name(field.value, "chunked")) {
        refuse(Reason::Coding, field.value);
        return false;
      }
      chunked_ = true;
      return true;
    default:
      return true;
  }
}

// Lines that repeat the same digits count as one; lists never do (RFC 9110 §8.6 allows either).
bool Decoder::content_length(std::string_view value) {
  if (value.empty() || !std::all_of(value.begin(), value.end(), is_digit)) {
    refuse(Reason::LengthValue, value);
    return false;
  }
  uint64_t length = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), length);
  if (parsed.ec != std::errc() || length > kLengthMost) {
    refuse(Reason::LengthRange, value);
    return false;
  }
  if (length_ && (*length_ != length || length_digits_ != value.size())) {
    refuse(Reason::LengthConflict, value);
    return false;
  }
  length_ = length;
  length_digits_ = value.size();
  return true;
}

// What cannot be understood speaks against using the connection again, never against the response.
void Decoder::connection(std::string_view value) {
  for_each_item(value, [this](std::string_view item) {
    if (session::same_name(item, "close")) close_ = true;
    if (session::same_name(item, "keep-alive")) keep_alive_ = true;
    if (!std::all_of(item.begin(), item.end(), is_token_byte)) never_reusable_ = true;
  });
}

void Decoder::keep_alive(std::string_view value) {
  for_each_item(value, [this](std::string_view item) {
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos || !session::same_name(item.substr(0, equals), "timeout"))
      return;
    const std::string_view digits = item.substr(equals + 1);
    int64_t seconds = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
    if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() || seconds < 0)
      return;
    if (seconds == 0) never_reusable_ = true;
    const Nanos limit = std::min(seconds, kIdleLimitMost / kSecond) * kSecond;
    idle_limit_ = std::min(limit, idle_limit_.value_or(limit));
  });
}

std::optional<Decoder::Event> Decoder::end_of_head() {
  if (head_.status < 200) {
    if (length_ || chunked_) return refuse(Reason::InterimFraming);
    ++interim_;
    transition(State::StatusLine);
    return Event::Interim;
  }
  if (chunked_ && head_.version == session::HttpVersion::Http10)
    return refuse(Reason::CodingHttp10);
  if (chunked_ && length_) return refuse(Reason::LengthAndCoding);
  has_head_ = true;
  return choose_framing();
}

// RFC 9112 §6.3.
Decoder::Event Decoder::choose_framing() {
  if (head_only_ || head_.status == 204 || head_.status == 304) {
    // A 204 that announces content: nobody knows whether it will come.
    if (head_.status == 204 && (chunked_ || length_.value_or(0) > 0)) never_reusable_ = true;
    transition(State::Ending);
  } else if (chunked_) {
    transition(State::ChunkSize);
  } else if (length_) {
    body_left_ = *length_;
    transition(State::Sized);
  } else {
    never_reusable_ = true;
    transition(State::UntilClose);
  }
  return Event::Head;
}

// --- bodies --------------------------------------------------------------------------------------

Decoder::Event Decoder::take_body(std::span<const uint8_t>& input) {
  if (input.empty()) return Event::NeedMore;
  const auto size = static_cast<size_t>(std::min<uint64_t>(body_left_, input.size()));
  body_ = input.first(size);
  input = input.subspan(size);
  body_left_ -= size;
  return Event::Body;
}

std::optional<Decoder::Event> Decoder::chunk_line(std::string_view line) {
  uint64_t size = 0;
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), size, 16);
  if (parsed.ec == std::errc::invalid_argument) return refuse(Reason::ChunkSize, line);
  if (parsed.ec != std::errc() || size > kLengthMost) return refuse(Reason::ChunkSizeRange, line);
  const auto digits = static_cast<size_t>(parsed.ptr - line.data());
  const std::string_view rest = line.substr(digits);
  if (!rest.empty() && !chunk_extensions(rest)) return Event::Error;
  extension_bytes_ += rest.size();
  body_left_ = size;
  transition(size == 0 ? State::TrailerLines : State::ChunkData);
  return std::nullopt;
}

// *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ), and nothing after it.
bool Decoder::chunk_extensions(std::string_view text) {
  size_t at = 0;
  const auto skip = [&text, &at](auto is_of_kind) {
    const size_t from = at;
    while (at < text.size() && is_of_kind(text[at]))
      ++at;
    return at > from;
  };
  const auto take = [&text, &at](char c) {
    const bool there = at < text.size() && text[at] == c;
    if (there) ++at;
    return there;
  };
  const auto refused = [this, &text, &at](Reason reason) {
    return bad_byte(at < text.size() ? text[at] : ' ', reason, text);
  };
  while (at < text.size()) {
    const bool first = at == 0;
    skip(is_space);
    if (!take(';')) return refused(first ? Reason::ChunkSize : Reason::ChunkExtension);
    skip(is_space);
    if (!skip(is_token_byte)) return refused(Reason::ChunkExtension);
    const size_t after_name = at;
    skip(is_space);
    if (!take('=')) {
      at = after_name;
      continue;
    }
    skip(is_space);
    if (take('"')) {
      while (at < text.size() && text[at] != '"') {
        if (text[at] == '\\') ++at;
        if (at < text.size() && !is_value_byte(text[at])) return refused(Reason::ChunkExtension);
        ++at;
      }
      if (!take('"')) return refused(Reason::ChunkExtension);
    } else if (!skip(is_token_byte)) {
      return refused(Reason::ChunkExtension);
    }
  }
  return true;
}

std::optional<Decoder::Event> Decoder::take_chunk_end(std::span<const uint8_t>& input) {
  if (input.empty()) return Event::NeedMore;
  const bool cr = state_ == State::ChunkCr;
  if (input.front() != (cr ? '\r' : '\n')) return refuse(Reason::ChunkEnd);
  input = input.subspan(1);
  transition(cr ? State::ChunkLf : State::ChunkSize);
  return std::nullopt;
}

}  // namespace conpool::http1
