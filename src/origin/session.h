// Session: one connection of a scripted server.
#pragma once

#include <deque>

#include "origin/server.h"

namespace conpool::origin {

// Bytes come in, requests are cut from them, replies wait in `replies_` until they are due, then in
// `out_` until the stream takes them. Once `ending_` is set nothing more is answered: what waits is
// sent, then the connection ends as the script says. After finish() the session is with the loop's
// discarded objects and hears nothing more.
class Session final : public Connection, private io::StreamHandler {
 public:
  Session(Server& server, uint64_t number, Script script, std::unique_ptr<io::Stream> stream,
          bool ready);

  void start() override;
  void end(Ending ending) override;
  // Closes the stream and hands it to the loop.
  void finish(bool abort);

 private:
  struct Reply {
    Time due;
    std::string bytes;
    bool last;  // the connection ends after it
  };

  void on_connected() override { begin(); }
  void on_data(Slice data) override;
  void on_eof() override;
  void on_writable() override { send(); }
  void on_failed(const Failure& failure) override;

  void begin();  // the stream can be used
  void take_requests();
  void take_line(std::string_view line);
  void answer(std::string bytes);
  void queue(std::string bytes, Nanos delay, bool last);
  void release_due();
  void send();
  bool write_some(size_t limit);
  void end_if_sent();
  void end_after_output(Ending ending);
  void touch();
  void on_idle();

  Server& server_;
  io::Loop& loop_;
  const Script script_;
  std::unique_ptr<io::Stream> stream_;
  const bool ready_;  // from the start; else on_connected tells
  bool begun_ = false;
  bool over_ = false;
  bool ending_set_ = false;
  Ending ending_ = Ending::Close;
  bool half_closed_ = false;
  bool slow_pause_ = false;
  bool unsolicited_sent_ = false;
  std::string in_;
  std::deque<Reply> replies_;
  std::string out_;
  size_t out_offset_ = 0;
  uint64_t requests_ = 0;
  uint64_t received_ = 0;
  uint64_t sent_ = 0;
  Time last_byte_ = 0;
  Timer reply_timer_;
  Timer slow_timer_;
  Timer idle_timer_;
  Timer age_timer_;
};

}  // namespace conpool::origin
