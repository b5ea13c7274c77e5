// Response: what a server answered, and how it came about. Immutable once it is in an event.
#pragma once

#include <memory>
#include <vector>

#include "base/bytes.h"
#include "client/resend.h"
#include "ops/object.h"
#include "pool/lease.h"
#include "session/http.h"

namespace conpool::client {

// How it came about, as far as it is known when the response is made.
struct ResponseFacts {
  Proof proof = Proof::MaybeProcessed;
  std::vector<Resend> resends;  // why it was sent again, in order
  uint32_t sends = 0;
  uint64_t uses = 0;  // leases that the connection has had, this one included
  std::shared_ptr<const pool::ConnectionFacts> connection;
  uint64_t body_sent = 0;
  uint64_t body_received = 0;
  // Nanoseconds from the request's start to the end of each phase; -1 where there was none. Names,
  // connect and TLS are those of the connection that was dialed for it.
  struct {
    Nanos queue = -1;
    Nanos resolved = -1;
    Nanos connected = -1;
    Nanos secured = -1;
    Nanos sent = -1;
    Nanos head = -1;
    Nanos total = -1;
  } times;
};

class Response final : public ops::Object {
 public:
  Response(std::shared_ptr<const session::ResponseHead> head,
           std::shared_ptr<const session::Fields> trailers, Slice body, ResponseFacts facts)
      : head_(std::move(head)),
        trailers_(std::move(trailers)),
        body_(std::move(body)),
        facts_(std::move(facts)) {}
  void dispose() noexcept override { delete this; }

  const session::ResponseHead& head() const { return *head_; }
  // Null without trailers.
  const session::Fields* trailers() const { return trailers_.get(); }
  const Slice& body() const { return body_; }
  const ResponseFacts& facts() const { return facts_; }

 private:
  const std::shared_ptr<const session::ResponseHead> head_;
  const std::shared_ptr<const session::Fields> trailers_;
  const Slice body_;
  const ResponseFacts facts_;
};

// The bytes of a body that is delivered whole. One part is kept as it is, or copied when it is
// small; more are put together.
class WholeBody {
 public:
  // The length announced, if any: memory is taken for it, up to kReserved at first.
  void expect(uint64_t size) { expected_ = size; }
  void add(Slice part);
  uint64_t size() const { return size_; }
  Slice take();

  static constexpr size_t kReserved = 1 << 20;
  static constexpr size_t kReferenced = 4096;  // a smaller part does not pin its slab

 private:
  void grow(size_t capacity);

  uint64_t expected_ = 0;
  size_t size_ = 0;
  Slice parts_;  // of the slab below, or the only part
  bool owned_ = false;
};

}  // namespace conpool::client
