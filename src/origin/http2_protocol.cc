// The scripted HTTP/2 server.
#include "origin/http2_protocol.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace conpool::origin {
namespace {

constexpr std::string_view kHttp1Bytes =
    "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

// What nghttp2 calls: nothing may be thrown through it.
template <typename F>
ssize_t guarded(F call) noexcept {
  try {
    return call();
  } catch (...) {
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
}

std::string text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Points into the fields.
std::vector<nghttp2_nv> header_block(const HttpFields& fields) {
  std::vector<nghttp2_nv> block;
  for (const auto& [name, value] : fields) {
    block.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                     reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(),
                     value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  return block;
}

}  // namespace

struct Http2Protocol::Calls {
  static Http2Protocol& self(void* user) { return *static_cast<Http2Protocol*>(user); }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    return static_cast<int>(guarded([&] {
      if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) self(user).begin_stream(frame->hd.stream_id);
      return 0;
    }));
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                       size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                       void* user) {
    return static_cast<int>(guarded([&] {
      Stream* stream = self(user).find(frame->hd.stream_id);
      if (stream != nullptr) {
        self(user).add_field(*stream, frame->headers.cat != NGHTTP2_HCAT_REQUEST,
                             text_of(name, name_size), text_of(value, value_size));
      }
      return 0;
    }));
  }

  static int on_frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    return static_cast<int>(guarded([&] {
      self(user).on_frame(*frame);
      return 0;
    }));
  }

  static int on_frame_send(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    return static_cast<int>(guarded([&] {
      self(user).on_frame_sent(*frame);
      return 0;
    }));
  }

  static int on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data,
                     size_t size, void* user) {
    return static_cast<int>(guarded([&] {
      Stream* stream = self(user).find(id);
      if (stream == nullptr) return nghttp2_session_consume_connection(session, size);
      self(user).take_data(*stream, as_text({data, size}));
      return 0;
    }));
  }

  static int on_stream_close(nghttp2_session*, int32_t id, uint32_t, void* user) {
    return static_cast<int>(guarded([&] {
      self(user).close_stream(id);
      return 0;
    }));
  }

  // A stream beyond a limit that the client does not know of yet is no fault of the client's.
  static int on_invalid_frame(nghttp2_session*, const nghttp2_frame*, int error, void* user) {
    return static_cast<int>(guarded([&] {
      if (error != NGHTTP2_ERR_REFUSED_STREAM) {
        self(user).problem(nghttp2_strerror(error));
      }
      return 0;
    }));
  }

  static ssize_t read_data(nghttp2_session*, int32_t id, uint8_t* to, size_t size, uint32_t* flags,
                           nghttp2_data_source*, void* user) {
    return guarded([&]() -> ssize_t {
      Stream* stream = self(user).find(id);
      if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      return self(user).give_data(*stream, to, size, flags);
    });
  }
};

Http2Protocol::Http2Protocol(HttpConnection& connection)
    : connection_(connection), planned_timer_([this] {
        run_planned();
        connection_.run();
      }) {
  make_session();
  if (connection_.script().opening == H2Opening::Normal) open();
}

Http2Protocol::~Http2Protocol() {
  nghttp2_session_del(session_);
}

void Http2Protocol::make_session() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0) throw std::bad_alloc();
  if (nghttp2_option_new(&option) != 0) {
    nghttp2_session_callbacks_del(callbacks);
    throw std::bad_alloc();
  }
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Calls::on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Calls::on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Calls::on_frame_recv);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Calls::on_frame_send);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Calls::on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Calls::on_stream_close);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, Calls::on_invalid_frame);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
#if defined(CONPOOL_NGHTTP2_RESET_RATE)
  nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX, UINT64_MAX);
#endif
  if (!connection_.script().ack_pings) nghttp2_option_set_no_auto_ping_ack(option, 1);
  const int made = nghttp2_session_server_new2(&session_, callbacks, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  if (made != 0) throw std::bad_alloc();
}

void Http2Protocol::open() {
  send_settings(connection_.script().settings);
  const int32_t window = connection_.script().connection_window;
  if (window > 0) nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, window);
  fire(0);
}

HttpCounts& Http2Protocol::counts() {
  return server().http_counts_;
}

Http2Protocol::Stream* Http2Protocol::find(int32_t id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

// --- what comes in

void Http2Protocol::on_bytes(std::string_view bytes) {
  switch (connection_.script().opening) {
    case H2Opening::Normal:
      break;
    case H2Opening::DieBeforeSettings:
      connection_.end_after_output(connection_.script().ending);
      return;
    case H2Opening::Http1Bytes:
      connection_.queue(kHttp1Bytes);
      connection_.end_after_output(Ending::Close);
      return;
    case H2Opening::Silence:
      return;
  }
  const ssize_t taken = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) broken(static_cast<int>(taken));
}

void Http2Protocol::broken(int error) {
  problem(nghttp2_strerror(error));
  send_frames();
  connection_.end_after_output(Ending::Close);
}

// The first of this connection: the others follow from it.
void Http2Protocol::problem(const char* text) {
  if (!std::exchange(had_problem_, true)) server().problem(std::string("HTTP/2: ") + text);
}

// HTTP/2 has no half-closed connections to speak of.
bool Http2Protocol::on_eof() {
  return false;
}

void Http2Protocol::begin_stream(int32_t id) {
  auto stream = std::make_unique<Stream>([this, id] {
    Stream* due = find(id);
    if (due != nullptr) drive(*due);
    connection_.run();
  });
  stream->id = id;
  HttpRequest& request = *stream->request;
  request.protocol = HttpProtocol::Http2;
  request.connection = connection_.number();
  request.stream = id;
  request.time = connection_.now();
  streams_.emplace(id, std::move(stream));
  ++counts().open_streams;
  counts().most_streams = std::max<uint64_t>(counts().most_streams, streams_.size());
  const uint32_t limit =
      nghttp2_session_get_local_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  if (streams_.size() > limit) ++counts().over_limit;
}

void Http2Protocol::add_field(Stream& stream, bool trailer, std::string name, std::string value) {
  HttpRequest& request = *stream.request;
  if (trailer) {
    request.trailers.emplace_back(std::move(name), std::move(value));
  } else if (name == ":method") {
    request.method = std::move(value);
  } else if (name == ":path") {
    request.target = std::move(value);
  } else if (name == ":authority") {
    request.authority = std::move(value);
  } else if (!name.starts_with(':')) {
    if (name == "x-request-id") request.id = value;
    request.fields.emplace_back(std::move(name), std::move(value));
  }
}

void Http2Protocol::on_frame(const nghttp2_frame& frame) {
  Stream* stream = find(frame.hd.stream_id);
  const bool complete = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  switch (frame.hd.type) {
    case NGHTTP2_HEADERS:
      if (stream != nullptr && frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
        begin_request(*stream, complete);
      } else if (stream != nullptr && complete) {
        end_request(*stream);
      }
      break;
    case NGHTTP2_DATA:
      if (stream != nullptr && complete) end_request(*stream);
      break;
    case NGHTTP2_RST_STREAM:
      ++counts().resets_received;
      break;
    case NGHTTP2_PING:
      if ((frame.hd.flags & NGHTTP2_FLAG_ACK) == 0) ++counts().pings;
      break;
    case NGHTTP2_GOAWAY:
      ++counts().goaways_received;
      break;
    default:
      break;
  }
}

void Http2Protocol::begin_request(Stream& stream, bool complete) {
  HttpRequest& request = *stream.request;
  const HttpScript& script = connection_.script();
  if (stream.id > last_id_) return;  // the GOAWAY that waits to be sent disowns it
  request.on_its_connection = connection_.count_request();
  server().note(stream.request);
  if (complete) server().completed(request);
  if (request.on_its_connection < script.refuse_streams) {
    reset(stream, NGHTTP2_REFUSED_STREAM);
  } else if (script.http1_required) {
    reset(stream, NGHTTP2_HTTP_1_1_REQUIRED);
  } else {
    HttpAnswer answer = server().answer(request);
    const std::string said = field_of(request.fields, "content-length");
    std::optional<uint64_t> length;
    if (complete) length = 0;
    if (!said.empty()) length = std::strtoull(said.c_str(), nullptr, 10);
    if (!field_of(request.fields, "expect").empty() && answer.send_continue && !complete)
      answer.interim.insert(answer.interim.begin(), HttpInterim{.status = 100});
    if (!answer.interim.empty() && answer.interim.front().status == 100) answer.early = true;
    stream.reply.emplace(std::move(answer), request, length, connection_.now());
    if (complete) stream.reply->request_end(connection_.now());
    drive(stream);
  }
  fire(request.on_its_connection + 1);
}

void Http2Protocol::end_request(Stream& stream) {
  if (!stream.reply) return;
  server().completed(*stream.request);
  stream.reply->request_end(connection_.now());
  drive(stream);
}

void Http2Protocol::take_data(Stream& stream, std::string_view bytes) {
  stream.request->body_size += bytes.size();
  stream.request->body_hash = hash_of(bytes, stream.request->body_hash);
  if (!stream.reply || stream.reply->answer().body != HttpBody::Echo || !stream.reply->has_body()) {
    nghttp2_session_consume(session_, stream.id, bytes.size());
    return;
  }
  stream.owed += bytes.size();
  stream.reply->request_bytes(bytes);
  drive(stream);
}

void Http2Protocol::close_stream(int32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  found->second->request->ended = true;
  if (found->second->owed > 0) nghttp2_session_consume_connection(session_, found->second->owed);
  streams_.erase(found);
  --counts().open_streams;
}

// --- what goes out

// Takes the response as far as it goes before nghttp2 asks for its body.
void Http2Protocol::drive(Stream& stream) {
  const Time now = connection_.now();
  while (stream.reply && !stream.silent) {
    const HttpReply::Step step = stream.reply->step(now);
    if (step == HttpReply::Step::Wait) {
      connection_.loop().arm(stream.timer, stream.reply->due());
      return;
    }
    if (step == HttpReply::Step::Fault) {
      faults_.push_back(stream.id);
      return;
    }
    if (stream.submitted) {
      nghttp2_session_resume_data(session_, stream.id);
      return;
    }
    if (step == HttpReply::Step::Interim) {
      HttpFields fields{{":status", std::to_string(stream.reply->interim().status)}};
      const HttpFields& more = stream.reply->interim().fields;
      fields.insert(fields.end(), more.begin(), more.end());
      const std::vector<nghttp2_nv> block = header_block(fields);
      nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id, nullptr, block.data(),
                             block.size(), nullptr);
      stream.reply->did(step, now);
      continue;
    }
    submit_head(stream);
    return;
  }
}

void Http2Protocol::submit_head(Stream& stream) {
  HttpReply& reply = *stream.reply;
  HttpFields fields{{":status", std::to_string(reply.answer().status)}};
  if (reply.length()) fields.emplace_back("content-length", std::to_string(*reply.length()));
  fields.insert(fields.end(), reply.answer().fields.begin(), reply.answer().fields.end());
  const std::vector<nghttp2_nv> block = header_block(fields);
  reply.did(HttpReply::Step::Head, connection_.now());
  stream.submitted = true;
  const bool bare = !reply.has_body() || reply.step(connection_.now()) == HttpReply::Step::End;
  nghttp2_data_provider provider{};
  provider.read_callback = Calls::read_data;
  nghttp2_submit_response(session_, stream.id, block.data(), block.size(),
                          bare ? nullptr : &provider);
}

ssize_t Http2Protocol::give_data(Stream& stream, uint8_t* to, size_t size, uint32_t* flags) {
  const Time now = connection_.now();
  HttpReply& reply = *stream.reply;
  size_t given = 0;
  HttpReply::Step step = stream.silent ? HttpReply::Step::Wait : reply.step(now);
  if (step == HttpReply::Step::Body) {
    const std::string bytes = reply.take_body(size, now);
    given = bytes.size();
    std::memcpy(to, bytes.data(), given);
    const size_t returned = std::min(given, stream.owed);
    stream.owed -= returned;
    if (returned > 0) nghttp2_session_consume(session_, stream.id, returned);
    step = reply.step(now);
  }
  switch (step) {
    case HttpReply::Step::End:
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      break;
    case HttpReply::Step::Trailers:
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
      submit_trailers(stream);
      break;
    case HttpReply::Step::Body:
      break;
    case HttpReply::Step::Fault:
      if (given == 0) faults_.push_back(stream.id);
      break;
    default:
      if (given == 0 && !stream.silent) connection_.loop().arm(stream.timer, reply.due());
      break;
  }
  const bool nothing = given == 0 && (*flags & NGHTTP2_DATA_FLAG_EOF) == 0;
  return nothing ? static_cast<ssize_t>(NGHTTP2_ERR_DEFERRED) : static_cast<ssize_t>(given);
}

void Http2Protocol::submit_trailers(Stream& stream) {
  stream.reply->did(HttpReply::Step::Trailers, connection_.now());
  const std::vector<nghttp2_nv> block = header_block(stream.reply->answer().trailers);
  nghttp2_submit_trailer(session_, stream.id, block.data(), block.size());
}

void Http2Protocol::reset(Stream& stream, uint32_t error) {
  stream.silent = true;
  if (error == NGHTTP2_REFUSED_STREAM || error == NGHTTP2_HTTP_1_1_REQUIRED)
    server().refused(*stream.request);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, error);
}

void Http2Protocol::fault(Stream& stream) {
  switch (stream.reply->answer().fault) {
    case HttpFault::None:
      break;
    case HttpFault::Close:
      connection_.end_after_output(Ending::Close);
      break;
    case HttpFault::Reset:
      connection_.end_after_output(Ending::Reset);
      break;
    case HttpFault::ResetStream:
      reset(stream, stream.reply->answer().h2_error);
      break;
    case HttpFault::Silence:
      stream.silent = true;
      break;
  }
}

void Http2Protocol::on_frame_sent(const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_RST_STREAM) ++counts().resets_sent;
  if (frame.hd.type == NGHTTP2_GOAWAY) {
    ++counts().goaways_sent;
    // What was answered before it stays answered; nghttp2 closes these streams next.
    for (const auto& [id, stream] : streams_) {
      const bool begun = stream->reply.has_value();
      if (begun && id > frame.goaway.last_stream_id) server().refused(*stream->request);
    }
    // nghttp2 ends a connection so whose client broke the protocol.
    if (frame.goaway.error_code != 0 && !own_goaway_)
      problem(nghttp2_http2_strerror(frame.goaway.error_code));
  }
  const bool response = frame.hd.type == NGHTTP2_HEADERS || frame.hd.type == NGHTTP2_DATA;
  Stream* stream = find(frame.hd.stream_id);
  if (response && stream != nullptr && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
    server().answered(*stream->request);
}

void Http2Protocol::send_frames() {
  while (connection_.has_room()) {
    const uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &data);
    if (size <= 0) {
      if (size < 0) connection_.end_after_output(Ending::Close);
      return;
    }
    connection_.queue(as_text({data, static_cast<size_t>(size)}));
  }
}

void Http2Protocol::pump() {
  if (connection_.script().opening != H2Opening::Normal) return;
  for (;;) {
    send_frames();
    connection_.queue(raw_);
    raw_.clear();
    if (faults_.empty() || connection_.ending()) break;
    const std::vector<int32_t> due = std::move(faults_);
    faults_.clear();
    for (const int32_t id : due) {
      Stream* stream = find(id);
      if (stream != nullptr && !stream->silent) fault(*stream);
    }
  }
  if (!streams_.empty() || nghttp2_session_want_write(session_) != 0) return;
  const bool done = !own_goaway_ && nghttp2_session_want_read(session_) == 0;
  if (closing_ || done) connection_.end_after_output(Ending::Close);
}

// --- what the script does

void Http2Protocol::fire(uint64_t requests) {
  const HttpScript& script = connection_.script();
  for (const H2SettingsChange& change : script.settings_changes) {
    if (change.after_requests != requests) continue;
    plan(change.delay, [this, &change] { send_settings(change.settings); });
  }
  for (const H2Raw& raw : script.raw) {
    if (raw.after_requests == requests) plan(raw.delay, [this, &raw] { raw_ += raw.frames; });
  }
  for (const H2Goaway& goaway : script.goaways) {
    if (goaway.after_requests == requests)
      plan(goaway.delay, [this, &goaway] { send_goaway(goaway); });
  }
  if (requests == script.close_after_requests) send_goaway({});
}

void Http2Protocol::plan(Nanos delay, Callback<void()> act) {
  if (delay == 0) {
    act();
    return;
  }
  planned_.push_back({connection_.now() + delay, std::move(act)});
  connection_.loop().arm(planned_timer_, std::min(planned_timer_.deadline(), planned_.back().due));
}

void Http2Protocol::run_planned() {
  Time next = kNever;
  for (auto at = planned_.begin(); at != planned_.end();) {
    if (at->due > connection_.now()) {
      next = std::min(next, at->due);
      ++at;
      continue;
    }
    at->act();
    at = planned_.erase(at);
  }
  connection_.loop().arm(planned_timer_, next);
}

void Http2Protocol::send_settings(const H2Settings& settings) {
  std::vector<nghttp2_settings_entry> entries;
  const auto add = [&entries](int32_t id, const std::optional<uint32_t>& value) {
    if (value) entries.push_back({id, *value});
  };
  add(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.max_concurrent);
  add(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.initial_window);
  add(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings.max_frame_size);
  add(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, settings.header_table_size);
  add(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.max_header_list);
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), entries.size());
}

void Http2Protocol::send_goaway(const H2Goaway& goaway) {
  const int32_t newest = nghttp2_session_get_last_proc_stream_id(session_);
  const int32_t last = goaway.last_id.value_or(newest);
  own_goaway_ = true;
  closing_ = closing_ || goaway.close;
  last_id_ = std::min(last_id_, last);
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last, goaway.error,
                        reinterpret_cast<const uint8_t*>(goaway.debug.data()), goaway.debug.size());
}

void Http2Protocol::on_idle() {
  send_goaway({});
  send_frames();
}

void Http2Protocol::stop() {
  planned_timer_.cancel();
  planned_.clear();
  for (const auto& [id, stream] : streams_) {
    stream->timer.cancel();
    stream->request->ended = true;
    --counts().open_streams;
  }
}

}  // namespace conpool::origin
