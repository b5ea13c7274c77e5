// The functions nghttp2 calls.
#include "h2/callbacks.h"

#include <new>
#include <utility>

#include "h2/session.h"

namespace conpool::h2 {

// nghttp2 is C: nothing may be thrown through it. An error code that a callback answers ends
// mem_recv or mem_send, and with it the connection.
struct Callbacks {
  template <typename Body>
  static int guarded(void* user, Body&& body) noexcept {
    auto& session = *static_cast<Session*>(user);
    try {
      return std::forward<Body>(body)(session);
    } catch (const std::bad_alloc&) {
      session.out_of_memory();
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
  }

  static int begin_frame(nghttp2_session*, const nghttp2_frame_hd* head, void* user) noexcept {
    return guarded(user, [head](Session& s) {
      return s.frame_begins(head->type, head->flags, head->stream_id, head->length);
    });
  }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) noexcept {
    return guarded(user,
                   [frame](Session& s) { return s.header_block_begins(frame->hd.stream_id); });
  }

  static int header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                    void* user) noexcept {
    return guarded(user, [&](Session& s) {
      return s.header_line(frame->hd.stream_id, as_text({name, name_size}),
                           as_text({value, value_size}));
    });
  }

  // nghttp2 would drop such a line and go on; RFC 9113 section 8.2.1 calls the message malformed.
  static int invalid_header(nghttp2_session*, const nghttp2_frame*, const uint8_t*, size_t,
                            const uint8_t*, size_t, uint8_t, void*) noexcept {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int data_chunk(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t size,
                        void* user) noexcept {
    return guarded(user, [=](Session& s) { return s.data_part(stream, data, size); });
  }

  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user) noexcept {
    return guarded(user, [frame](Session& s) { return received(s, *frame); });
  }

  static int received(Session& s, const nghttp2_frame& frame) {
    const bool end_stream = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    const bool ack = (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0;
    switch (frame.hd.type) {
      case NGHTTP2_HEADERS:
        return s.header_block_ends(frame.hd.stream_id, end_stream);
      case NGHTTP2_DATA:
        return s.data_ends(frame.hd.stream_id, end_stream, frame.hd.length - frame.data.padlen);
      case NGHTTP2_SETTINGS:
        if (!ack) return s.settings_came();
        s.settings_acknowledged();
        return 0;
      case NGHTTP2_PING:
        return ack ? s.ping_answered(frame.ping.opaque_data) : 0;
      case NGHTTP2_GOAWAY:
        return s.goaway_came(frame.goaway.last_stream_id, frame.goaway.error_code,
                             as_text({frame.goaway.opaque_data, frame.goaway.opaque_data_len}));
      case NGHTTP2_RST_STREAM:
        s.reset_came(frame.hd.stream_id, frame.rst_stream.error_code);
        return 0;
      default:
        return 0;
    }
  }

  static int invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int code,
                           void* user) noexcept {
    return guarded(user, [=](Session& s) {
      s.frame_invalid(frame->hd.type, frame->hd.stream_id, code);
      return 0;
    });
  }

  static int complaint(nghttp2_session*, int, const char* text, size_t size, void* user) noexcept {
    return guarded(user, [=](Session& s) {
      s.complaint_.assign(text, size);
      return 0;
    });
  }

  // Never an error: Debian's nghttp2 1.52 leaks the stream's frames then (CVE-2023-35945).
  static int stream_close(nghttp2_session*, int32_t stream, uint32_t code, void* user) noexcept {
    guarded(user, [=](Session& s) {
      s.stream_closed(stream, code);
      return 0;
    });
    return 0;
  }

  static int before_send(nghttp2_session*, const nghttp2_frame* frame, void* user) noexcept {
    return guarded(user, [frame](Session& s) {
      if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        s.frame_starts(frame->hd.stream_id);
      }
      return 0;
    });
  }

  static int frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) noexcept {
    return guarded(user, [frame](Session& s) {
      const uint32_t code = frame->hd.type == NGHTTP2_GOAWAY ? frame->goaway.error_code : 0;
      s.frame_sent(frame->hd.type, frame->hd.flags, frame->hd.stream_id, code);
      return 0;
    });
  }

  static int frame_not_sent(nghttp2_session*, const nghttp2_frame* frame, int code,
                            void* user) noexcept {
    return guarded(user, [=](Session& s) {
      if (frame->hd.type == NGHTTP2_HEADERS) s.frame_not_sent(frame->hd.stream_id, code);
      return 0;
    });
  }

  static ssize_t read_body(nghttp2_session*, int32_t stream, uint8_t*, size_t room, uint32_t* flags,
                           nghttp2_data_source*, void* user) noexcept {
    return guarded(user,
                   [=](Session& s) { return static_cast<int>(s.body_read(stream, room, flags)); });
  }

  static int send_body(nghttp2_session*, nghttp2_frame* frame, const uint8_t* head, size_t size,
                       nghttp2_data_source*, void* user) noexcept {
    return guarded(user, [=](Session& s) {
      return s.body_send(frame->hd.stream_id, head, size,
                         (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
    });
  }
};

namespace {

// Made once: the same for every session.
const nghttp2_session_callbacks* callbacks() {
  static const nghttp2_session_callbacks* const made = [] {
    nghttp2_session_callbacks* c = nullptr;
    if (nghttp2_session_callbacks_new(&c) != 0) throw std::bad_alloc();
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, Callbacks::begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, Callbacks::begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(c, Callbacks::header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(c, Callbacks::invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, Callbacks::data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, Callbacks::frame_received);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, Callbacks::invalid_frame);
    nghttp2_session_callbacks_set_error_callback2(c, Callbacks::complaint);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, Callbacks::stream_close);
    nghttp2_session_callbacks_set_before_frame_send_callback(c, Callbacks::before_send);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, Callbacks::frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(c, Callbacks::frame_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(c, Callbacks::send_body);
    return c;
  }();
  return made;
}

}  // namespace

nghttp2_session* make_client(Session& session, uint32_t stream_limit) {
  // Larger requests are refused before a byte is sent; servers take far less.
  constexpr size_t kRequestHeader = 1024 * 1024;
  nghttp2_option* option = nullptr;
  if (nghttp2_option_new(&option) != 0) throw std::bad_alloc();
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_peer_max_concurrent_streams(option, stream_limit);
  nghttp2_option_set_max_send_header_block_length(option, kRequestHeader);
  nghttp2_session* made = nullptr;
  const int code = nghttp2_session_client_new2(&made, callbacks(), &session, option);
  nghttp2_option_del(option);
  if (code != 0) throw std::bad_alloc();
  return made;
}

nghttp2_data_provider body_provider() {
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::read_body;
  return provider;
}

}  // namespace conpool::h2
