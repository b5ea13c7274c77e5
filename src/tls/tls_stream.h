// TlsStream: bytes ↔ plaintext over another stream; the part that clients and servers share.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/time.h"
#include "io/loop.h"
#include "io/stream.h"
#include "tls/bio.h"
#include "tls/context.h"
#include "tls/facts.h"
#include "tls/hop.h"

namespace conpool::tls {

// Vocabulary: the lower stream carries ciphertext. `in_` is ciphertext that arrived and is not
// decrypted yet; `out_` is ciphertext that the lower stream has not accepted yet.
//
// Invariants: OpenSSL never blocks on writing (its BIO appends to `out_`), so only reading can make
// it wait; `out_` holds at most kMaxHeld bytes of what callers wrote. The lower stream reads while
// a handshake runs, and afterwards while reading is on and `in_` is empty. No handler runs inside a
// call into OpenSSL, or inside a call of the owner: what becomes due there is deferred.
//
// Lifecycle: Hop? → Handshake → Open → Closed | Failed. Each direction of Open ends on its own.
class TlsStream : public io::Stream, protected io::StreamHandler, private BioEnd {
 public:
  static constexpr size_t kMaxHeld = 64 * 1024;       // ciphertext held for the lower stream
  static constexpr size_t kMaxOwnOutput = 32 * 1024;  // beside it, for answers OpenSSL makes itself
  static constexpr size_t kMaxHandshakeInput = 512 * 1024;

  ~TlsStream() override;
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  void set_handler(io::StreamHandler* handler) override { handler_ = handler; }
  void read(bool on) override;
  Result<size_t> writev(std::span<const iovec> parts) override;
  Result<bool> flush() override;
  Result<void> shutdown_write() override;
  io::Peek peek() override;
  Result<int> lend(bool blocking) override;
  io::Peek reclaim() override;
  io::StreamFacts facts() const override { return lower_->facts(); }
  void close(bool abort = false) override;
  bool closed() const override { return state_ == State::Closed; }

  // Told true when nobody uses the connection: gives its buffers back until bytes move again.
  void idle(bool on) override;
  // Complete from on_connected on.
  const TlsFacts& tls_facts() const { return tls_facts_; }
  io::Stream& lower() { return *lower_; }
  SSL* native() { return ssl_; }

 protected:
  enum class State : uint8_t {
    New,        // not started
    Hop,        // the plain-text part before TLS runs
    Handshake,  // TLS has started
    Open,       // established
    Failed,     // told the owner so; only close is left
    Closed,     // by the owner
  };

  TlsStream(io::Loop& loop, std::unique_ptr<io::Stream> lower, Scratch& scratch);
  // Makes the SSL object; the subclass sets it up and then calls start.
  Result<void> make_ssl(const Library& library, SSL_CTX* context, bool server);
  Result<void> start(std::unique_ptr<Hop> hop);

  // The handshake is complete as far as OpenSSL is concerned; a failure refuses it all the same.
  virtual Result<void> accept_handshake() = 0;
  // OpenSSL refused: the failure to report. `failure` holds the general reading of it.
  virtual Failure explain(Failure failure) { return failure; }
  // An allocation failed inside OpenSSL, or may have.
  virtual void out_of_memory() {}

  // Subclasses call it in their destructors, while what the SSL object refers to is alive.
  void free_ssl();
  io::Loop& loop() { return loop_; }
  State state() const { return state_; }

  // io::StreamHandler, from the lower stream.
  void on_connected() override {}
  void on_data(Slice data) override;
  void on_eof() override;
  void on_writable() override;
  void on_failed(const Failure& failure) override;

 private:
  size_t bio_read(char* out, size_t size) override;
  bool bio_write(const char* data, size_t size) override;
  void bio_no_memory() noexcept override { no_memory_ = true; }

  void transition(State next);
  bool keep_input(Slice data);
  Result<void> begin_handshake();
  void run_hop(const Slice& data);
  void run_handshake();
  void finish_handshake();
  // Decrypts and delivers until nothing is left or reading is switched off.
  void process();
  // One slab's worth; false when nothing more is to be had now.
  bool decrypt_once();
  bool has_input() const;
  void deliver_end();
  void follow_reading();
  void process_later();
  void flush_later();
  // Hands `out_` down as far as it is accepted; after the last byte the FIN that waits for it.
  // True when nothing is held, here or below.
  Result<bool> push();
  Failure classify(int ssl_error);
  void report(const Failure& failure);  // from an event: tells the handler
  Unexpected end(Failure failure);      // from a call: the caller gets the failure back
  size_t held() const { return out_.size() - out_sent_; }
  // Post-handshake messages of the peer that are only half here make OpenSSL refuse to write.
  void finish_half_message();
  Result<void> send_end();

  io::Loop& loop_;
  std::unique_ptr<io::Stream> lower_;
  Scratch& scratch_;
  io::StreamHandler* handler_ = nullptr;
  SSL* ssl_ = nullptr;
  std::unique_ptr<Hop> hop_;
  State state_ = State::New;

  Slice in_;
  std::string out_;
  size_t out_sent_ = 0;
  size_t handshake_input_ = 0;
  std::string first_bytes_;  // of the peer, to recognise what does not speak TLS

  bool reading_ = false;
  bool lower_reading_ = false;
  bool processing_ = false;
  bool process_due_ = false;
  bool flush_due_ = false;
  bool owed_writable_ = false;
  bool sent_end_ = false;      // our close-notify was made
  bool fin_due_ = false;       // the lower stream's direction ends once `out_` is empty
  bool lower_ended_ = false;   // the lower stream's EOF was seen
  bool got_end_ = false;       // the peer's close-notify was seen
  bool told_end_ = false;      // the owner knows
  bool overflowed_ = false;    // the peer made OpenSSL answer more than kMaxOwnOutput
  bool end_due_ = false;       // our close-notify waits for the rest of a peer's message
  bool lower_full_ = false;    // the lower stream owes us on_writable
  bool half_message_ = false;  // writing waits for the rest of a peer's message
  bool no_memory_ = false;     // a callback could not allocate
  bool broken_ = false;        // OpenSSL reported a fatal error: no further call into it

  TlsFacts tls_facts_;
  std::shared_ptr<TlsStream*> self_;  // lets deferred calls notice that the stream is gone
};

}  // namespace conpool::tls
