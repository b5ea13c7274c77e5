// A stream in memory and frames made by hand, for tests that are the server.
#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/stream.h"

namespace conpool::h2::test {

// The stream's far end.
struct Wire {
  std::string sent;        // by the session; the test takes it
  size_t room = SIZE_MAX;  // what writev accepts in all from now on
  bool starved = false;    // writev accepted less than it was offered
  size_t writes = 0;
  bool reading = false;
  bool closed = false;
  bool aborted = false;
  bool idle = false;
  Failure write_failure{.status = Status::OK};
  io::Peek seen = io::Peek::Quiet;
  io::StreamHandler* handler = nullptr;
};

class WireStream final : public io::Stream {
 public:
  explicit WireStream(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}

  void set_handler(io::StreamHandler* handler) override { wire_->handler = handler; }
  void read(bool on) override { wire_->reading = on; }
  Result<size_t> writev(std::span<const iovec> parts) override {
    if (wire_->closed) return fail(Status::E_CLOSED);
    if (wire_->write_failure.status != Status::OK) return fail(wire_->write_failure);
    size_t accepted = 0;
    ++wire_->writes;
    for (const iovec& part : parts) {
      const size_t size = std::min(part.iov_len, wire_->room);
      wire_->sent.append(static_cast<const char*>(part.iov_base), size);
      if (wire_->room != SIZE_MAX) wire_->room -= size;
      accepted += size;
      if (size < part.iov_len) {
        wire_->starved = true;
        break;
      }
    }
    return accepted;
  }
  Result<bool> flush() override { return true; }
  Result<void> shutdown_write() override { return {}; }
  io::Peek peek() override { return wire_->seen; }
  Result<int> lend(bool) override { return fail(Status::E_UNSUPPORTED); }
  io::Peek reclaim() override { return io::Peek::Failed; }
  void idle(bool on) override { wire_->idle = on; }
  io::StreamFacts facts() const override { return {}; }
  void close(bool abort) override {
    wire_->closed = true;
    wire_->aborted = wire_->aborted || abort;
  }
  bool closed() const override { return wire_->closed; }

 private:
  std::shared_ptr<Wire> wire_;
};

// --- frames -----------------------------------------------------------------------------------

inline std::string be32(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

inline std::string frame(uint8_t type, uint8_t flags, int32_t stream, std::string_view payload) {
  std::string bytes = be32(static_cast<uint32_t>(payload.size())).substr(1);
  bytes += static_cast<char>(type);
  bytes += static_cast<char>(flags);
  bytes += be32(static_cast<uint32_t>(stream));
  bytes += payload;
  return bytes;
}

inline std::string setting(uint16_t id, uint32_t value) {
  return std::string{static_cast<char>(id >> 8), static_cast<char>(id)} + be32(value);
}
inline std::string settings(std::string_view payload = {}) {
  return frame(NGHTTP2_SETTINGS, 0, 0, payload);
}
inline std::string stream_limit(uint32_t limit) {
  return settings(setting(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limit));
}
inline std::string settings_ack() {
  return frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, {});
}
inline std::string ping(std::string_view opaque, bool ack = false) {
  return frame(NGHTTP2_PING, ack ? NGHTTP2_FLAG_ACK : 0, 0, opaque);
}
inline std::string rst(int32_t stream, uint32_t code) {
  return frame(NGHTTP2_RST_STREAM, 0, stream, be32(code));
}
inline std::string goaway(int32_t last, uint32_t code, std::string_view text = {}) {
  return frame(NGHTTP2_GOAWAY, 0, 0,
               be32(static_cast<uint32_t>(last)) + be32(code) + std::string(text));
}
inline std::string window_update(int32_t stream, uint32_t size) {
  return frame(NGHTTP2_WINDOW_UPDATE, 0, stream, be32(size));
}
inline std::string data(int32_t stream, std::string_view bytes, bool end) {
  return frame(NGHTTP2_DATA, end ? NGHTTP2_FLAG_END_STREAM : 0, stream, bytes);
}
// HPACK: a literal without indexing and with a new name (RFC 7541 section 6.2.2); sizes < 16 MiB.
inline std::string hpack_size(size_t size) {
  if (size < 127) return {static_cast<char>(size)};
  std::string text(1, '\x7f');
  for (size -= 127; size >= 128; size >>= 7)
    text += static_cast<char>(size % 128 + 128);
  return text + static_cast<char>(size);
}
inline std::string field(std::string_view name, std::string_view value) {
  return std::string(1, '\0') + hpack_size(name.size()) + std::string(name) +
         hpack_size(value.size()) + std::string(value);
}
inline std::string headers(int32_t stream, std::string_view block, bool end) {
  return frame(NGHTTP2_HEADERS,
               static_cast<uint8_t>(NGHTTP2_FLAG_END_HEADERS | (end ? NGHTTP2_FLAG_END_STREAM : 0)),
               stream, block);
}
inline std::string response(int32_t stream, std::string_view status, bool end) {
  return headers(stream, field(":status", status), end);
}

struct Frame {
  uint8_t type = 0;
  uint8_t flags = 0;
  int32_t stream = 0;
  std::string payload;
  uint32_t code(size_t at = 0) const {
    uint32_t value = 0;
    for (size_t i = at; i < at + 4; ++i)
      value = value << 8 | static_cast<uint8_t>(payload.at(i));
    return value;
  }
};

// The frames in what a client sent, its preface aside.
inline std::vector<Frame> frames_of(std::string_view bytes) {
  constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  if (bytes.starts_with(kPreface)) bytes.remove_prefix(kPreface.size());
  std::vector<Frame> frames;
  const auto byte = [&bytes](size_t at) { return static_cast<uint8_t>(bytes[at]); };
  while (bytes.size() >= 9) {
    const size_t size =
        static_cast<size_t>(byte(0)) << 16 | static_cast<size_t>(byte(1)) << 8 | byte(2);
    if (bytes.size() < 9 + size) break;
    const auto stream =
        static_cast<int32_t>((byte(5) & 0x7fU) << 24 | byte(6) << 16U | byte(7) << 8U | byte(8));
    frames.push_back({byte(3), byte(4), stream, std::string(bytes.substr(9, size))});
    bytes.remove_prefix(9 + size);
  }
  return frames;
}

}  // namespace conpool::h2::test
