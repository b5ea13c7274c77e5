// Fuzz target: the decoder of HTTP/1.1 responses. The input's first byte chooses the circumstances,
// the second one how the rest is cut into pieces. However it is cut, the verdict is the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/bytes.h"
#include "http1/decoder.h"

namespace {

using namespace conpool;         // NOLINT: a program of one file
using namespace conpool::http1;  // NOLINT
using Event = Decoder::Event;

void require(bool holds) {
  if (!holds) std::abort();
}

constexpr uint8_t kToHead = 1;
constexpr uint8_t kSmallLimits = 2;
constexpr uint8_t kBreaks = 4;  // the connection breaks at the end; else it ends in good order

DecoderLimits limits_of(uint8_t circumstances) {
  if ((circumstances & kSmallLimits) == 0) return {};
  return {.header_bytes = 64, .line = 48, .fields = 4, .interim = 1};
}

class Reading {
 public:
  explicit Reading(uint8_t circumstances)
      : limits_(limits_of(circumstances)), decoder_(limits_), breaks_(circumstances & kBreaks) {
    decoder_.begin((circumstances & kToHead) != 0);
  }

  void feed(std::span<const uint8_t> piece) {
    std::span<const uint8_t> input = piece;
    while (!over_) {
      const std::span<const uint8_t> before = input;
      const Event event = decoder_.next(input);
      require(input.size() <= before.size());
      require(input.data() + input.size() == before.data() + before.size());
      if (event == Event::NeedMore) {
        require(input.empty());
        break;
      }
      take(event, before, input);
    }
    taken_ += piece.size() - input.size();
  }

  // What the bytes meant, as text to compare.
  std::string finish() {
    if (!over_) {
      const Event event = breaks_ ? decoder_.cut() : decoder_.end();
      require(event == Event::Done || event == Event::Error);
      take(event, {}, {});
    }
    require(over_);
    // It stays so, and takes nothing more.
    const std::string_view more = "HTTP/1.1 200 OK\r\n\r\n";
    std::span<const uint8_t> input = as_bytes(more);
    require(decoder_.next(input) ==
            (decoder_.reason() == Reason::None ? Event::Done : Event::Error));
    require(input.size() == more.size());
    if (decoder_.reason() == Reason::None) text_ += " taken " + std::to_string(taken_);
    return text_;
  }

 private:
  void take(Event event, std::span<const uint8_t> before, std::span<const uint8_t> after) {
    switch (event) {
      case Event::NeedMore:
        require(false);
        break;
      case Event::Interim:
        require(!headed_ && ++interim_ <= limits_.interim);
        note_head(" interim ");
        break;
      case Event::Head:
        require(!headed_);
        headed_ = true;
        note_head(" head ");
        break;
      case Event::Body: {
        const std::span<const uint8_t> body = decoder_.body();
        require(headed_ && !body.empty() && !trailed_);
        require(body.data() >= before.data());
        require(body.data() + body.size() <= after.data());
        body_ += as_text(body);
        break;
      }
      case Event::Trailers: {
        require(headed_ && !trailed_);
        trailed_ = true;
        const session::Fields trailers = decoder_.take_trailers();
        require(!trailers.empty());
        text_ += " trailers ";
        note_fields(trailers);
        break;
      }
      case Event::Done:
        over_ = true;
        require(headed_ && decoder_.has_head() && !decoder_.untouched());
        require(decoder_.reason() == Reason::None);
        text_ += " body " + body_ + (decoder_.reusable() ? " reusable" : "");
        if (const auto limit = decoder_.idle_limit()) {
          require(*limit >= 0);
          text_ += " idle " + std::to_string(*limit);
        }
        break;
      case Event::Error:
        over_ = true;
        require(decoder_.reason() != Reason::None);
        require(decoder_.failure().status == reason_status(decoder_.reason()));
        require(status_class(static_cast<int32_t>(decoder_.failure().status)) == StatusClass::HTTP);
        text_ += " body " + body_ + " " + std::string(reason_name(decoder_.reason()));
        break;
    }
  }

  void note_head(const char* what) {
    const session::ResponseHead head = decoder_.take_head();
    require(head.status >= 100 && head.status <= 999 && head.status != 101);
    require((head.status < 200) == (std::string_view(what) == " interim "));
    text_ += what + std::to_string(head.status) + " ";
    note_fields(head.fields);
  }
  void note_fields(const session::Fields& fields) {
    require(fields.size() <= limits_.fields);
    header_bytes_ += fields.bytes();
    require(header_bytes_ <= limits_.header_bytes);
    for (size_t i = 0; i < fields.size(); ++i) {
      const session::Field field = fields[i];
      require(!field.name.empty());
      require(field.name.find_first_of(std::string_view("\r\n\0 \t:", 6)) ==
              std::string_view::npos);
      require(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
      text_.append(field.name).append(":").append(field.value).append("|");
    }
  }

  const DecoderLimits limits_;
  Decoder decoder_;
  const bool breaks_;
  bool over_ = false;
  bool headed_ = false;
  bool trailed_ = false;
  size_t interim_ = 0;
  size_t header_bytes_ = 0;
  size_t taken_ = 0;
  std::string body_;
  std::string text_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::span<const uint8_t> bytes(data + 2, size - 2);

  Reading whole(data[0]);
  whole.feed(bytes);

  Reading pieces(data[0]);
  uint32_t state = data[1] + 1u;
  std::span<const uint8_t> rest = bytes;
  while (!rest.empty()) {
    state = state * 1664525u + 1013904223u + rest.front();
    const size_t piece = std::min<size_t>(rest.size(), data[1] == 0 ? 1 : 1 + (state >> 16) % 40);
    pieces.feed(rest.first(piece));
    rest = rest.subspan(piece);
  }
  require(whole.finish() == pieces.finish());
  return 0;
}
