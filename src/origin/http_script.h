// What a scripted HTTP server does: per connection, per request, and what it notes of both.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "origin/acceptor.h"

namespace conpool::origin {

enum class HttpProtocol : uint8_t { Http1, Http2 };

using HttpFields = std::vector<std::pair<std::string, std::string>>;

// The value of the first line of that name, upper and lower case alike; "" when there is none.
std::string field_of(const HttpFields& fields, std::string_view name);

// FNV-1a of 64 bits, goes on from `hash`.
inline constexpr uint64_t kHashStart = 0xcbf29ce484222325ULL;
uint64_t hash_of(std::string_view bytes, uint64_t hash = kHashStart);

// The bytes of a pattern body: (offset * 31 + seed) & 0xff.
std::string pattern(uint64_t offset, size_t size, uint8_t seed = 0);

// One request as the server saw it. Stays in the log while the server is asked for it.
struct HttpRequest {
  std::string id;  // x-request-id; may be empty
  std::string method;
  std::string target;
  std::string authority;  // Host, :authority
  HttpFields fields;      // lower-case names; without pseudo fields
  HttpFields trailers;
  uint64_t body_size = 0;
  uint64_t body_hash = kHashStart;
  HttpProtocol protocol = HttpProtocol::Http1;
  uint64_t connection = 0;
  int32_t stream = 0;              // HTTP/2 only
  uint64_t ordinal = 0;            // among the server's requests
  uint64_t on_its_connection = 0;  // from 0
  Time time = 0;                   // of its head
  bool complete = false;           // all of it came
  bool answered = false;           // all of the response was handed to the connection
  bool refused = false;            // the client was told that it is not processed
  bool ended = false;              // by a response, a reset or the connection's end
};

struct HttpInterim {
  uint16_t status = 103;
  HttpFields fields = {};
  Nanos delay = 0;  // after what came before it
};

enum class HttpFraming : uint8_t {
  Sized,    // Content-Length
  Chunked,  // HTTP/2: without a Content-Length
  Close,    // until the connection ends; HTTP/2: as Chunked
};

enum class HttpBody : uint8_t { Text, Pattern, Echo };

enum class HttpFault : uint8_t {
  None,
  Close,        // FIN
  Reset,        // RST
  ResetStream,  // RST_STREAM; HTTP/1.1: as Reset
  Silence,      // nothing more of this response, ever
};

// What one request gets.
struct HttpAnswer {
  static constexpr int64_t kBeforeHead = -1;

  uint16_t status = 200;
  HttpFields fields;  // after those about framing and connection, which the server makes
  HttpBody body = HttpBody::Text;
  std::string text;
  uint64_t pattern_size = 0;
  uint8_t pattern_seed = 0;
  HttpFraming framing = HttpFraming::Sized;
  size_t piece = 16 * 1024;  // bytes of one chunk, or at most of one DATA frame
  HttpFields trailers;       // with HttpFraming::Chunked

  bool early = false;         // begin when the request's head has come; an echo always does
  bool send_continue = true;  // 100 when the request expects it
  std::vector<HttpInterim> interim;
  Nanos head_delay = 0;
  Nanos piece_delay = 0;         // between pieces
  bool keep_alive = true;        // HTTP/1.1: false closes after the response, and says so
  Nanos keep_alive_timeout = 0;  // HTTP/1.1: "Keep-Alive: timeout=", whole seconds

  HttpFault fault = HttpFault::None;
  int64_t fault_at = kBeforeHead;  // or after so many bytes of the response's body
  uint32_t h2_error = 2;           // of ResetStream; 7 and 13 tell that it was not processed

  std::string raw;          // HTTP/1.1: these bytes in place of all that
  std::string unsolicited;  // HTTP/1.1: bytes that follow the response unasked
  Nanos unsolicited_after = 0;
};

// How HTTP/2 begins.
enum class H2Opening : uint8_t {
  Normal,
  DieBeforeSettings,  // the connection ends when the client's first bytes came
  Http1Bytes,         // an HTTP/1.1 response comes, and the end
  Silence,            // reads, and says nothing
};

struct H2Settings {
  std::optional<uint32_t> max_concurrent;
  std::optional<uint32_t> initial_window;
  std::optional<uint32_t> max_frame_size;
  std::optional<uint32_t> header_table_size;
  std::optional<uint32_t> max_header_list;
};

struct H2SettingsChange {
  uint64_t after_requests = 1;
  Nanos delay = 0;
  H2Settings settings;
};

struct H2Goaway {
  static constexpr int32_t kEvery = 0x7fffffff;

  uint64_t after_requests = 1;  // 0: right after the first SETTINGS
  Nanos delay = 0;
  std::optional<int32_t> last_id;  // none: of the newest stream that came
  uint32_t error = 0;
  std::string debug;
  bool close = true;  // the connection ends once the streams up to last_id did
};

struct H2Raw {
  uint64_t after_requests = 0;
  Nanos delay = 0;
  std::string frames;  // sent as they are
};

// How one connection is served.
struct HttpScript {
  static constexpr uint64_t kUnlimited = UINT64_MAX;

  Nanos idle_timeout = 0;                      // without a request; HTTP/2: GOAWAY first. 0 = never
  Nanos close_after = 0;                       // of the connection's age; 0 = never
  uint64_t close_after_requests = kUnlimited;  // HTTP/1.1: "Connection: close"; HTTP/2: GOAWAY
  uint64_t cut_after_sent = kUnlimited;        // bytes; the one after it is never sent
  uint64_t cut_after_received = kUnlimited;    // bytes
  uint64_t stop_reading_after_requests = kUnlimited;
  Ending ending = Ending::Close;  // of those three that end it
  bool read = true;               // false: never reads

  bool http2 = true;  // false: a plaintext connection that begins HTTP/2 is read as HTTP/1.1
  H2Opening opening = H2Opening::Normal;
  H2Settings settings{.max_concurrent = 100};
  int32_t connection_window = 0;  // 0: the protocol's 65,535
  std::vector<H2SettingsChange> settings_changes;
  std::vector<H2Goaway> goaways;
  std::vector<H2Raw> raw;
  uint64_t refuse_streams = 0;  // the first so many get REFUSED_STREAM
  bool http1_required = false;  // every stream gets HTTP_1_1_REQUIRED
  bool ack_pings = true;
};

struct HttpCounts {
  uint64_t requests = 0;
  uint64_t complete = 0;
  uint64_t answered = 0;
  uint64_t refused = 0;   // told to the client as not processed
  uint64_t repeated = 0;  // whose id had come before, refused ones apart
  uint64_t http1_requests = 0;
  uint64_t http2_requests = 0;
  uint64_t http1_connections = 0;
  uint64_t http2_connections = 0;
  uint64_t bad_requests = 0;  // against the protocol
  std::string first_problem;  // of them
  uint64_t open_streams = 0;
  uint64_t most_streams = 0;  // of one connection
  uint64_t over_limit = 0;    // streams beyond an acknowledged limit
  uint64_t resets_received = 0;
  uint64_t resets_sent = 0;
  uint64_t goaways_received = 0;
  uint64_t goaways_sent = 0;
  uint64_t pings = 0;
};

// The script of the connection with this number (from 0).
using HttpScriptChooser = std::function<HttpScript(uint64_t number)>;
// Asked when the request's head has come.
using HttpAnswerChooser = std::function<HttpAnswer(const HttpRequest& request)>;

// The paths of the demo:
//   /            a small text            /echo        the request's body
//   /bytes/N     N bytes of pattern      /delay/MS    a small text, that much later
//   /chunked/N   the same, chunked       /status/NNN  that status
// and 404 for others.
HttpAnswer demo_answer(const HttpRequest& request);
// The same; none for others.
std::optional<HttpAnswer> demo_path(const HttpRequest& request);

}  // namespace conpool::origin
