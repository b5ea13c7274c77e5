// The strict parser of HTTP/1.1 responses: bytes in any pieces in, one event at a time out.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/settings.h"
#include "session/http.h"

namespace conpool::http1 {

enum class Reason : uint8_t {
#define REASON(name, status, text, rule) name,
#include "http1/reasons.def"
#undef REASON
};

std::string_view reason_name(Reason reason);  // "LengthConflict"
std::string_view reason_text(Reason reason);
std::string_view reason_rule(Reason reason);  // "RFC 9112 section 6.3"
Status reason_status(Reason reason);

struct DecoderLimits {
  size_t header_bytes = 64 * 1024;  // names and values of one response: interim ones, header and
                                    // trailer together
  size_t line = 16 * 1024;          // a field line without its CR LF
  size_t fields = 256;              // lines of one section
  size_t interim = 10;              // responses below 200 before the final one

  static constexpr size_t kStatusLine = 8 * 1024;   // without its CR LF; `line` when that is less
  static constexpr size_t kChunkExtensions = 4096;  // of one response together
  static constexpr size_t kChunkDigits = 16;

  static DecoderLimits of(const Values& values);
};

// Vocabulary: a response is any number of interim responses, a head, a body, perhaps trailers.
//
// Lifecycle: begin() → next() until it needs more bytes, with each piece that arrives → Done or
// Error. After Done the rest of the input belongs to nobody. After begin() all starts afresh.
//
// The verdict does not depend on how the bytes are cut: lines are judged when they are whole; what
// is judged earlier (a limit, the first five bytes) is judged the same in a whole line.
class Decoder {
 public:
  enum class Event : uint8_t {
    NeedMore,  // the input is used up
    Interim,   // take_head()
    Head,      // take_head()
    Body,      // body()
    Trailers,  // take_trailers()
    Done,      // the response is complete
    Error,     // failure()
  };

  explicit Decoder(const DecoderLimits& limits) : limits_(limits) {}

  // `head_only`: the answer to HEAD, which has no body whatever its fields say.
  void begin(bool head_only);
  // Takes bytes from the front of `input`, up to the next event. A body's view lies in the input.
  Event next(std::span<const uint8_t>& input);
  // The peer ended the connection in good order: Done or Error.
  Event end();
  // The same, whatever the body is: the connection broke.
  Event cut();

  session::ResponseHead take_head();
  session::Fields take_trailers();
  std::span<const uint8_t> body() const { return body_; }

  bool untouched() const { return !touched_; }  // not a byte of the response came
  bool has_head() const { return has_head_; }   // the final one
  // Whether the connection may carry another exchange. Known when Done.
  bool reusable() const;
  // Keep-Alive: timeout=
  std::optional<Nanos> idle_limit() const { return idle_limit_; }

  Reason reason() const { return reason_; }
  Failure failure() const;

 private:
  enum class State : uint8_t {
    StatusLine,
    FieldLines,
    Sized,       // body_left_ bytes to come
    UntilClose,  // the connection's end is the body's
    ChunkSize,
    ChunkData,  // body_left_ bytes of the chunk to come
    ChunkCr,
    ChunkLf,
    TrailerLines,
    Ending,  // Done is due
    Complete,
    Failed,
  };
  enum class Line : uint8_t { Whole, Partial, Refused };

  void transition(State next);
  Line take_line(std::span<const uint8_t>& input, std::string_view& line);
  bool line_fits(std::string_view raw, bool whole);
  bool chunk_line_fits(std::string_view raw, bool whole);
  std::optional<Event> on_line(std::string_view line);
  std::optional<Event> status_line(std::string_view line);
  std::optional<Event> field_line(std::string_view line);
  std::optional<Event> end_of_head();
  std::optional<Event> chunk_line(std::string_view line);
  std::optional<Event> trailer_line(std::string_view line);
  std::optional<Event> take_chunk_end(std::span<const uint8_t>& input);
  Event take_body(std::span<const uint8_t>& input);
  Event choose_framing();
  // Splits and stores a line. False: refused.
  bool split_field(std::string_view line, session::Fields& into, session::Field& field);
  bool interpret(const session::Field& field);
  bool content_length(std::string_view value);
  void connection(std::string_view value);
  void keep_alive(std::string_view value);
  bool chunk_extensions(std::string_view text);
  bool bad_byte(char c, Reason otherwise, std::string_view line);
  Event refuse(Reason reason, std::string_view quoted = {});

  const DecoderLimits limits_;
  State state_ = State::Complete;
  bool head_only_ = false;
  bool touched_ = false;
  bool has_head_ = false;

  std::string partial_;  // the beginning of a line whose end has not come
  bool partial_used_ = false;

  session::ResponseHead head_;
  session::Fields trailers_;
  std::span<const uint8_t> body_;
  size_t reserve_lines_ = 8;  // as the last response had
  size_t reserve_bytes_ = 256;
  size_t header_bytes_ = 0;
  size_t interim_ = 0;
  size_t extension_bytes_ = 0;

  std::optional<uint64_t> length_;
  size_t length_digits_ = 0;
  bool chunked_ = false;
  bool close_ = false;
  bool keep_alive_ = false;
  bool never_reusable_ = false;
  std::optional<Nanos> idle_limit_;
  uint64_t body_left_ = 0;

  Reason reason_ = Reason::None;
  std::string quoted_;
};

}  // namespace conpool::http1
